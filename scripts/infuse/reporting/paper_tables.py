"""Tables 1-5 of arXiv 2507.00214, and what stands beside the published numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from infuse.config.arms import AnyArm, roles
from infuse.data.linear_text import linear_model
from infuse.evaluation.fidelity import Line
from infuse.evaluation.scores import Row
from infuse.reporting.cells import (
    FOUR,
    NOT_RUN,
    Table,
    accuracy_of,
    formatted,
    mean,
    mean_of,
    p_value,
    percent,
    points,
)

MODELS = {"zero-shot": "zero-shot API model"}  # what tables call a part; others go by its name
KINDS = (
    "right, good reasoning",
    "right, flawed reasoning",
    "wrong, plausible reasoning",
    "wrong, flawed reasoning",
)


def table1(splits: Mapping[str, Sequence[Row]], labels: Sequence[str]) -> Table:
    """Rows of each label in each split, the most frequent of the test split first."""
    counts = {split: Counter(row["label"] for row in rows) for split, rows in splits.items()}
    total = len(splits["test"])
    ranked = sorted(labels, key=lambda label: -counts["test"][label])
    return [
        {"label": label}
        | {split: str(counts[split][label]) for split in splits}
        | {"test %": percent(counts["test"][label] / total)}
        for label in ranked
    ]


def table2(training: Sequence[Row], predictions: Sequence[Row] | None) -> Table:
    """One case of each of four kinds, picked by rule.

    A linear model of words, fitted on the training reasonings alone, tells which label a reasoning
    argues for. A reasoning is good, or plausible, when that is the label which the classifier then
    gave; else it is flawed. Of each kind, the case that the linear model is surest of is shown.

    Args:
        training: reasoning and label of each training row.
        predictions: of the reasoning-first arm, or None where there is none. "not run" stands for
            that, and where no linear model can be had.
    """
    model = None
    if predictions is not None:
        model = linear_model(
            [row["reasoning"] for row in training], [row["label"] for row in training]
        )
    if predictions is None or model is None:
        return [{"kind": kind, "rows": NOT_RUN} for kind in KINDS]
    answered = [row for row in predictions if row["predicted"] and row["reasoning"]]
    chances = model.predict_proba([row["reasoning"] for row in answered] or [""])
    cases: dict[str, list[tuple[float, int, str, Row]]] = {kind: [] for kind in KINDS}
    for row, chance in zip(answered, chances, strict=False):
        argued = str(model.classes_[chance.argmax()])
        kind = 2 * (row["outcome"] != "right") + (argued != row["predicted"])
        cases[KINDS[kind]].append((-float(chance.max()), row["id"], argued, row))
    table = []
    for kind, of_kind in cases.items():
        line = {"kind": kind, "rows": str(len(of_kind))}
        if of_kind:
            *_, argued, row = min(of_kind, key=lambda case: case[:2])
            line |= {
                "text": row["text"],
                "true label": row["label"],
                "predicted": row["predicted"],
                "reasoning": row["reasoning"],
                "argues for": argued,
            }
        table.append(line)
    return table


def table3(
    arms: Mapping[str, AnyArm],
    classifiers: Sequence[Row],
    means: Sequence[Row],
    contrasts: Sequence[Row],
) -> Table:
    """Accuracy of the paper's models and of the control, and what the reasoning adds."""
    parts = roles(arms)
    table = [
        {"model": MODELS.get(part, part)}
        | (accuracy_of(arm, classifiers, means) if arm else {"accuracy %": NOT_RUN})
        for part, arm in parts.items()
    ]
    for part, arm in parts.items():
        if part == "Q->RA" or (part == "zero-shot" and arm is None):
            continue
        rows = [row for row in contrasts if row["against"] == arm]
        line = {"model": f"Q->RA minus {MODELS.get(part, part)}"}
        more = _contrast(rows, mean_of(means, parts["Q->RA"], arm)) if rows else None
        table.append(line | (more or {"accuracy %": NOT_RUN}))
    return table


def table4(arms: Mapping[str, AnyArm], classes: Sequence[Row], labels: Sequence[str]) -> Table:
    """Recall, precision and F1 of each label; the paper's table 4 holds recalls."""
    table = []
    for label in labels:
        line = {"label": label}
        for part, arm in roles(arms).items():
            rows = [row for row in classes if row["arm"] == arm and row["label"] == label]
            for score in ("recall", "precision", "f1"):
                line |= {"n": str(rows[0]["support"])} if rows else {}
                cell = formatted(mean(rows, score), percent) if rows else NOT_RUN
                line[f"{MODELS.get(part, part)} {score} %"] = cell
        table.append(line)
    return table


def table5(arms: Mapping[str, AnyArm], classifiers: Sequence[Row]) -> Table:
    """Macro and weighted F1, as shares of 1."""
    table = []
    for part, arm in roles(arms).items():
        rows = [row for row in classifiers if row["arm"] == arm]
        table.append(
            {"model": MODELS.get(part, part)}
            | {
                f"{kind} F1": formatted(mean(rows, f"{kind}_f1"), FOUR) if rows else NOT_RUN
                for kind in ("macro", "weighted")
            }
        )
    return table


def quantities(
    arms: Mapping[str, AnyArm],
    test: Sequence[Row],
    classifiers: Sequence[Row],
    classes: Sequence[Row],
) -> dict[str, float]:
    """Our numbers under the names and in the units of `fidelity.published`."""
    counts = Counter(row["label"] for row in test)
    ours: dict[str, float] = {f"table 1, {label}, rows": n for label, n in counts.items()}
    accuracy = {}
    for part, arm in roles(arms).items():
        if arm is None:
            continue
        rows = [row for row in classifiers if row["arm"] == arm]
        accuracy[part] = 100 * _known(rows, "accuracy")
        ours[f"table 3, {part}, accuracy %"] = accuracy[part]
        for label in counts:
            recalls = [row for row in classes if row["arm"] == arm and row["label"] == label]
            ours[f"table 4, {part}, {label}, recall %"] = 100 * _known(recalls, "recall")
        for kind in ("macro", "weighted"):
            ours[f"table 5, {part}, {kind} F1"] = _known(rows, f"{kind}_f1")
    if {"Q->A", "Q->RA"} <= accuracy.keys():
        ours["table 3, improvement, points"] = accuracy["Q->RA"] - accuracy["Q->A"]
    return ours


def comparison(lines: Sequence[Line]) -> Table:
    """The fidelity table."""
    return [
        {
            "quantity": line.quantity,
            "published": f"{line.published:g}",
            "ours": "" if line.ours is None else f"{line.ours:.4g}",
            "tolerance": f"{line.tolerance:g}",
            "verdict": line.verdict,
            "note": line.note,
        }
        for line in lines
    ]


def _contrast(rows: Sequence[Row], difference: Row) -> dict[str, str]:
    """A difference in points; each test is of one pair of seeds, "-" where it is not defined."""

    def tests(name: str, form: Callable[[float], str]) -> str:
        return " ".join("-" if row[name] is None else form(row[name]) for row in rows)

    return {
        "accuracy %": points(difference["mean"]),
        "low": points(difference["low"]),
        "high": points(difference["high"]),
        "by seed": " ".join(points(row["difference"]) for row in rows),
        "z": tests("z", "{:.2f}".format),
        "p of z": tests("z_p", p_value),
        "McNemar p": tests("mcnemar_p", p_value),
    }


def _known(rows: Sequence[Row], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))
