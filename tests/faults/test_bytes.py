"""The same config gives the same bytes, wherever and however it runs."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from faults.harness import LONG, artifacts
from faults.test_kills import begun, fresh
from trees import ALL, Tree, environment

# Python reads this file at each start: the clock a year on, folders listed in another order.
ELSEWHERE = """
import datetime, os, random, time
if os.environ.get("LATER"):
    _now = time.time
    time.time = lambda: _now() + 365 * 86400
if os.environ.get("SHUFFLED"):
    _listdir, _scandir, _draw = os.listdir, os.scandir, random.Random(1)
    def listdir(path="."):
        return _draw.sample(found := _listdir(path), len(found))
    class scandir:
        def __init__(self, path="."):
            with _scandir(path) as found:
                self.found = list(found)
            _draw.shuffle(self.found)
            self.rest = iter(self.found)
        def __iter__(self): return self
        def __next__(self): return next(self.rest)
        def __enter__(self): return self
        def __exit__(self, *_): pass
        def close(self): pass
    os.listdir, os.scandir = listdir, scandir
"""
VARIATIONS: dict[str, dict[str, str]] = {
    "locale": {"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"},
    "plain locale": {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"},
    "time zone": {"TZ": "Pacific/Kiritimati"},
    "umask": {"UMASK": "0077"},
    "home": {"HOME": "HERE"},
    "working folder": {"FOLDER": "another folder"},
    "hash seed": {"PYTHONHASHSEED": "4711"},
    "file order": {"SHUFFLED": "1"},
    "a year later": {"LATER": "1"},
    "one core": {"CORES": "1"},
    "threads of libraries": {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
    "path order": {"PATH_ORDER": "reversed"},
}
EVERYTHING = (*ALL, "results/browse.html")
TOGETHER = {name: value for change in VARIATIONS.values() for name, value in change.items()}


def built_elsewhere(built: Tree, base: Path, change: dict[str, str]) -> Tree:
    """The tiny experiment, built under `change`: from nothing, or from the reasonings on."""
    root = base / change.get("FOLDER", "tree")
    later = ("training_set", "classifier", "predictions")
    tree = fresh(built, root) if LONG else begun(built, root, *later)
    (base / "site").mkdir()
    (base / "site/sitecustomize.py").write_text(ELSEWHERE)
    own: dict[str, Any] = environment() | change | {"PYTHONPATH": str(base / "site")}
    if change.get("HOME"):
        own["HOME"] = str(base)
    if change.get("PATH_ORDER"):
        here, *others = own["PATH"].split(":")
        own["PATH"] = ":".join([here, *reversed(others)])
    (tree.root / "tiny.yaml").write_bytes((built.root / "tiny.yaml").read_bytes())
    said = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", change.get("CORES", "2"), "--configfile",
         "tiny.yaml", "--", *EVERYTHING],
        cwd=tree.root, env=own, umask=int(change.get("UMASK", "0022"), 8), text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr
    return tree


def tables(tree: Tree) -> dict[str, str]:
    """The SHA-256 of each table."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((tree.root / "results").glob("*"))
        if path.suffix in (".csv", ".md", ".html")
    }


@pytest.mark.parametrize("name", [*VARIATIONS, "all together"] if LONG else ["all together"])
def test_the_same_bytes(built: Tree, name: str, tmp_path: Path) -> None:
    """Of every table, of the data behind every figure, and of all that they were made from."""
    assert built.run(*EVERYTHING).returncode == 0
    tree = built_elsewhere(built, tmp_path, VARIATIONS.get(name, TOGETHER))
    assert tables(tree) == tables(built) and len(tables(tree)) == 34
    here = artifacts(tree)
    there = artifacts(built)
    assert len(here) == 20 and here == {path: there[path] for path in here}


@pytest.mark.skipif(not LONG, reason="make faults runs this")
def test_other_arms_give_other_bytes(built: Tree) -> None:
    """The inverse: the comparison sees a difference where there is one."""
    assert built.run(*ALL).returncode == 0
    before = tables(built)
    said = built.run(*ALL, arms={"label": {"target": "label"}})
    assert said.returncode == 0, said.stderr
    assert tables(built)["arms.csv"] != before["arms.csv"]
    assert built.run(*ALL).returncode == 0
    assert tables(built) == before
