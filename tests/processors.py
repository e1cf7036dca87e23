"""Goldens and bitwise promises, as on other processors.

    make test-processors

For each of `OTHERS`, in a process of its own, the small experiments are made and held against
golden.json, and `TESTS` hold. A switch that this processor does not heed changes nothing, so the
bytes of what was made are compared too, and `DIFFERENT` kinds must be among them. What holds on the
processor that is here, `make test` tells.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import goldens
from emulations import PROCESSORS
from infuse.core.files import read_json
from infuse.core.manifest import SEAL
from infuse.workflow.node import Node
from trees import ROOT, copied

OTHERS = ("SSE", "AVX", "AVX2, products as on any", "two threads")
DIFFERENT = 3  # so many kinds of bytes, at least; all four, where this was tried
LOOP = "tests/training/test_loop.py::test_"
TESTS = (  # of the same bytes: after a kill, in another layout, among other rows
    LOOP + "a_killed_run_ends_with_the_same_bytes[full-second epoch]",
    LOOP + "how_often_a_run_saves_changes_nothing",
    LOOP + "losses_are_those_of_long_ago",
    LOOP + "layouts_train_alike",
    "tests/training/test_step.py::test_packed_equals_unpacked",
    "tests/inference/test_generation.py::test_neighbours_change_nothing",
    "tests/inference/test_generation.py::test_killed_and_resumed_the_bytes_are_the_same[4-None-4]",
)


def contents(root: Path, nodes: Sequence[Node]) -> list[dict[str, object]]:
    """Size and SHA-256 of each file that does not tell of the run, by name, for each artifact."""
    sealed = [read_json(root / node.path / SEAL)["files"] for node in nodes]
    return [{name: files[name] for name in files if name != "costs.csv"} for files in sealed]


def check() -> int:
    """Hold what is promised on this processor; the exit code."""
    threads = int(os.environ.get("THREADS", "1"))
    changes = [change | {"compute": {"threads": threads}} for change in goldens.EXPERIMENTS]
    bytes_of, held, count = [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for place, change in enumerate(changes):
            root, nodes = copied(Path(folder, str(place))), goldens.nodes(change)
            goldens.make(root, nodes)
            bytes_of += contents(root, nodes)
            ours = goldens.compare(root, change, keys=threads == 1)
            count, held = count + ours[0], held + ours[1]
    digest = hashlib.sha256(repr(bytes_of).encode()).hexdigest()[:8]
    print(f"{digest}: {held} of {count} artifacts held", flush=True)
    return int(pytest.main(["-p", "no:cacheprovider", "-r", "fE", *TESTS]))


def run(name: str) -> tuple[int, str, float]:
    """Check as a processor, in a process of its own; exit code, what it said, seconds."""
    start = time.monotonic()
    paths = {"PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("scripts", "tests"))}
    said = subprocess.run(
        [sys.executable, __file__, name], cwd=ROOT, env=os.environ | paths | PROCESSORS[name],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return said.returncode, said.stdout, time.monotonic() - start


def main() -> int:
    """Check as each processor, two at a time; the exit code."""
    failed, kinds = 0, set()
    with ThreadPoolExecutor(2) as pool:
        for name, (code, said, seconds) in zip(OTHERS, pool.map(run, OTHERS), strict=True):
            summary = next((line for line in said.splitlines() if " held" in line), "not made")
            print(
                f"{name}: {summary}; {'failed' if code else 'passed'}, {seconds:.0f} s", flush=True
            )
            kinds.add(summary.split(":")[0])
            failed += code != 0
            if code:
                print(said)
    print(f"{len(kinds)} kinds of bytes, expected {DIFFERENT} or more")
    return int(failed > 0 or len(kinds) < DIFFERENT)


if __name__ == "__main__":
    sys.exit(check() if sys.argv[1:] else main())
