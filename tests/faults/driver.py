"""Runs a script of the workflow with faults in it: `driver.py FAULTS SCRIPT ARGUMENT...`.

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
import json
import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIGNALS = {"term": signal.SIGTERM, "int": signal.SIGINT, "kill": signal.SIGKILL}
replaced: dict[str, Any] = {}  # what functions have taken the place of, by name


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


def in_place(*arguments: Any) -> Any:
    """The job of a stage that may write where its result will stand."""
    *others, work, _, references, key = arguments
    final = Path("results", work.name)
    final.mkdir()
    return replaced["Job"](*others, work, final, references, key)


def install(fault: dict[str, Any]) -> None:
    """Put one fault in its place."""
    owner, name = find(fault["at"])
    if ":" in fault["do"]:
        replaced[name] = getattr(owner, name)
        setattr(owner, name, getattr(*find(fault["do"])))
    else:
        setattr(owner, name, faulty(getattr(owner, name), fault["do"], fault.get("time", 1)))


if __name__ == "__main__":
    faults, sys.argv = json.loads(sys.argv[1]), sys.argv[2:]
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    for each in faults:
        install(each)
    runpy.run_path(sys.argv[0], run_name="__main__")
