"""Tables of a task with a scale: what arms reach in each setting, on parts that training has not
seen, and how ratings are spread.

A setting is a source and a dimension. Shares are in percent, errors in points of the scale; means
are over seeds, intervals (95 %) over seeds and clusters of texts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from infuse.config.arms import AnyArm, plain_label
from infuse.data.scales import ALL
from infuse.evaluation import scores as ev
from infuse.evaluation import stats
from infuse.evaluation.comparisons import MEASURES, Runs, measured, right_answers
from infuse.evaluation.judge_replies import OUTCOMES
from infuse.reporting.cells import FOUR, Table, formatted, mean, p_value, percent

Row = dict[str, Any]
Setting = tuple[str, str]  # source and dimension
Part = tuple[str | None, str | None]  # of the settings; None: all
FLOOR = "majority label"


def settings(rows: Sequence[Row]) -> list[Setting]:
    """The settings of texts, in the order of their names."""
    return sorted({(row["source"], row["dimension"]) for row in rows})


def floors(train: Sequence[Row], test: Sequence[Row]) -> dict[Setting, float | None]:
    """The accuracy in each setting of its most frequent training label, as a share of 1; None where
    no training text is of it.
    """
    accuracies = {}
    for setting in settings(test):
        most = _most_frequent(row for row in train if _of(row, setting))
        right = [row["label"] == most for row in test if _of(row, setting)]
        accuracies[setting] = None if most is None else float(np.mean(right))
    return accuracies


def reached(written: Runs) -> dict[str, dict[Setting, float]]:
    """The accuracy of each arm in each setting, mean over seeds, as a share of 1."""
    test = next(iter(written.values()))
    inside = {setting: [_of(row, setting) for row in test] for setting in settings(test)}
    return {
        name: {setting: float(right[:, rows].mean()) for setting, rows in inside.items()}
        for name in dict.fromkeys(arm for arm, _ in written)
        for right in [right_answers(name, written, MEASURES["accuracy"])]
    }


def quality(train: Sequence[Row], written: Runs, arms: Mapping[str, AnyArm]) -> Table:
    """Accuracy of each arm in each setting; then how many settings it wins against the label alone.

    The last lines are the sign test's two-sided p over settings, ties left out, and Holm's
    correction of it over the arms.
    """
    test = next(iter(written.values()))
    shares = reached(written)
    table: Table = []
    for setting, floor in floors(train, test).items():
        line = dict(zip(("source", "dimension"), setting, strict=True))
        line |= {"n": str(sum(_of(row, setting) for row in test))}
        line[f"{FLOOR} %"] = formatted(floor, percent)
        table.append(line | {f"{name} %": percent(at[setting]) for name, at in shares.items()})
    gaps = {
        name: np.array([share - shares[other][setting] for setting, share in at.items()])
        for name, at in shares.items()
        if (other := plain_label(arms, name)) in shares
    }
    p = [stats.sign_test(int((g > 0).sum()), int((g < 0).sum())) for g in gaps.values()]
    last: dict[str, Iterable[str]] = {
        "against": (str(plain_label(arms, name)) for name in gaps),
        "settings won": (f"{(gap > 0).sum()} of {len(gap)}" for gap in gaps.values()),
        "settings lost": (f"{(gap < 0).sum()} of {len(gap)}" for gap in gaps.values()),
        "sign test p": map(p_value, p),
        "Holm p": map(p_value, stats.holm(p)),
    }
    for what, cells in last.items():
        named = zip(gaps, cells, strict=True)
        table.append({"source": what} | {f"{name} %": cell for name, cell in named})
    return table


def every_setting(
    train: Sequence[Row], written: Runs, arms: Mapping[str, AnyArm], labels: Sequence[str]
) -> Table:
    """Every arm in every setting, in each dimension over its sources, and over all, where these are
    several; first the most frequent label of the training rows there.
    """
    test = next(iter(written.values()))
    parts: list[Part] = [(None, None)]
    sources = Counter(dimension for _, dimension in settings(test))
    parts += [(None, name) for name in sorted(sources) if 1 < sources[name] < sources.total()]
    parts += settings(test) if sources.total() > 1 else []
    table = []
    for part in parts:
        inside = [place for place, row in enumerate(test) if _of(row, part)]
        runs = {run: [rows[place] for place in inside] for run, rows in written.items()}
        line = dict(zip(("source", "dimension"), (name or ALL for name in part), strict=True))
        table.append(line | _floor([row for row in train if _of(row, part)], runs, labels))
        for name in dict.fromkeys(arm for arm, _ in written):
            table.append(line | _measured(name, plain_label(arms, name), runs, labels))
    return table


class HeldOut(NamedTuple):
    """A part of the texts that was held out.

    Attributes:
        train: the rows that were left to learn from.
        runs: the answers to the part by models that learned from those.
        on_everything: by models that learned from everything; None where they learned from the
            part itself.
    """

    train: Sequence[Row]
    runs: Runs
    on_everything: Runs | None


def transfer(
    parts: Mapping[str, HeldOut], arms: Mapping[str, AnyArm], labels: Sequence[str]
) -> Table:
    """Arms on a part of the texts that their training has not seen, and on all parts together."""
    table = []
    pooled: dict[tuple[str, int], list[Row]] = {}
    for name, part in parts.items():
        table.append({"held out": name} | _floor(part.train, part.runs, labels))
        for run, rows in part.runs.items():
            pooled.setdefault(run, []).extend(rows)
        for arm, other in _held_against(arms, part.runs).items():
            line = {"held out": name} | _measured(arm, other, part.runs, labels)
            if part.on_everything is not None:
                right = right_answers(arm, part.on_everything, MEASURES["accuracy"])
                line["accuracy % where it was seen"] = percent(float(right.mean()))
            table.append(line)
    for arm, other in _held_against(arms, pooled).items() if len(parts) > 1 else ():
        table.append({"held out": "all parts"} | _measured(arm, other, pooled, labels))
    return table


def _held_against(arms: Mapping[str, AnyArm], runs: Runs) -> dict[str, str | None]:
    """Each arm that has runs, and the label-only arm among these that it is held against."""
    ran = dict.fromkeys(arm for arm, _ in runs)
    own = {name: arm for name, arm in arms.items() if name in ran}
    return {name: plain_label(own, name) for name in ran}


def spread(splits: Mapping[str, Sequence[Row]], labels: Sequence[str]) -> Table:
    """How often each label stands in each setting and split, in percent."""
    table = []
    every = [row for rows in splits.values() for row in rows]
    for setting in settings(every):
        for split, rows in splits.items():
            inside = [row for row in rows if _of(row, setting)]
            counts = Counter(row["label"] for row in inside)
            line = dict(zip(("source", "dimension"), setting, strict=True))
            line |= {"split": split, "rows": str(len(inside))}
            line["clusters"] = str(len({row["cluster"] for row in inside}))
            if inside:
                line["mean rating"] = f"{np.mean([row['rating'] for row in inside]):.3f}"
                line |= {f"{label} %": percent(counts[label] / len(inside)) for label in labels}
            table.append(line)
    return table


def judge_totals(judges: Sequence[Row], spent: Mapping[str, Row]) -> Table:
    """A line for each judge over all styles and dimensions: how its replies ended, and their cost;
    and one for whoever else was asked.

    Args:
        judges: in the schema `JUDGES`.
        spent: of each who was asked, tokens and cost as `endpoint.usage` tells them.
    """
    table = []
    for judge in dict.fromkeys([*(row["judge"] for row in judges), *spent]):
        rows = [row for row in judges if row["judge"] == judge]
        line = {"judge": judge, "style": ALL, "dimension": ALL}
        if rows:
            line |= {part: str(sum(row[part] for row in rows)) for part in ("n", *OUTCOMES)}
        own = spent.get(judge, {})
        for part in ("prompt_tokens", "completion_tokens", "without_usage"):
            line[part.replace("_", " ")] = formatted(own.get(part), "{:.0f}".format)
        line["cost"] = formatted(own.get("cost"), "{:g}".format)
        table.append(line)
    return table


def _of(row: Row, part: Part) -> bool:
    return all(
        wanted in (None, row[name])
        for name, wanted in zip(("source", "dimension"), part, strict=True)
    )


def _most_frequent(rows: Iterable[Row]) -> str | None:
    counts = Counter(row["label"] for row in rows)
    return counts.most_common(1)[0][0] if counts else None


def _floor(train: Sequence[Row], runs: Runs, labels: Sequence[str]) -> dict[str, str]:
    """What the most frequent label of training rows reaches."""
    test = next(iter(runs.values()))
    clusters = ev.clusters_of(test)
    line = {"arm": FLOOR, "n": str(len(test)), "clusters": str(len(set(clusters)))}
    most = _most_frequent(train)
    if most is None:
        return line
    said = [
        {part: row[part] for part in ("label", "rating", "cluster")} | {"predicted": most}
        for row in test
    ]
    right = np.array([[row["label"] == most for row in said]], float)
    return line | _share("accuracy %", right, clusters) | {
        "macro F1": FOUR(ev.f1(said, "macro")),
        "MAE": FOUR(ev.rating_errors(said, labels)["mae"]),
    }  # fmt: skip


def _measured(name: str, other: str | None, runs: Runs, labels: Sequence[str]) -> dict[str, str]:
    """What an arm reaches on texts, and what it has over another."""
    rows = [rows for (arm, _), rows in runs.items() if arm == name]
    clusters = ev.clusters_of(rows[0])
    right = right_answers(name, runs, MEASURES["accuracy"])
    errors = [ev.rating_errors(answers, labels) for answers in rows]
    rated = all("mae" in each for each in errors)
    line = {"arm": name, "n": str(len(clusters)), "clusters": str(len(set(clusters)))}
    line |= _share("accuracy %", right, clusters)
    if measured(name, "closed set accuracy", runs):
        closed = right_answers(name, runs, MEASURES["closed set accuracy"])
        line["closed set %"] = percent(float(closed.mean()))
    line["macro F1"] = FOUR(float(np.mean([ev.f1(answers, "macro") for answers in rows])))
    if rated:
        line |= _interval("MAE", _errors(name, runs), clusters)
        line["MAE of the expected rating"] = formatted(mean(errors, "expected_mae"), FOUR)
        line["quadratic kappa"] = formatted(mean(errors, "quadratic_kappa"), FOUR)
    theirs = [ev.rating_errors(rows, labels) for (arm, _), rows in runs.items() if arm == other]
    if other is not None and theirs:
        more = stats.gain(right - right_answers(other, runs, MEASURES["accuracy"]), clusters)
        line["against"] = other
        line |= _cells("accuracy, points more", "{:+.2f}", *(100 * end for end in more[:3]))
        line["accuracy, points more, p"] = p_value(more.p)
        if rated and all("mae" in each for each in theirs):
            worse = _errors(name, runs) - _errors(other, runs)
            line |= _interval("MAE, more", worse, clusters, signed=True)
    return line


def _errors(name: str, runs: Runs) -> stats.Values:
    return np.stack([ev.absolute_errors(rows) for (arm, _), rows in runs.items() if arm == name])


def _share(name: str, right: stats.Values, clusters: Sequence[str]) -> dict[str, str]:
    """A share of right answers over seeds and texts, with its interval."""
    ends = (float(right.mean()), *stats.share(right, clusters))
    return _cells(name, "{:.2f}", *(100 * end for end in ends))


def _interval(
    name: str, values: stats.Values, clusters: Sequence[str], signed: bool = False
) -> dict[str, str]:
    """A mean over seeds and texts with its interval; with its p, if zero would mean nothing."""
    interval = (stats.mean_difference if signed else stats.non_negative_mean)(values, clusters)
    line = _cells(name, "{:+.4f}" if signed else "{:.4f}", *interval[:3])
    if signed and not math.isnan(interval.p):
        line[f"{name}, p"] = p_value(interval.p)
    return line


def _cells(name: str, form: str, middle: float, low: float, high: float) -> dict[str, str]:
    """A mean and its interval, where there is one."""
    line = {name: form.format(middle)}
    if not math.isnan(low):
        line[f"{name}, 95 %"] = f"{form.format(low)} to {form.format(high)}"
    return line
