"""What a run cost and which code it was, where the machine tells."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from infuse.core.files import read_json, write_json

RAPL = Path("/sys/class/powercap")
PEAK = Path("/proc/self/clear_refs")  # 5, written there, lets the peak of memory begin anew
OFTEN = 10  # seconds; counters of energy restart after some ten minutes at full power


class Cost(TypedDict):
    """Wall time in s, peak resident memory in MB, the processor's energy in J if it is known."""

    seconds: float
    peak_memory_mb: float
    energy_joules: float | None


class Meter:
    """Counts while a block runs, on top of what earlier attempts have kept in a file.

    A process that is killed loses the last `OFTEN` seconds.
    """

    def __init__(self, kept: Path) -> None:
        self._kept, self._before = kept, _spent(kept)
        with suppress(OSError):
            PEAK.write_text("5")
        self._start, self._energy = time.monotonic(), _Energy()
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Meter:
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._keeper.join()

    def read(self) -> Cost:
        """What all attempts took."""
        before = self._before
        joules = before["energy_joules"], self._energy.joules()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {
            "seconds": round(before["seconds"] + time.monotonic() - self._start, 1),
            "peak_memory_mb": round(max(before["peak_memory_mb"], memory), 1),
            "energy_joules": None if None in joules else round(sum(filter(None, joules)), 1),
        }

    def _keep(self) -> None:
        ended = False
        while not ended:
            ended = self._ended.wait(OFTEN)
            with suppress(OSError):  # without room, the work itself says so
                write_json(self._kept, self.read())


def _spent(kept: Path) -> Cost:
    none: Cost = {"seconds": 0.0, "peak_memory_mb": 0.0, "energy_joules": 0.0}
    return none | read_json(kept) if kept.exists() else none


class _Energy:
    """The energy of all processor packages (RAPL); to be read before a counter restarts twice."""

    def __init__(self) -> None:
        self._sum, self._last = 0, _counters()

    def joules(self) -> float | None:
        """Since the start; None where the counters can't be read."""
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
