"""Statistics of classification: intervals, tests, scores by class."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Codes = npt.NDArray[np.int64]


class ZTest(NamedTuple):
    """Two shares compared: `difference` is a - b, with a 95 % interval."""

    z: float
    p: float
    difference: float
    low: float
    high: float


class ClassScore(NamedTuple):
    """Precision, recall and F1 of one class, as shares of 1; 0 where undefined."""

    precision: float
    recall: float
    f1: float
    support: int


def wilson(correct: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson, 1927).

    Raises:
        ValueError: n is 0, or correct is not between 0 and n.
    """
    interval = stats.binomtest(correct, n).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def two_proportion_z(correct_a: int, n_a: int, correct_b: int, n_b: int) -> ZTest:
    """The z-test of two independent shares: pooled z and two-sided p, unpooled interval.

    z = (a - b) / sqrt(q (1 - q) (1 / n_a + 1 / n_b)), q the share of both samples together.
    """
    a, b = correct_a / n_a, correct_b / n_b
    pooled = (correct_a + correct_b) / (n_a + n_b)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n_a + 1 / n_b))
    z = (a - b) / error if error else 0.0
    half = stats.norm.ppf(0.975) * math.sqrt(a * (1 - a) / n_a + b * (1 - b) / n_b)
    return ZTest(
        z, float(2 * stats.norm.sf(abs(z))), a - b, float(a - b - half), float(a - b + half)
    )


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """McNemar's exact two-sided p from the discordant pairs; 1 where there are none."""
    discordant = only_a + only_b
    return float(stats.binomtest(only_a, discordant).pvalue) if discordant else 1.0


def confusion(true: Codes, predicted: Codes, classes: int) -> Codes:
    """Counts [classes, classes + 1] of true by predicted class; the last column is -1, no label."""
    counts = np.zeros((classes, classes + 1), np.int64)
    np.add.at(counts, (true, np.where(predicted < 0, classes, predicted)), 1)
    return counts


def class_scores(true: Codes, predicted: Codes, classes: int) -> list[ClassScore]:
    """Scores of each class; a prediction of -1 (no valid label) is a miss for the true class."""
    counts = confusion(true, predicted, classes)
    hits = counts.diagonal()
    given, support = counts[:, :classes].sum(0), counts.sum(1)
    return [
        ClassScore(
            int(hit) / int(said) if said else 0.0,
            int(hit) / int(there) if there else 0.0,
            2 * int(hit) / int(said + there) if said + there else 0.0,
            int(there),
        )
        for hit, said, there in zip(hits, given, support, strict=True)
    ]


def macro_f1(scores: list[ClassScore]) -> float:
    """The plain mean of the classes' F1."""
    return sum(score.f1 for score in scores) / len(scores)


def weighted_f1(scores: list[ClassScore]) -> float:
    """The mean of the classes' F1, weighted by their support."""
    total = sum(score.support for score in scores)
    return sum(score.f1 * score.support for score in scores) / total
