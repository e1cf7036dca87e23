"""Our numbers held against the published ones, and the published ones against each other.

A published number is judged only where what it depends on is the paper's; otherwise the verdict is
"not comparable" and names what differs. The paper's own arithmetic is always judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from infuse.evaluation import stats

PUBLISHED: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("published.yaml").read_text(encoding="utf-8")
)


class Line(NamedTuple):
    """One comparison.

    Attributes:
        ours: our number, what was computed from the paper's own, or None where nothing was run.
        tolerance: the largest difference that still agrees.
        verdict: agrees, differs, not comparable, or not run.
    """

    quantity: str
    published: float
    ours: float | None
    tolerance: float
    verdict: str
    note: str


def fidelity(ours: Mapping[str, float | None], setting: Mapping[str, str]) -> list[Line]:
    """The whole table: published numbers in the order of the paper, then its arithmetic.

    Args:
        ours: quantity -> our number, in the paper's unit; the quantities are those of `published`.
        setting: zero_shot_model, base_model, task_data, triples_data, recipe: what produced ours.
    """
    return [
        *(
            _judged(quantity, value, ours.get(quantity), tolerance, setting, parts)
            for quantity, value, tolerance, parts in published()
        ),
        *arithmetic(),
    ]


def published() -> Iterator[tuple[str, float, float, tuple[str, ...]]]:
    """Quantity, value, tolerance, and the parts of the setting that it depends on.

    Counts must be equal. Accuracies and recalls agree within two points and F1 within 0.02, about
    two standard errors of one run on 2,000 texts.
    """
    trained = ("base_model", "task_data", "triples_data", "recipe")
    parts = {"zero-shot": ("zero_shot_model", "task_data")}
    for label, entry in PUBLISHED["table1"].items():
        yield f"table 1, {label}, rows", entry["rows"], 0.0, ("task_data",)
    for model, accuracy in PUBLISHED["table3"].items():
        yield f"table 3, {model}, accuracy %", accuracy, 2.0, parts.get(model, trained)
    yield "table 3, improvement, points", PUBLISHED["improvement"], 2.0, trained
    for model, recalls in PUBLISHED["table4"].items():
        for label, recall in recalls.items():
            yield f"table 4, {model}, {label}, recall %", recall, 2.0, parts.get(model, trained)
    for model, scores in PUBLISHED["table5"].items():
        for kind, score in scores.items():
            yield f"table 5, {model}, {kind} F1", score, 0.02, parts.get(model, trained)


def arithmetic() -> list[Line]:
    """What follows from the published numbers alone."""
    rows = {label: entry["rows"] for label, entry in PUBLISHED["table1"].items()}
    total = sum(rows.values())
    lines = [
        _checked(
            "table 1, sum of printed shares, %",
            100.0,
            sum(entry["percent"] for entry in PUBLISHED["table1"].values()),
            0.05 * len(rows),
            "six shares, each rounded to 0.1",
        )
    ]
    for model, recalls in PUBLISHED["table4"].items():
        accuracy = PUBLISHED["table3"][model]
        macro = 100 * PUBLISHED["table5"][model]["macro"]
        weighted = sum(recalls[label] * rows[label] for label in rows) / total
        lines += [
            _checked(
                f"accuracy from table 4, {model}, %",
                accuracy,
                weighted,
                0.1,
                "recalls weighted by class counts give the accuracy, each rounded to 0.1",
            ),
            _checked(
                f"macro F1 from table 4, {model}, %",
                macro,
                sum(recalls.values()) / len(recalls),
                0.055,
                "plain mean of the column: if it differs, table 4 does not hold F1",
            ),
        ]
    lines.append(_exact_recalls(rows))
    lines += list(_gains())
    right = {model: round(PUBLISHED["table3"][model] * total / 100) for model in ("Q->A", "Q->RA")}
    z, p = stats.two_proportion_z(right["Q->RA"], total, right["Q->A"], total)
    lines.append(_checked("z of Q->RA against Q->A", 5.52, z, 0.005, f"pooled; p = {p:.1e}"))
    return lines


def _exact_recalls(rows: Mapping[str, int]) -> Line:
    """The hits that Q->RA's recalls imply, if each is a whole number over the class count."""
    recalls = PUBLISHED["table4"]["Q->RA"]
    hits = {label: round(recalls[label] * count / 100) for label, count in rows.items()}
    whole = all(
        round(100 * hits[label] / count, 1) == recalls[label] for label, count in rows.items()
    )
    note = (
        "each recall is a whole number of hits" if whole else "a recall is no whole number of hits"
    )
    return _checked("hits from table 4, Q->RA", 1167, sum(hits.values()) if whole else 0, 0, note)


def _gains() -> Iterator[Line]:
    for name, gain in PUBLISHED["gains"].items():
        what, models = name.split(", ")
        better, worse = models.split(" over ")
        if what == "accuracy":
            computed = PUBLISHED["table3"][better] - PUBLISHED["table3"][worse]
        else:
            computed = PUBLISHED["table4"][better][what] - PUBLISHED["table4"][worse][what]
        yield _checked(f"gain in {name}, points", gain, computed, 0.05, "text against table")


def _judged(
    quantity: str,
    value: float,
    ours: float | None,
    tolerance: float,
    setting: Mapping[str, str],
    parts: Sequence[str],
) -> Line:
    paper = PUBLISHED["setting"]
    differs = [
        f"{part.replace('_', ' ')} is {setting[part]}, not {paper[part]}"
        for part in parts
        if setting[part] != paper[part]
    ]
    if ours is None:
        return Line(quantity, value, None, tolerance, "not run", "")
    if differs:
        return Line(quantity, value, ours, tolerance, "not comparable", "; ".join(differs))
    return _checked(quantity, value, ours, tolerance, "")


def _checked(quantity: str, value: float, ours: float, tolerance: float, note: str) -> Line:
    verdict = "agrees" if abs(ours - value) <= tolerance + 1e-9 else "differs"
    return Line(quantity, value, ours, tolerance, verdict, note)


def recipe_name(recipes: Mapping[str, Mapping[str, Any]]) -> str:
    """`paper` if both recipes have all the published values, else `our own`."""

    def flat(recipe: Mapping[str, Any]) -> dict[str, Any]:
        return {**recipe, **recipe["batching"], "tuning": recipe["tuning"]["kind"]}

    same = all(
        flat(recipes[stage]).get(name) == value
        for stage, recipe in PUBLISHED["recipes"].items()
        for name, value in recipe.items()
    )
    return str(PUBLISHED["setting"]["recipe"]) if same else "our own"


def task_data(splits: Iterable[Sequence[Mapping[str, str]]], source: str) -> str:
    """What the task's data are: known as the paper's by texts and labels, in their order, alone.

    Args:
        splits: train, validation and test split.
        source: where they come from, in the words of the setting.
    """
    lines = "".join(f"{row['text']}\t{row['label']}\n" for split in splits for row in split)
    paper = str(PUBLISHED["setting"]["task_data"])
    if hashlib.sha256(lines.encode()).hexdigest() == PUBLISHED["task_lines"]:
        return paper
    return f"other rows of {paper}" if source == paper else source
