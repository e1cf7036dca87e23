"""Tests wait for events, and give up only what will never come: a machine may be busy."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 900.0  # seconds; nothing is learned from how many it takes


def wait_until(ready: Callable[[], object], process: subprocess.Popen[Any] | None = None) -> None:
    """Return once `ready` says so, which is up to `process` where there is one."""
    end = time.monotonic() + PATIENCE
    while not ready():
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > end:
            if process is not None:
                process.kill()
            raise AssertionError(f"what was waited for {'ended before' if ended else 'never came'}")
        time.sleep(0.001)
