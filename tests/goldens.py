"""What each stage computes on small experiments, in a form that holds on every processor.

Text, integers and keys are kept as digests. A number that floats determine is kept with six digits
and held within `TOLERANCE`. Which token or label comes first hangs on a float too, and no tolerance
helps there: of what models write, a digest of each row is kept, and few may differ. What is made
from such rows is held where its inputs are those that were kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import re
import signal
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from infuse.config import experiment
from infuse.core.signals import SIGNALS
from infuse.workflow import job, plan
from infuse.workflow.node import Node, reached
from trees import copied, short_study, tiny

FILE = Path(__file__).with_name("golden.json")
EXPERIMENTS = (tiny(), tiny() | short_study())
TOLERANCE = 1e-4  # relative
NOTHING = 1e-6  # as good as 0
SHARE = 0.8  # of the rows, where a model decides
DECIDED = {
    "reasonings": {"reasoning", "finish", "tokens"},
    "predictions": {"generated", "reasoning", "predicted", "outcome", "tokens", "closed_set"},
    "logit_lens": {"ranks", "settled"},
}
LINEAR = "TF-IDF"  # lines on the labels of a linear model, which hang on floats as well
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
Entry = dict[str, Any]


def nodes(change: dict[str, Any]) -> list[Node]:
    """The artifacts of an experiment that are kept, inputs first: of one with a scale, what its
    study and the look into its layers need; of another, all but these.
    """
    graph = plan.build(experiment.load(change))
    last = graph.last if graph.quality is None else (graph.quality, graph.layers)
    return list(reached(*last).values())


def make(root: Path, wanted: Sequence[Node]) -> None:
    """Make the artifacts that are not there, one after the other in this process."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    with contextlib.chdir(root):
        for node in wanted:
            if not Path(node.path).is_dir():
                stage = getattr(importlib.import_module(node.stage), node.stage)
                job._publish(node.spec(), stage)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def entry(root: Path, node: Node) -> Entry:
    """What is kept of an artifact: its key, and of each file digests and numbers."""
    decided = DECIDED.get(node.stage, set())
    files = {}
    for file in sorted((root / node.path).iterdir()):
        if file.suffix == ".parquet":
            files[file.name] = _table(file, decided)
        elif file.suffix in (".csv", ".md") and file.stem not in ("costs", "README"):
            files[file.name] = _text(file)  # those two tell of the run
        elif file.name == "history.json":
            files[file.name] = _losses(file)
    return {"key": node.key, "files": files}


def _table(file: Path, decided: set[str]) -> Entry:
    """Of rows: a digest of what is neither a float nor decided; for each place of a float, the mean
    over the rows; for each row, a digest of what is decided.
    """
    floats: dict[Any, list[float]] = defaultdict(list)

    def exact(value: Any, *place: Any) -> Any:
        if isinstance(value, float):
            floats[place].append(value)
            return "#"
        if isinstance(value, list):
            return [exact(item, *place, at) for at, item in enumerate(value)]
        return value

    rows = pq.read_table(file).to_pylist()
    kept = [{name: exact(row[name], name) for name in row if name not in decided} for row in rows]
    record = {"exact": _digest(kept)}
    if floats:
        record["near"] = " ".join(_number(sum(each) / len(each)) for each in floats.values())
    if decided:
        digests = (_digest([row[name] for name in sorted(decided)], 4) for row in rows)
        record["decided"] = " ".join(digests)
    return record


def _text(file: Path) -> Entry:
    """Of a text: a digest with a place for each number; the numbers, as printed for people where it
    has the form of .md too, whose numbers are the same ones.
    """
    lines = [line for line in file.read_text().splitlines() if LINEAR not in line]
    text = re.sub(r"[ -]+", " ", NUMBER.sub("#", "\n".join(lines)))  # columns of .md have widths
    if file.suffix == ".md":
        return {"exact": _digest(text)}
    numbers = NUMBER.findall("\n".join(lines))
    if not file.with_suffix(".md").exists():
        numbers = [_number(float(number)) if "." in number else number for number in numbers]
    return {"exact": _digest(text), "near": " ".join(numbers)}


def _losses(file: Path) -> Entry:
    history = json.loads(file.read_text())
    losses = [point["loss"] for part in ("steps", "evaluations") for point in history[part]]
    return {"near": " ".join(map(_number, losses))}


def _number(value: float) -> str:
    return f"{value:#.6g}"


def _digest(value: Any, length: int = 16) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()[:length]


def differences(now: Entry, kept: Entry) -> list[str]:
    """The files of an artifact that are not what was kept."""
    names = sorted(now["files"].keys() | kept["files"].keys())
    return [
        name
        for name in names
        if not _same(*(version["files"].get(name) for version in (now, kept)))
    ]


def _same(now: Entry | None, kept: Entry | None) -> bool:
    return (
        now is not None
        and kept is not None
        and now.get("exact") == kept.get("exact")
        and _near(*(version.get("near", "").split() for version in (now, kept)))
        and _alike(*(version.get("decided", "").split() for version in (now, kept)))
    )


def _near(numbers: list[str], kept: list[str]) -> bool:
    """Within the tolerance, or within one unit of the last of the decimals."""
    pairs = list(zip(numbers, kept, strict=False))
    return len(numbers) == len(kept) and all(
        abs(float(a) - float(b)) <= max(TOLERANCE * abs(float(b)), NOTHING, 1.01 * _unit(b))
        for a, b in pairs
    )


def _unit(number: str) -> float:
    return 10.0 ** int(Decimal(number).as_tuple().exponent) if "." in number else 0.0


def _alike(rows: list[str], kept: list[str]) -> bool:
    same = sum(a == b for a, b in zip(rows, kept, strict=False))
    return len(rows) == len(kept) and same >= SHARE * len(kept)


def _decided(record: Entry) -> dict[str, Any]:
    return {name: file.get("decided") for name, file in record["files"].items()}


def compare(root: Path, change: dict[str, Any], keys: bool = True) -> tuple[int, int]:
    """Hold what an experiment has made against what is kept of it.

    Args:
        keys: false where what enters a key was changed, and what is computed should not have been.

    Returns:
        How many artifacts there are, and how many of them were held: the others were made from a
        row that was decided otherwise.
    """
    start = f"{experiment.load(change).experiment}: "
    named_nodes = {start + f"{node.stage} {node.name}": node for node in nodes(change)}
    kept = {
        name: record
        for name, record in json.loads(FILE.read_text()).items()
        if name.startswith(start)
    }
    assert named_nodes.keys() == kept.keys(), "run `make golden`"
    other: set[str] = set()
    held = 0
    for name, node in named_nodes.items():
        if keys and node.key != kept[name]["key"]:
            pytest.fail(f"{name}: version, parameters or inputs changed; run `make golden`")
        if any(source.path in other for source in node.inputs.values()):
            other.add(node.path)
            continue
        now, held = entry(root, node), held + 1
        if files := differences(now, kept[name]):
            pytest.fail(
                f"{name} changed ({', '.join(files)}): raise VERSION in scripts/{node.stage}.py, "
                "then run `make golden`"
            )
        if _decided(now) != _decided(kept[name]):
            other.add(node.path)
    return len(named_nodes), held


if __name__ == "__main__":
    records: dict[str, Any] = {}
    for change in EXPERIMENTS:
        name, wanted = experiment.load(change).experiment, nodes(change)
        with tempfile.TemporaryDirectory() as folder:
            root = copied(Path(folder, name))
            make(root, wanted)
            records |= {f"{name}: {node.stage} {node.name}": entry(root, node) for node in wanted}
    FILE.write_text(json.dumps(records, indent=1) + "\n")
