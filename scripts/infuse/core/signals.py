"""What asks a run to end: SIGTERM and SIGINT."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger("infuse")
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(SystemExit):
    """SIGTERM or SIGINT, as the shell's exit code for it."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


class Deserted(SystemExit):
    """Another rank of the training has ended, of which its own process tells."""

    def __init__(self) -> None:
        super().__init__(75)


class _Listener:
    """Raises `Stopped` where the signal finds the run, or keeps it until it is asked for."""

    holding = False
    heard: int | None = None

    def __call__(self, number: int, _: FrameType | None) -> None:
        again = self.heard is not None
        if not self.holding or (again and number == signal.SIGINT):
            raise Stopped(number)
        if not again:
            self.heard = number
            log.info("%s: stops after this step", signal.Signals(number).name)


_listener = _Listener()


def listen() -> None:
    """From now on SIGTERM and SIGINT raise `Stopped`."""
    for number in SIGNALS:
        signal.signal(number, _listener)


def ignore() -> None:
    """From now on SIGTERM and SIGINT do nothing: the run is about to end by itself."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def held() -> Iterator[Callable[[], bool]]:
    """Keep a signal until the block ends; it is told whether there is one.

    A second SIGINT, as of a person who waits, stops at once. A second SIGTERM does not: at the end
    of a job's time, Slurm sends it by two ways.

    Raises:
        Stopped: at the end of a block in which a signal came.
    """
    _listener.holding = True
    try:
        yield lambda: _listener.heard is not None
        if _listener.heard is not None:
            raise Stopped(_listener.heard)
    finally:
        _listener.holding, _listener.heard = False, None
