"""A file or folder gets its name in one step, whatever disk it comes from or goes to."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from infuse.core import files
from infuse.core.files import discard, settle


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty folder on another file system."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        if Path(folder).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("no other file system here")
        yield Path(folder)


def folder_of(folder: Path) -> Path:
    """A folder with a file, and one below."""
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_bytes(b"new")
    (folder / "sub/b").write_bytes(b"below")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


WHOLE = {"a": b"new", "sub/b": b"below"}


@pytest.mark.parametrize("before", ["nothing", "folder", "link"])
@pytest.mark.parametrize("linked", ["source", "target"])
def test_a_folder_moves_to_another_disk(
    tmp_path: Path, other_disk: Path, before: str, linked: str
) -> None:
    (tmp_path / "there").symlink_to(other_disk)
    source, target = tmp_path / "here/work", tmp_path / "there/artifact"
    if linked == "source":
        source, target = tmp_path / "there/work", tmp_path / "here/artifact"
    target.parent.mkdir(exist_ok=True)
    if before != "nothing":
        old = folder_of(tmp_path / "old" if before == "link" else target)
        (old / "left").write_bytes(b"old")
    if before == "link":
        target.symlink_to(tmp_path / "old")
    (target.parent / f".{target.name}.part").mkdir()  # of a copy that was cut short
    (target.parent / f".{target.name}.part/x").write_bytes(b"half")
    settle(folder_of(source), target)
    assert content(target) == WHOLE and not target.is_symlink() and not source.exists()
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    if before == "link":
        assert content(tmp_path / "old") == WHOLE | {"left": b"old"}, "what it led to is left alone"


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EIO])
def test_a_disk_that_can_not_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Nothing is lost by it; a disk that fails is another matter."""

    def refuse(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, "fsync", refuse)
    if code == errno.EIO:
        with pytest.raises(OSError, match="Input/output error"):
            settle(folder_of(tmp_path / "work"), tmp_path / "artifact")
        assert not (tmp_path / "artifact").exists()
    else:
        settle(folder_of(tmp_path / "work"), tmp_path / "artifact")
        assert content(tmp_path / "artifact") == WHOLE


def test_discarding_a_link_leaves_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder_of(tmp_path / "folder"))
    for _ in range(2):
        discard(tmp_path / "link")
        assert content(tmp_path / "folder") == WHOLE
    discard(tmp_path / "folder")
    assert not list(tmp_path.iterdir())
