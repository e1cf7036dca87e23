"""How answers of several seeds stand to each other: accuracies, pairs of classifiers, of arms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from infuse.evaluation import stats
from infuse.evaluation.scores import Row, clusters_of

Runs = Mapping[tuple[str, int], Sequence[Row]]  # (arm, seed) -> answers to the same texts
BOOTSTRAPS = 4000

MEANS = pa.schema(
    [
        ("arm", pa.string()),
        ("against", pa.string()),  # "": the arm's own accuracy
        ("seeds", pa.int64()),
        ("n", pa.int64()),
        ("mean", pa.float64()),
        ("low", pa.float64()),  # 95 %, over texts and seeds (`stats.share`, `stats.gain`)
        ("high", pa.float64()),
    ]
)
CONTRASTS = pa.schema(
    [
        ("arm", pa.string()),
        ("against", pa.string()),
        ("seed", pa.int64()),
        ("difference", pa.float64()),
        ("z", pa.float64()),  # empty where all answers are right, or all wrong
        ("z_p", pa.float64()),
        ("only_arm_right", pa.int64()),
        ("only_against_right", pa.int64()),
        ("mcnemar_p", pa.float64()),
    ]
)
COMPARISONS = pa.schema(
    [
        ("arm", pa.string()),
        ("against", pa.string()),
        ("measure", pa.string()),  # of `MEASURES`
        ("seeds", pa.int64()),
        ("n", pa.int64()),
        ("difference", pa.float64()),
        ("low", pa.float64()),  # 95 %, over texts and seeds (`stats.gain`)
        ("high", pa.float64()),
        ("df", pa.float64()),  # empty of a single text or cluster
        ("p", pa.float64()),
        ("holm_p", pa.float64()),  # over the comparisons of this measure
        ("bootstrap_low", pa.float64()),  # empty where all draws are alike
        ("bootstrap_high", pa.float64()),
        ("discordant", pa.float64()),  # share of texts that one of a pair has right, mean of seeds
        # With one pair of seeds, by McNemar's test, 80 % of the time; empty where no difference is.
        ("detectable", pa.float64()),
    ]
)


def mean_rows(pairs: Sequence[Sequence[str]], written: Runs) -> list[Row]:
    """The accuracy of each arm, then what the first of each pair has over the second."""
    clusters = clusters_of(next(iter(written.values())))
    right = {
        arm: right_answers(arm, written, MEASURES["accuracy"])
        for arm in dict.fromkeys(arm for arm, _ in written)
    }
    rows = [(arm, "", answers, stats.share(answers, clusters)) for arm, answers in right.items()]
    for arm, other in pairs:
        differences = right[arm] - right[other]
        interval = stats.gain(differences, clusters)
        rows.append((arm, other, differences, (interval.low, interval.high)))
    return [
        {
            "arm": arm, "against": other, "seeds": len(values), "n": values.shape[1],
            "mean": float(values.mean()), "low": low, "high": high,
        }
        for arm, other, values, (low, high) in rows
    ]  # fmt: skip


def contrast_row(
    arm: str, against: str, seed: int, ours: Sequence[Row], theirs: Sequence[Row]
) -> Row:
    """One pair of classifiers on the same texts: the paper's z-test, and McNemar's beside it."""
    a = np.array([row["outcome"] == "right" for row in ours])
    b = np.array([row["outcome"] == "right" for row in theirs])
    z, p = stats.two_proportion_z(int(a.sum()), len(a), int(b.sum()), len(b))
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return {
        "arm": arm, "against": against, "seed": seed, "difference": float(a.mean() - b.mean()),
        "z": _number(z), "z_p": _number(p),
        "only_arm_right": only_a, "only_against_right": only_b,
        "mcnemar_p": stats.mcnemar_exact(only_a, only_b),
    }  # fmt: skip


MEASURES: dict[str, Callable[[Row], bool]] = {
    "accuracy": lambda row: row["outcome"] == "right",
    "closed set accuracy": lambda row: row.get("closed_set", row["predicted"]) == row["label"],
}


def comparison_rows(pairs: Sequence[Sequence[str]], written: Runs) -> list[Row]:
    """Each pair of arms by each measure that both have, over all seeds.

    An arm with one run meets all seeds of the other.
    """
    clusters = clusters_of(next(iter(written.values())))
    rows = []
    for measure, right in MEASURES.items():
        family = [
            _comparison(arm, other, ours - theirs, clusters)
            for arm, other in pairs
            if measured(arm, measure, written) and measured(other, measure, written)
            for ours, theirs in [[right_answers(name, written, right) for name in (arm, other)]]
        ]
        adjusted = stats.holm([row["p"] for row in family])
        rows += [
            row | {"measure": measure, "holm_p": p} for row, p in zip(family, adjusted, strict=True)
        ]
    return rows


def measured(arm: str, measure: str, written: Runs) -> bool:
    """Whether an arm has this measure: no closed set where a text was too long to be asked."""
    return measure == "accuracy" or not any(
        row["outcome"] == "too_long"
        for (name, _), rows in written.items()
        if name == arm
        for row in rows
    )


def right_answers(arm: str, written: Runs, right: Callable[[Row], bool]) -> stats.Values:
    """1 where an answer is right, else 0: [seeds, texts]."""
    return np.array(
        [[right(row) for row in rows] for (name, _), rows in written.items() if name == arm], float
    )


def _comparison(arm: str, other: str, differences: stats.Values, clusters: Sequence[str]) -> Row:
    interval = stats.gain(differences, clusters)
    drawn = stats.clustered(differences, clusters)
    bounds = stats.two_way_bootstrap(drawn, BOOTSTRAPS, seed=0) or (None, None)
    discordant = float((differences != 0).mean())
    seeds, n = differences.shape
    alone = len(set(clusters)) == n  # McNemar's test takes texts for independent
    return {
        "arm": arm, "against": other, "seeds": seeds, "n": n, "difference": interval.mean,
        "low": interval.low, "high": interval.high, "df": _number(interval.df), "p": interval.p,
        "bootstrap_low": bounds[0], "bootstrap_high": bounds[1], "discordant": discordant,
        "detectable": stats.detectable(discordant, n) if alone else None,
    }  # fmt: skip


def _number(value: float) -> float | None:
    """A number; None in place of nan."""
    return None if math.isnan(value) else value
