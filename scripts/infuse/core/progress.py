"""How far a long job is, as a line in its log every few seconds."""

from __future__ import annotations

import logging
import time

log = logging.getLogger("infuse")


class Progress:
    """A line every few seconds: done / total, rate, time left."""

    def __init__(self, total: int, unit: str, done: int = 0, every: float = 10.0) -> None:
        self.total, self.unit, self.done, self.every = total, unit, done, every
        self._resumed = done
        self._start = self._last = time.monotonic()

    def advance(self, amount: int, note: str = "") -> None:
        """Count `amount` more; speak when the last line is old enough or all is done."""
        self.done += amount
        now = time.monotonic()
        if now - self._last < self.every and self.done < self.total:
            return
        self._last = now
        rate = (self.done - self._resumed) / max(now - self._start, 1e-9)
        left = (self.total - self.done) / max(rate, 1e-9)
        log.info(
            "%s / %s %s, %.3g a second, %s left%s",
            f"{self.done:,}", f"{self.total:,}", self.unit, rate, clock(left), note and f", {note}",
        )  # fmt: skip


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
