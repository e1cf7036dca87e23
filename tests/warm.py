"""Snakemake and the scripts of the workflow, in forks of a process that holds their libraries.

Most of a short job is imports. `python()` gives an interpreter that saves them: the process it asks
forks, and the fork takes over the caller's streams, folder, environment and arguments, and runs
what the caller would have run. Of the workflow's own code nothing is held, so a tree's scripts are
its own. Where a variable that libraries read at their import differs, and for anything but a script
or a module, the true interpreter runs.

The fork gets the caller's SIGTERM and SIGINT, and ends with the caller. Forks of one process share
the order of its sets, which processes of their own do not: tests/faults/test_bytes.py starts those.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import socket
import sys
from pathlib import Path

LIBRARIES = (
    "snakemake.cli", "torch", "transformers.models.llama.modeling_llama", "peft", "accelerate",
    "pyarrow.parquet", "matplotlib.pyplot", "sklearn.linear_model", "scipy.stats", "pydantic",
    "jsonschema", "openai", "dvc.cli", "dvc.repo",
)  # fmt: skip
READ_AT_IMPORT = ("ATEN_", "HF_", "MKL_CBWR", "ONEDNN_", "OPENBLAS_CORETYPE", "PYTHON")
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # none may run when a process forks
HANDED_ON = (signal.SIGTERM, signal.SIGINT)
LENGTH = 4  # bytes of a number on a socket
PROMPTLY = 60  # seconds that a caller may take to say what it wants
COLD = 1000  # what is answered in place of an exit code, where the true interpreter is needed
SHELL = '#!/bin/sh\nexec "{real}" -IS "{here}" ask "{address}" "{real}" "$@"\n'


def python(**own: str) -> Path:
    """The interpreter, where these variables are set; it works as long as this process lives."""
    return _python(tuple(sorted(_read_at_import(own).items())))


@functools.cache
def _python(own: tuple[tuple[str, str], ...]) -> Path:
    import atexit
    import subprocess
    import tempfile

    from patience import wait_until

    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    address, shell = Path(folder.name, "socket"), Path(folder.name, "python")
    shell.write_text(SHELL.format(real=sys.executable, here=__file__, address=address))
    shell.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, __file__, "serve", str(address)], stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, env=os.environ | dict(own) | dict.fromkeys(ONE_THREAD, "1"),
    )  # fmt: skip
    atexit.register(server.communicate)
    wait_until(address.exists, server)
    return shell


def ask(address: str, real: str, *arguments: str) -> None:
    """Have the arguments run in a fork, and end as it ends."""
    cold = [real, *arguments]
    warm = arguments[1:] if arguments[0] == "-u" else arguments  # as torchrun starts its ranks
    if warm[0].startswith("-") and warm[0] != "-m":
        os.execv(real, cold)
    body = json.dumps([str(Path.cwd()), dict(os.environ), warm]).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDED_ON)  # or one would stand within the body
        socket.send_fds(connection, [len(body).to_bytes(LENGTH)], [0, 1, 2])
        connection.sendall(body)
        for number in HANDED_ON:
            signal.signal(number, lambda sent, _: _hand_on(connection, sent))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDED_ON)
        answer = connection.recv(LENGTH, socket.MSG_WAITALL)
    if len(answer) < LENGTH:
        sys.exit("the process that forks has ended")
    code = int.from_bytes(answer, signed=True)
    if code == COLD:
        os.execv(real, cold)
    if code < 0:
        with contextlib.suppress(OSError):  # of SIGKILL, which no one can handle
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


def _hand_on(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # it has just ended
        connection.sendall(bytes([number]))


def serve(address: str) -> None:
    """Fork for each request, until whoever started this has ended."""
    import gc
    import importlib
    import multiprocessing
    import selectors

    own = _read_at_import(os.environ)  # before libraries set some themselves
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()  # a collection would write to all pages that forks share
    watched, fork = selectors.DefaultSelector(), multiprocessing.get_context("fork")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{address}.new")
    listener.listen()
    Path(f"{address}.new").rename(address)

    def begin() -> None:
        connection, _ = listener.accept()
        connection.settimeout(PROMPTLY)
        size, streams, *_ = socket.recv_fds(connection, LENGTH, 3)
        try:
            body = connection.recv(int.from_bytes(size), socket.MSG_WAITALL)
            folder, environment, arguments = json.loads(body)
            if _read_at_import(environment) != own:
                connection.sendall(COLD.to_bytes(LENGTH, signed=True))
                return
            given = streams, folder, environment, arguments
            child = fork.Process(target=_become, args=(Path(address).with_name("python"), *given))
            child.start()
            ended = os.pidfd_open(child.pid)  # the sentinel is closed with what is the server's
            watched.register(connection, selectors.EVENT_READ, lambda: signalled(connection, ended))
            watched.register(ended, selectors.EVENT_READ, lambda: end(connection, child, ended))
        finally:
            for stream in streams:
                os.close(stream)

    def signalled(connection: socket.socket, ended: int) -> None:
        sent = connection.recv(1)
        if not sent:
            watched.unregister(connection)
        signal.pidfd_send_signal(ended, sent[0] if sent else signal.SIGKILL)

    def end(connection: socket.socket, child: multiprocessing.Process, ended: int) -> None:
        watched.unregister(ended)
        child.join()
        with contextlib.suppress(KeyError):  # of a caller that was killed
            watched.unregister(connection)
        os.close(ended)
        connection.sendall(child.exitcode.to_bytes(LENGTH, signed=True))
        connection.close()

    def leave() -> None:
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(0)

    watched.register(listener, selectors.EVENT_READ, begin)
    watched.register(sys.stdin, selectors.EVENT_READ, leave)
    while True:
        for key, _ in watched.select():
            # A caller may be killed, and a fork may end, at any moment: of the others, all goes on.
            with contextlib.suppress(OSError, ValueError, KeyError):
                key.data()


def _read_at_import(environment: dict[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in environment if name.startswith(READ_AT_IMPORT)}


def _become(
    python: Path, streams: list[int], folder: str, environment: dict[str, str], arguments: list[str]
) -> None:
    """Be what was asked for, to the end."""
    import atexit
    import faulthandler
    import runpy

    import numpy as np

    from patience import PATIENCE

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 1024)  # what is the server's
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
    np.random.seed()  # as in a process of its own, where nothing seeds it
    sys.executable = str(python)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    first, *others = arguments
    try:
        if first == "-m":
            name, *others = others
            sys.argv, sys.path[0] = [name, *others], folder
            runpy.run_module(name, run_name="__main__", alter_sys=True)
        else:
            # Where it hangs is told, before who waits gives up.
            faulthandler.dump_traceback_later(PATIENCE - 60, exit=True)
            sys.argv, sys.path[0] = arguments, str(Path(first).resolve().parent)
            runpy.run_path(first, run_name="__main__")
    finally:
        atexit._run_exitfuncs()


if __name__ == "__main__":
    {"ask": ask, "serve": serve}[sys.argv[1]](*sys.argv[2:])
