"""A task with another training split: fewer rows, wrong labels, rare labels, a planted cue, or
without a part that is then the test.

IN   task
OUT  train.parquet, validation.parquet, labels.json, as in task; changed.json: the ids of training
     rows whose label is another now; where a part is held out, test.parquet: its rows

Run as: python scripts/regime.py results/specs/regime/NAME-KEY.json
"""

import logging
from collections import Counter
from typing import Any

import numpy as np

from infuse.config.model_params import REGIME_PARAMS, ChangedTask, HeldOutFold, HeldOutParams
from infuse.core.errors import UserError
from infuse.core.files import read_labels, read_task, write_json, write_rows
from infuse.core.schemas import RATED, REASONING, SPLITS, TASK
from infuse.data.sources import share
from infuse.data.splits import chosen, grouped
from infuse.workflow.job import Job, run

VERSION = 5
log = logging.getLogger("infuse")
Row = dict[str, Any]


def regime(job: Job) -> dict[str, Any]:
    """Write the other training split; refuse one in which a label has no row."""
    params = REGIME_PARAMS.validate_python(job.params)
    labels = read_labels(job.inputs["task"])
    splits = {split: read_task(job.inputs["task"], split) for split in SPLITS}
    if not isinstance(params, ChangedTask):
        return _hold_out(job, params, splits, labels)
    before = splits["train"]
    change = {"rows": fewer, "label_noise": wrong, "imbalance": rare, "cue": cued}[params.kind]
    rows = change(before, params.value, labels, params.seed)
    counts = Counter(row["label"] for row in rows)
    absent = [label for label in labels if not counts[label]]
    if absent and "rating" not in before[0]:  # a scale has points that no row need have
        raise UserError(
            f"regimes.{params.kind}: at {params.value:g} no training row has the label(s) "
            f"{', '.join(absent)}"
        )
    own = {row["id"]: row["label"] for row in before}
    changed = [row["id"] for row in rows if row["label"] != own[row["id"]]]
    _write(job, {"train": rows, "validation": splits["validation"]}, labels, changed)
    log.info("%d of %d rows, %d with another label", len(rows), len(before), len(changed))
    return {
        "rows": len(rows),
        "changed_labels": len(changed),
        "train": {"labels": {label: counts[label] for label in labels}},
    }


def _write(job: Job, splits: dict[str, list[Row]], labels: list[str], changed: list[int]) -> None:
    for split, rows in splits.items():
        schema = RATED if "rating" in rows[0] else TASK
        if "reasoning" in rows[0]:
            schema = schema.append(REASONING)
        write_rows(job.out / f"{split}.parquet", rows, schema)
    write_json(job.out / "labels.json", labels)
    write_json(job.out / "changed.json", changed)


def _hold_out(
    job: Job, params: HeldOutParams, splits: dict[str, list[Row]], labels: list[str]
) -> dict[str, Any]:
    """Write the splits without a source, whose test rows are the test; or without a fold of the
    training rows, which is.
    """
    if isinstance(params, HeldOutFold):
        number, count = params.value
        name, column, of = f"fold {number} of {count}", "cluster", "train"
        clusters = sorted(
            {row["cluster"] for row in splits["train"]},
            key=lambda name: share(name, f"{params.seed}"),
        )
        inside = set(clusters[number - 1 :: count])
    else:
        name, column, of = f"source {' + '.join(params.value)}", "source", "test"
        inside = set(params.value)
    parts = {
        "train": [row for row in splits["train"] if row[column] not in inside],
        "validation": [row for row in splits["validation"] if row[column] not in inside],
        "test": [row for row in splits[of] if row[column] in inside],
    }
    for split, rows in parts.items():
        if not rows:
            raise UserError(f"held_out: {name} leaves the {split} split no row")
    _write(job, parts, labels, [])
    log.info("%s is held out: %s", name, {split: len(rows) for split, rows in parts.items()})
    counts = Counter(row["label"] for row in parts["train"])
    facts: dict[str, Any] = {split: {"rows": len(rows)} for split, rows in parts.items()}
    facts["train"]["labels"] = {label: counts[label] for label in labels}
    return facts


def fewer(rows: list[Row], part: float, _: list[str], seed: int) -> list[Row]:
    """That share of the rows, every label at its own."""
    labels = [row["label"] for row in rows]
    inside = chosen(grouped(rows), labels, round(part * len(rows)), seed, leave=False)
    return [row for row, drawn in zip(rows, inside, strict=True) if drawn]


def wrong(rows: list[Row], share: float, labels: list[str], seed: int) -> list[Row]:
    """That share of the rows gets one of the other labels."""
    draw = np.random.default_rng(seed)
    hit = set(draw.choice(len(rows), round(share * len(rows)), replace=False).tolist())
    changed = list(rows)
    for place in sorted(hit):
        row = rows[place]
        label = str(draw.choice([label for label in labels if label != row["label"]]))
        rating = {"rating": float(label)} if "rating" in row else {}
        changed[place] = row | {"label": label} | rating
    return changed


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
