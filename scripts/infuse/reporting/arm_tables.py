"""Tables of all arms: what they reach, how they compare, in which regimes, what they learned from,
and the controls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from infuse.evaluation.reasoning_sources import Worth
from infuse.evaluation.scores import Row
from infuse.reporting.cells import (
    FOUR,
    NOT_RUN,
    Table,
    accuracy_of,
    formatted,
    mean,
    p_value,
    percent,
    points,
)

MARGIN = 0.05  # of accuracy: what counts as no difference, in a control


def all_arms(
    arms: Iterable[str],
    classifiers: Sequence[Row],
    means: Sequence[Row],
    baselines: Sequence[Row],
) -> Table:
    """Every arm, with what it was given beside what it reached; two floors first."""
    table = []
    for row in baselines:
        table.append(
            {
                "arm": row["baseline"], "accuracy %": percent(row["accuracy"]),
                "low": percent(row["low"]), "high": percent(row["high"]), "n": str(row["n"]),
                **{
                    name.replace("_", " "): formatted(row[name], FOUR)
                    for name in ("macro_f1", "mae", "quadratic_kappa")
                },
            }
        )  # fmt: skip
    formats: dict[str, Callable[[float], str]] = {
        "mae": FOUR,
        "expected_mae": FOUR,
        "quadratic_kappa": FOUR,
        "macro_f1": FOUR,
        "weighted_f1": FOUR,
        "closed_set_nll": FOUR,
        "closed_set_brier": FOUR,
        "closed_set_ece": FOUR,
        "documents": "{:.0f}".format,
        "sum_of_learning_rates": "{:.4g}".format,
        "tokens": "{:.0f}".format,
        "supervised_tokens": "{:.0f}".format,
        "label_share_of_loss": percent,
    }
    for arm in arms:
        rows = [row for row in classifiers if row["arm"] == arm]
        line = {"arm": arm, **accuracy_of(arm, classifiers, means)}
        line |= {
            name.replace("_", " "): formatted(mean(rows, name), form)
            for name, form in formats.items()
        }
        table.append(line | {"teacher %": formatted(mean(rows, "teacher_accuracy"), percent)})
    columns = {name for line in table for name, cell in line.items() if cell}
    return [{name: cell for name, cell in line.items() if name in columns} for line in table]


class Point(NamedTuple):
    """The numbers of one regime: rows of `CLASSIFIERS`, `MEANS` and `COMPARISONS`."""

    kind: str
    value: float
    classifiers: Sequence[Row]
    means: Sequence[Row]
    comparisons: Sequence[Row]


def comparisons(rows: Sequence[Row]) -> Table:
    """What each arm has over another, in points; the first row is the primary comparison."""
    return [
        {
            "arm": row["arm"],
            "against": row["against"],
            "measure": row["measure"],
            **_difference(row),
            "Holm p": p_value(row["holm_p"]),
            "seeds": str(row["seeds"]),
            "n": str(row["n"]),
            "bootstrap low": formatted(row["bootstrap_low"], points),
            "bootstrap high": formatted(row["bootstrap_high"], points),
            "discordant %": percent(row["discordant"]),
            "detectable": formatted(row["detectable"], percent),
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
            reached = accuracy_of(arm, point.classifiers, point.means)
            parts = ("accuracy %", "low", "high", "by seed", "closed set %", "steps")
            line = where | {"arm": arm} | {part: reached[part] for part in parts}
            for row in primary:
                if row["arm"] == arm:
                    more = _difference(row)
                    interval = f"{more['low']} to {more['high']}"
                    line |= {"against": row["against"], "difference": more["difference"]}
                    line |= {"95 %": interval, "p": more["p"]}
            table.append(line)
    return table


def controls(results: Sequence[tuple[str, str, Sequence[Row]]]) -> Table:
    """Experiments whose result is known: what was expected, and what came.

    A gain must be larger than chance explains (5 %). Where there is none, the whole 95 % interval
    must lie within `MARGIN` of zero: a comparison that can't tell shows nothing.

    Args:
        results: name, `gain` or `none`, and rows of `COMPARISONS`.
    """
    table = []
    for name, expected, rows in results:
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


def sources(worths: Mapping[str, tuple[str, Worth]]) -> Table:
    """What each source of reasonings wrote for the training texts.

    Args:
        worths: kind and worth of each source.
    """
    table = [
        {
            "source": name, "kind": kind, "reasonings": str(worth.judged),
            "tokens": f"{worth.tokens:.1f}",
            "ended %": percent(worth.ended),
            "distinct %": percent(worth.distinct),
            "nearest to own text %": percent(worth.about_text),
            "names its label %": percent(worth.own_label),
            "names another %": percent(worth.other_label),
            "label read from it %": formatted(worth.read, percent),
            "label read from text %": formatted(worth.text_read, percent),
        }
        for name, (kind, worth) in worths.items()
    ]  # fmt: skip
    return table or [{"source": NOT_RUN}]


def _difference(row: Row) -> dict[str, str]:
    return {
        "difference": points(row["difference"]), "low": points(row["low"]),
        "high": points(row["high"]), "p": p_value(row["p"]),
    }  # fmt: skip
