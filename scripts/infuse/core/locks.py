"""Who else is at work: locks that the kernel lets go, however a process ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path


@contextmanager
def lock(file: Path, exclusive: bool) -> Iterator[bool]:
    """A lock on a file while the block runs; False where another process is in the way.

    An exclusive one is not waited for. It ends with the process, however that ends. A file system
    without locks is no obstacle.
    """
    descriptor = _open(file)
    try:
        yield _lock(descriptor, exclusive) is not False and _same(descriptor, file)
    finally:
        os.close(descriptor)


def take(file: Path) -> bool:
    """Lock a file for this process alone until it ends; False if another process has it."""
    descriptor = _open(file)  # kept open: the lock lasts as long
    if _lock(descriptor, exclusive=True) is False:
        os.close(descriptor)
        return False
    return True


@cache
def join(file: Path, locks: Path) -> bool:
    """Share a lock on `file` until this process ends, once; False if another process had one.

    If none had, the files in `locks` are what a killed Snakemake left, and go. Where nothing can be
    written, nobody is in the way.
    """
    try:
        descriptor = _open(file)  # kept open: the lock lasts as long
    except OSError:
        return True
    alone = _lock(descriptor, exclusive=True)
    if alone and locks.is_dir():
        for left in locks.iterdir():
            with suppress(OSError):
                left.unlink()
    _lock(descriptor, exclusive=False)
    return alone is not False


def _open(file: Path) -> int:
    file.parent.mkdir(parents=True, exist_ok=True)
    return os.open(file, os.O_RDWR | os.O_CREAT)


def _lock(descriptor: int, exclusive: bool) -> bool | None:
    """Whether the lock was had; None where there are no locks. Who shares waits for its turn."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _same(descriptor: int, file: Path) -> bool:
    """Whether the open file still has its name: whoever had the lock may have removed it."""
    return file.exists() and os.fstat(descriptor).st_ino == file.stat().st_ino
