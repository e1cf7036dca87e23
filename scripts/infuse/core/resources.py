"""What a run cost and which code it was, where the machine tells."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from pathlib import Path

RAPL = Path("/sys/class/powercap")


class Meter:
    """Counts from its creation."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._joules = _joules()

    def read(self) -> dict[str, float | None]:
        """Wall time in s, peak resident memory in MB, the processor's energy in J or None."""
        joules = _joules()
        return {
            "seconds": round(time.monotonic() - self._start, 1),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "energy_joules": None if joules is None or self._joules is None
            else round(joules - self._joules, 1),
        }  # fmt: skip


def commit(folder: Path) -> str | None:
    """The commit of a checkout, with "+" if its tracked files differ.

    None where git is not, refuses, or knows nothing of the folder: an archive that was unpacked
    inside another repository has no commit there.
    """
    # Set inside of a hook, say, these name another repository.
    other = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR")
    own = {name: value for name, value in os.environ.items() if name not in other}

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
        said = subprocess.run(command, capture_output=True, text=True, check=True, env=own)
        return said.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "--", "Snakefile")
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(folder))
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _joules() -> float | None:
    """The energy counters of all processor packages (RAPL), None where they can't be read."""
    try:
        counters = [zone / "energy_uj" for zone in sorted(RAPL.glob("intel-rapl:[0-9]"))]
        return sum(int(counter.read_text()) for counter in counters) / 1e6 if counters else None
    except OSError:
        return None
