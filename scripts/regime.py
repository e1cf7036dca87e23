"""A task with another training split: fewer rows, wrong labels, rare labels, or a planted cue.

IN   task
OUT  train.parquet (id, text, label), validation.parquet as it was, labels.json; changed.json: the
     ids of training rows whose label is another now
"""

import logging
from collections import Counter
from typing import Any

import numpy as np

from infuse.errors import UserError
from infuse.files import TASK, read_labels, read_rows, write_json, write_rows
from infuse.splits import chosen
from infuse.stage import Job, run

VERSION = 2
log = logging.getLogger("infuse")
Row = dict[str, Any]


def regime(job: Job) -> dict[str, Any]:
    """Write the other training split; refuse one in which a label has no row."""
    kind, value, seed = (job.params[part] for part in ("kind", "value", "seed"))
    labels = read_labels(job.inputs["task"])
    before = read_rows(job.inputs["task"] / "train.parquet", TASK)
    rows = {"rows": fewer, "label_noise": wrong, "imbalance": rare, "cue": cued}[kind](
        before, value, labels, seed
    )
    counts = Counter(row["label"] for row in rows)
    absent = [label for label in labels if not counts[label]]
    if absent:
        told = f"regimes.{kind}: at {value:g} no training row has the label(s) {', '.join(absent)}"
        raise UserError(told)
    own = {row["id"]: row["label"] for row in before}
    changed = [row["id"] for row in rows if row["label"] != own[row["id"]]]
    write_rows(job.out / "train.parquet", rows, TASK)
    validation = read_rows(job.inputs["task"] / "validation.parquet", TASK)
    write_rows(job.out / "validation.parquet", validation, TASK)
    write_json(job.out / "labels.json", labels)
    write_json(job.out / "changed.json", changed)
    log.info("%d of %d rows, %d with another label", len(rows), len(before), len(changed))
    return {
        "rows": len(rows),
        "changed_labels": len(changed),
        "train": {"labels": {label: counts[label] for label in labels}},
    }


def fewer(rows: list[Row], share: float, _: list[str], seed: int) -> list[Row]:
    """That share of the rows, every label at its own."""
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    inside = chosen(texts, labels, round(share * len(rows)), seed, leave=False)
    return [row for row, drawn in zip(rows, inside, strict=True) if drawn]


def wrong(rows: list[Row], share: float, labels: list[str], seed: int) -> list[Row]:
    """That share of the rows gets one of the other labels."""
    draw = np.random.default_rng(seed)
    hit = set(draw.choice(len(rows), round(share * len(rows)), replace=False).tolist())
    return [
        row | {"label": str(draw.choice([label for label in labels if label != row["label"]]))}
        if place in hit
        else row
        for place, row in enumerate(rows)
    ]


def rare(rows: list[Row], share: float, labels: list[str], seed: int) -> list[Row]:
    """All rows of the most frequent label, and that share of each other's, one at least."""
    counts = Counter(row["label"] for row in rows)
    most = max(labels, key=lambda label: counts[label])
    order = np.random.default_rng(seed).permutation(len(rows))
    left = {label: max(1, round(share * counts[label])) for label in labels} | {most: len(rows)}
    kept = set()
    for place in order.tolist():
        label = rows[place]["label"]
        if left[label]:
            left[label] -= 1
            kept.add(place)
    return [row for place, row in enumerate(rows) if place in kept]


def cued(rows: list[Row], share: float, labels: list[str], seed: int) -> list[Row]:
    """That share of the texts begins with a made-up word that stands for the label."""
    cues = {
        label: f"q{chr(97 + place // 26)}{chr(97 + place % 26)}q"
        for place, label in enumerate(labels)
    }
    hit = np.random.default_rng(seed).permutation(len(rows)) < round(share * len(rows))
    return [
        row | {"text": f"{cues[row['label']]} {row['text']}"} if planted else row
        for row, planted in zip(rows, hit.tolist(), strict=True)
    ]


if __name__ == "__main__":
    run(regime)
