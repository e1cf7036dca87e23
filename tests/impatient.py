"""Snakemake with a plugin for Slurm that asks for the states of jobs every second.

Its own pauses grow by ten seconds each time nothing has ended, and there is no option for that.
Run as: python tests/impatient.py ARGUMENT...
"""

from __future__ import annotations

from typing import Any

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor  # type: ignore[import-not-found]


def unchanged(_: Any, seconds: int) -> None:
    """Let no pause grow."""


if __name__ == "__main__":
    Executor.next_seconds_between_status_checks = property(lambda _: 1, unchanged)
    main()
