"""Runs a script of the workflow with faults in it.

A fault is {"at": "module:name", "time": n, "do": what}; the n-th call of that function
kill        is not reached: the process is killed
half        writes half of its file (its second argument), and the process is killed
term, int   comes after a signal to this process
full        finds no space left on the disk
skip        finds nothing to do, as do all other calls: a protection taken out
A name in place of `what`, as "module:name", is a function that takes the place of all calls.
"""

from __future__ import annotations

import errno
import functools
import importlib
import itertools
import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infuse.workflow.job import Job

SIGNALS = {"term": signal.SIGTERM, "int": signal.SIGINT, "kill": signal.SIGKILL}


def find(name: str) -> tuple[Any, str]:
    """The module or class that holds what "module:name" means, and its name there."""
    module, path = name.split(":")
    *owners, last = path.split(".")
    return functools.reduce(getattr, owners, importlib.import_module(module)), last


def faulty(function: Callable[..., Any], what: str, time: int) -> Callable[..., Any]:
    """A function that fails as it is told."""
    calls = itertools.count(1)

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        if what == "skip":
            return []
        if next(calls) == time:
            if what in SIGNALS:
                os.kill(os.getpid(), SIGNALS[what])
            if what == "full":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0])[:99])
            if what == "half":
                function(*arguments, **named)
                os.truncate(arguments[1], Path(arguments[1]).stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)

    return call


def in_place(*arguments: Any) -> Job:
    """What a stage is told if it may write where its result will stand."""
    *others, work, _, references, key = arguments
    final = Path("results", work.name)
    final.mkdir()
    return Job(*others, work, final, references, key)


def install(fault: dict[str, Any]) -> None:
    """Put one fault in its place."""
    owner, name = find(fault["at"])
    if ":" in fault["do"]:
        setattr(owner, name, getattr(*find(fault["do"])))
    else:
        setattr(owner, name, faulty(getattr(owner, name), fault["do"], fault.get("time", 1)))


def drive(
    faults: list[dict[str, Any]], command: list[str], folder: str, env: dict[str, str], said: str
) -> None:
    """Be that script: in its folder, with its arguments, and what it says in two files.

    Args:
        said: the path of these files, without ".out" and ".err".
    """
    for stream, ending in ((1, "out"), (2, "err")):
        file = os.open(f"{said}.{ending}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream)
    os.chdir(folder)
    os.environ.update(env)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    sys.argv = command
    for fault in faults:
        install(fault)
    runpy.run_path(command[0], run_name="__main__")
