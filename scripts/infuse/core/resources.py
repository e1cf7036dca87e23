"""What a run cost and which code it was, where the machine tells."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from pathlib import Path

RAPL = Path("/sys/class/powercap")
OFTEN = 60  # seconds; counters of energy restart after some ten minutes at full power


class Meter:
    """Counts from its creation."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._energy = _Energy()

    def read(self) -> dict[str, float | None]:
        """Wall time in s, peak resident memory in MB, the processor's energy in J or None."""
        joules = self._energy.joules()
        return {
            "seconds": round(time.monotonic() - self._start, 1),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "energy_joules": None if joules is None else round(joules, 1),
        }


class _Energy(threading.Thread):
    """The energy of all processor packages (RAPL), of which a thread sees each restart."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._lock = threading.Lock()
        self._sum, self._last = 0, _counters()
        if self._last:
            self.start()

    def run(self) -> None:
        while True:
            time.sleep(OFTEN)
            self.joules()

    def joules(self) -> float | None:
        """Since the start; None where the counters can't be read."""
        with self._lock:
            now = _counters()
            if not now or now.keys() != self._last.keys():
                return None
            for zone, (count, most) in now.items():
                self._sum += (count - self._last[zone][0]) % (most + 1)
            self._last = now
            return self._sum / 1e6


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


def _counters() -> dict[str, tuple[int, int]]:
    """Of each processor package, microjoules and the most that its counter holds; none where they
    can't be read.
    """
    try:
        return {
            zone.name: (
                int((zone / "energy_uj").read_text()),
                int((zone / "max_energy_range_uj").read_text()),
            )
            for zone in RAPL.glob("intel-rapl:[0-9]")
        }
    except OSError:
        return {}
