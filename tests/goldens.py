"""What each stage computes on small experiments, in a form that can be kept and compared."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from infuse.config import experiment
from infuse.workflow import plan
from trees import ALL, STUDY, Tree, copied, short_study, tiny

FILE = Path(__file__).with_name("golden.json")


def entries(root: Path, change: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each artifact that is there: its key, digests of text and integers, losses."""
    made = plan.build(experiment.load(change))
    for (stage, _), node in made.nodes.items():
        folder = root / node.path
        if not folder.is_dir():  # probes, of the one; tables and arms, of the other
            continue
        yield (
            f"{made.experiment}: {stage} {node.name}",
            {
                "key": node.key,
                "exact": {
                    file.name: _digest(file)
                    for file in sorted(folder.iterdir())
                    if file.suffix in (".parquet", ".csv", ".md")
                    and file.stem not in ("costs", "README")  # they tell of the run
                },
                "losses": _losses(folder / "history.json"),
            },
        )


def compare(root: Path, change: dict[str, Any]) -> None:
    """Hold what an experiment has made against what is kept of it."""
    now = dict(entries(root, change))
    start = f"{experiment.load(change).experiment}: "
    kept = {
        name: one for name, one in json.loads(FILE.read_text()).items() if name.startswith(start)
    }
    assert now.keys() == kept.keys(), "run `make golden`"
    for name, entry in now.items():
        if entry["key"] != kept[name]["key"]:
            pytest.fail(f"{name}: version, parameters or inputs changed; run `make golden`")
        same = entry["exact"] == kept[name]["exact"] and entry["losses"] == pytest.approx(
            kept[name]["losses"], rel=1e-4
        )
        stage = name.split()[1]
        assert same, f"{name} changed: raise VERSION in scripts/{stage}.py, then run `make golden`"


def _digest(file: Path) -> str:
    if file.suffix != ".parquet":
        return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    table = pq.read_table(file)
    exact = [name for name in table.column_names if name != "log_probabilities"]
    rows = json.dumps(table.select(exact).to_pylist(), ensure_ascii=False)
    return hashlib.sha256(rows.encode()).hexdigest()[:16]


def _losses(file: Path) -> list[float]:
    if not file.exists():
        return []
    history = json.loads(file.read_text())
    return [entry["loss"] for part in ("steps", "evaluations") for entry in history[part]]


if __name__ == "__main__":
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for wanted, change in ((ALL, tiny()), (STUDY, tiny() | short_study())):
            tree = Tree(copied(Path(folder, wanted[-1].replace("/", "-"))))
            said = tree.run(*wanted, **change)
            assert said.returncode == 0, said.stdout + said.stderr
            found |= entries(tree.root, change)
    FILE.write_text(json.dumps(found, indent=1) + "\n")
