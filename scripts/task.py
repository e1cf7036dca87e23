"""Labelled texts in three splits, with one id, text and label name for each row.

IN   a hub data set, three local files, or the workflow's own generator
OUT  train.parquet, validation.parquet, test.parquet: id, text, label
"""

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

from infuse import diary
from infuse.errors import UserError
from infuse.files import TASK, write_rows
from infuse.sources import read_file, read_hub
from infuse.stage import Job, run

VERSION = 1
SPLITS = ("train", "validation", "test")
log = logging.getLogger("infuse")


def task(job: Job) -> dict[str, Any]:
    """Write the splits; refuse what can't be learned from, drop and count texts without text."""
    facts: dict[str, Any] = {}
    for split in SPLITS:
        empty: list[int] = []
        rows = list(_clean(_raw(job, split), job.params["labels"], split, empty))
        if not rows:
            raise UserError(f"task, {split} split: no rows")
        counts = Counter(row["label"] for row in rows)
        absent = [label for label in job.params["labels"] if label not in counts]
        if absent and split == "train":
            raise UserError(f"task, train split: no row has the label(s) {', '.join(absent)}")
        write_rows(job.out / f"{split}.parquet", rows, TASK)
        facts[split] = {
            "rows": len(rows),
            "labels": {label: counts[label] for label in job.params["labels"]},
            "dropped_empty": {"rows": len(empty), "first": empty[:5]},
        }
        log.info(
            "%s: %d rows, %d dropped as empty %s", split, len(rows), len(empty), empty[:5] or ""
        )
    return facts


def _raw(job: Job, split: str) -> Iterator[dict[str, Any]]:
    """Rows of a split with the keys text and label, and id where the source gives one."""
    source = job.params["source"]
    if source["kind"] == "generated":
        # One draw for all splits, since texts differ only within a draw.
        lines = diary.texts(sum(source[part] for part in SPLITS), source["seed"])
        start = sum(source[part] for part in SPLITS[: SPLITS.index(split)])
        for line in lines[start : start + source[split]]:
            yield {"text": line.text, "label": line.label}
        return
    columns = {part: name for part, name in job.params["columns"].items() if name}
    names = list(columns.values())
    rows = (
        read_hub(source, split, names) if source["kind"] == "hub"
        else read_file(job.settings["files"][split], names)
    )  # fmt: skip
    for row in rows:
        yield {part: row[name] for part, name in columns.items()}


def _clean(
    rows: Iterator[dict[str, Any]], labels: list[str], split: str, empty: list[int]
) -> Iterator[dict[str, Any]]:
    """Rows with an integer id and a label's name; `empty` collects rows without text."""
    seen: set[int] = set()
    for number, row in enumerate(rows):
        where = f"task, {split} split, row {number}"
        if not isinstance(row["text"], str):
            raise UserError(f"{where}: expected a text, found {row['text']!r}")
        if not row["text"].strip():
            empty.append(number)
            continue
        identity = row.get("id", number)
        if not (str(identity).isdecimal() and int(identity) < 2**63):
            raise UserError(f"{where}: expected a whole number as id, found {identity!r}")
        if int(identity) in seen:
            raise UserError(f"{where}: the id {identity} occurs twice")
        seen.add(int(identity))
        yield {
            "id": int(identity), "text": row["text"], "label": _name(row["label"], labels, where)
        }  # fmt: skip


def _name(label: Any, labels: list[str], where: str) -> str:
    """The label's name; a whole number, which csv gives as text, is its place in the list."""
    if label in labels:
        return str(label)
    place = str(label)
    if not isinstance(label, bool) and place.isdecimal() and int(place) < len(labels):
        return labels[int(place)]
    raise UserError(f"{where}: unknown label {label!r}, expected one of {', '.join(labels)}")


if __name__ == "__main__":
    run(task)
