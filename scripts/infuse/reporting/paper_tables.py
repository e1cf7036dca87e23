"""Tables 1-5 of arXiv 2507.00214 and those of our arms, as rows of text ready to print.

Shares are in percent. Means are over seeds; an interval is Wilson's for that mean over the n test
texts (95 %), so it covers the choice of texts and not of seeds.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from infuse.core.files import write_text
from infuse.core.render import html, markdown
from infuse.data.answers import OUTCOMES
from infuse.data.linear_text import linear_model
from infuse.data.targets import roles
from infuse.evaluation import stats
from infuse.evaluation.fidelity import Line
from infuse.evaluation.scores import CLASSIFIERS, COMPARISONS, Row

Table = list[dict[str, str]]
NOT_RUN = "not run"
MARGIN = 0.05  # of accuracy: what counts as no difference, in a control
MODELS = {"zero-shot": "zero-shot API model"}  # what tables call a part; others go by its name
KINDS = (
    "right, good reasoning",
    "right, flawed reasoning",
    "wrong, plausible reasoning",
    "wrong, flawed reasoning",
)


def percent(share: float) -> str:
    """A share in percent with two decimals."""
    return f"{100 * share:.2f}"


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
    for kind, found in cases.items():
        line = {"kind": kind, "rows": str(len(found))}
        if found:
            *_, argued, row = min(found, key=lambda case: case[:2])
            line |= {
                "text": row["text"],
                "true label": row["label"],
                "predicted": row["predicted"],
                "reasoning": row["reasoning"],
                "argues for": argued,
            }
        table.append(line)
    return table


def table3(arms: Mapping[str, Row], classifiers: Sequence[Row], contrasts: Sequence[Row]) -> Table:
    """Accuracy of the paper's models and of the control, and what the reasoning adds."""
    parts = roles(arms)
    table = [
        {"model": MODELS.get(part, part)}
        | (_arm(arm, classifiers) if arm else {"accuracy %": NOT_RUN})
        for part, arm in parts.items()
    ]
    for part, arm in parts.items():
        if part == "Q->RA" or (part == "zero-shot" and arm is None):
            continue
        rows = [row for row in contrasts if row["against"] == arm]
        line = {"model": f"Q->RA minus {MODELS.get(part, part)}"}
        table.append(line | (_contrast(rows) if rows else {"accuracy %": NOT_RUN}))
    return table


def table4(arms: Mapping[str, Row], classes: Sequence[Row], labels: Sequence[str]) -> Table:
    """Recall, precision and F1 of each label; the paper's table 4 holds recalls."""
    table = []
    for label in labels:
        line = {"label": label}
        for part, arm in roles(arms).items():
            rows = [row for row in classes if row["arm"] == arm and row["label"] == label]
            for score in ("recall", "precision", "f1"):
                line |= {"n": str(rows[0]["support"])} if rows else {}
                line[f"{MODELS.get(part, part)} {score} %"] = (
                    percent(_mean(rows, score)) if rows else NOT_RUN
                )
        table.append(line)
    return table


def table5(arms: Mapping[str, Row], classifiers: Sequence[Row]) -> Table:
    """Macro and weighted F1, as shares of 1."""
    table = []
    for part, arm in roles(arms).items():
        rows = [row for row in classifiers if row["arm"] == arm]
        table.append(
            {"model": MODELS.get(part, part)}
            | {
                f"{kind} F1": f"{_mean(rows, f'{kind}_f1'):.4f}" if rows else NOT_RUN
                for kind in ("macro", "weighted")
            }
        )
    return table


def all_arms(
    arms: Mapping[str, Row], classifiers: Sequence[Row], baselines: Sequence[Row]
) -> Table:
    """Every arm, with what it was given beside what it reached; two floors first."""
    table = []
    for row in baselines:
        table.append(
            {
                "arm": row["baseline"], "accuracy %": percent(row["accuracy"]),
                "low": percent(row["low"]), "high": percent(row["high"]), "n": str(row["n"]),
                "macro f1": f"{row['macro_f1']:.4f}",
                **{
                    name.replace("_", " "): f"{row[name]:.4f}"
                    for name in ("mae", "quadratic_kappa")
                    if row[name] is not None
                },
            }
        )  # fmt: skip
    formats: dict[str, Callable[[float], str]] = {
        "mae": "{:.4f}".format,
        "expected_mae": "{:.4f}".format,
        "quadratic_kappa": "{:.4f}".format,
        "macro_f1": "{:.4f}".format,
        "weighted_f1": "{:.4f}".format,
        "closed_set_nll": "{:.4f}".format,
        "closed_set_brier": "{:.4f}".format,
        "closed_set_ece": "{:.4f}".format,
        "documents": "{:.0f}".format,
        "sum_of_learning_rates": "{:.4g}".format,
        "tokens": "{:.0f}".format,
        "supervised_tokens": "{:.0f}".format,
        "label_share_of_loss": percent,
    }
    for arm in arms:
        rows = [row for row in classifiers if row["arm"] == arm]
        line = {"arm": arm, **_arm(arm, classifiers)}
        told = {name: f for name, f in formats.items() if rows[0][name] is not None}
        line |= {name.replace("_", " "): f(_mean(rows, name)) for name, f in told.items()}
        if rows[0]["teacher_accuracy"] is not None:
            line["teacher %"] = percent(_mean(rows, "teacher_accuracy"))
        table.append(line)
    return table


class Point(NamedTuple):
    """The numbers of one regime: rows of `CLASSIFIERS` and of `COMPARISONS`."""

    kind: str
    value: float
    classifiers: Sequence[Row]
    comparisons: Sequence[Row]


OF_A_POINT = (("classifiers", CLASSIFIERS), ("comparisons", COMPARISONS))


def comparisons(rows: Sequence[Row]) -> Table:
    """What each arm has over another, in points; the first row is the primary comparison."""
    return [
        {
            "arm": row["arm"],
            "against": row["against"],
            "measure": row["measure"],
            **_difference(row),
            "Holm p": f"{row['holm_p']:.2g}",
            "seeds": str(row["seeds"]),
            "n": str(row["n"]),
            "bootstrap low": _points(row["bootstrap_low"]),
            "bootstrap high": _points(row["bootstrap_high"]),
            "discordant %": percent(row["discordant"]),
            "detectable": "" if row["detectable"] is None else percent(row["detectable"]),
        }
        for row in rows
    ]


def regimes(points: Sequence[Point]) -> Table:
    """The compared arms in each regime, and what the first has over the second."""
    table = []
    arms = dict.fromkeys(row["arm"] for row in points[-1].classifiers)
    for point in points:
        where = {"regime": point.kind or "none", "share": f"{point.value:g}" if point.kind else ""}
        primary = [row for row in point.comparisons if row["measure"] == "accuracy"][:1]
        for arm in arms:
            told = _arm(arm, point.classifiers)
            parts = ("accuracy %", "low", "high", "by seed", "closed set %", "steps")
            line = where | {"arm": arm} | {part: told[part] for part in parts}
            for row in primary:
                if row["arm"] == arm:
                    told = _difference(row)
                    interval = f"{told['low']} to {told['high']}"
                    line |= {"against": row["against"], "difference": told["difference"]}
                    line |= {"95 %": interval, "p": told["p"]}
            table.append(line)
    return table


def controls(found: Sequence[tuple[str, str, Sequence[Row]]]) -> Table:
    """Experiments whose result is known: what was expected, and what came.

    A gain must be larger than chance explains (5 %). Where there is none, the whole 95 % interval
    must lie within `MARGIN` of zero: a comparison that can't tell shows nothing.

    Args:
        found: name, `gain` or `none`, and rows of `COMPARISONS`.
    """
    table = []
    for name, expected, rows in found:
        primary = next(row for row in rows if row["measure"] == "accuracy")
        low, high = primary["low"], primary["high"]
        found_so = low > 0 if expected == "gain" else max(-low, high) < MARGIN
        table.append(
            {
                "control": name, "arm": primary["arm"], "against": primary["against"],
                "expected": expected, **_difference(primary),
                "as expected": "yes" if found_so else "no",
            }
        )  # fmt: skip
    return table or [{"control": NOT_RUN}]


def _difference(row: Row) -> dict[str, str]:
    return {
        "difference": _points(row["difference"]), "low": _points(row["low"]),
        "high": _points(row["high"]), "p": f"{row['p']:.2g}",
    }  # fmt: skip


def _points(share: float) -> str:
    return f"{100 * share:+.2f}"


def plain(rows: Sequence[Row]) -> Table:
    """Rows of numbers as they are, fractions with four digits; nothing where there is none."""
    return [
        {
            name.replace("_", " "): f"{value:.4f}" if isinstance(value, float) else str(value)
            for name, value in row.items()
            if value is not None
        }
        for row in rows
    ]


def write(path: Path, table: Table) -> None:
    """Write a table as .csv, .md and .html."""
    columns = list(dict.fromkeys(name for line in table for name in line))
    cells = [[line.get(name, "") for name in columns] for line in table]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *cells])
    write_text(path.with_suffix(".csv"), text.getvalue())
    write_text(path.with_suffix(".md"), markdown(columns, cells))
    write_text(path.with_suffix(".html"), html(columns, cells))


def quantities(
    arms: Mapping[str, Row], test: Sequence[Row], classifiers: Sequence[Row], classes: Sequence[Row]
) -> dict[str, float]:
    """Our numbers under the names and in the units of `fidelity.published`."""
    counts = Counter(row["label"] for row in test)
    ours: dict[str, float] = {f"table 1, {label}, rows": n for label, n in counts.items()}
    accuracy = {}
    for part, arm in roles(arms).items():
        if arm is None:
            continue
        rows = [row for row in classifiers if row["arm"] == arm]
        accuracy[part] = 100 * _mean(rows, "accuracy")
        ours[f"table 3, {part}, accuracy %"] = accuracy[part]
        for label in counts:
            recalls = [row for row in classes if row["arm"] == arm and row["label"] == label]
            ours[f"table 4, {part}, {label}, recall %"] = 100 * _mean(recalls, "recall")
        for kind in ("macro", "weighted"):
            ours[f"table 5, {part}, {kind} F1"] = _mean(rows, f"{kind}_f1")
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


def _arm(arm: str, classifiers: Sequence[Row]) -> dict[str, str]:
    """Accuracy, its interval and its sources, for one arm."""
    rows = [row for row in classifiers if row["arm"] == arm]
    n = rows[0]["n"]
    if rows[0]["clusters"] is None:
        low, high = stats.wilson(round(_mean(rows, "right")), n)
    else:
        low, high = _mean(rows, "low"), _mean(rows, "high")
    return {
        "accuracy %": percent(_mean(rows, "accuracy")),
        "low": percent(low),
        "high": percent(high),
        "by seed": " ".join(percent(row["accuracy"]) for row in rows),
        "n": str(n),
        "steps": " ".join(dict.fromkeys(str(row["steps"] or "") for row in rows)),
        **{outcome.replace("_", " "): f"{_mean(rows, outcome):g}" for outcome in OUTCOMES},
        "closed set %": "" if rows[0]["closed_set_accuracy"] is None
        else percent(_mean(rows, "closed_set_accuracy")),
    }  # fmt: skip


def _contrast(rows: Sequence[Row]) -> dict[str, str]:
    """A difference in points; each test is of one pair of seeds."""
    return {
        "accuracy %": f"{100 * _mean(rows, 'difference'):+.2f}",
        "low": f"{100 * _mean(rows, 'low'):+.2f}",
        "high": f"{100 * _mean(rows, 'high'):+.2f}",
        "by seed": " ".join(f"{100 * row['difference']:+.2f}" for row in rows),
        "z": " ".join(f"{row['z']:.2f}" for row in rows),
        "p of z": " ".join(f"{row['z_p']:.2g}" for row in rows),
        "McNemar p": " ".join(f"{row['mcnemar_p']:.2g}" for row in rows),
    }


def _mean(rows: Sequence[Row], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))
