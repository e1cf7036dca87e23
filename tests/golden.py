"""What each stage computes on the tiny experiment, in a form that can be kept and compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from infuse import config, plan

FILE = Path(__file__).with_name("golden.json")


def entries(root: Path, change: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each artifact: its key, exact digests of text and integers, losses as they are."""
    for (stage, _), node in plan.build(config.load(change)).nodes.items():
        folder = root / node.path
        yield (
            f"{stage} {node.name}",
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
    tiny = yaml.safe_load(Path(__file__).with_name("tiny.yaml").read_text())
    FILE.write_text(json.dumps(dict(entries(Path(), tiny)), indent=1) + "\n")
