"""Statistics of classification: intervals, tests, scores by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

Codes = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


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
    return sign_test(only_a, only_b)


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


def quadratic_kappa(true: Codes, predicted: Codes, classes: int) -> float:
    """Cohen's kappa with quadratic weights (Cohen, Psychological Bulletin 70, 1968).

    1 - sum w O / sum w E over pairs of classes, w the squared distance, O the counts, E what their
    margins alone would give; 1 where both have one class, the same.

    Args:
        true, predicted: int [items], in 0 .. classes - 1.
    """
    counts = confusion(true, predicted, classes)[:, :classes]
    places = np.arange(classes)
    weights = (places[:, None] - places) ** 2
    expected = float((weights * np.outer(counts.sum(1), counts.sum(0))).sum()) / counts.sum()
    return 1 - float((weights * counts).sum()) / expected if expected else 1.0


def sign_test(won: int, lost: int) -> float:
    """The exact two-sided p of the sign test; ties are left out; 1 where there is nothing else."""
    return float(stats.binomtest(won, won + lost).pvalue) if won + lost else 1.0


def macro_f1(scores: list[ClassScore]) -> float:
    """The plain mean of the classes' F1."""
    return sum(score.f1 for score in scores) / len(scores)


def weighted_f1(scores: list[ClassScore]) -> float:
    """The mean of the classes' F1, weighted by their support."""
    total = sum(score.support for score in scores)
    return sum(score.f1 * score.support for score in scores) / total


class Crossed(NamedTuple):
    """A mean over seeds and items that both were drawn: `low` to `high` is its 95 % interval."""

    mean: float
    low: float
    high: float
    p: float
    df: float


def crossed(values: Values) -> Crossed:
    """The t-test of a mean over two crossed random factors, seeds and items.

    With mean squares S (seeds), I (items) and R (the rest) of s seeds and n items, the mean has
    the variance (S + max(I - R, 0)) / (s n) on (S + max(I - R, 0))^2 / (S^2 / (s - 1)) degrees of
    freedom (Hillis, Statistics in Medicine 26, 2007, for readers and cases). S, which can't be
    expected below R, is not let below it: few seeds agree by chance too often to be believed. One
    seed: the t-test over items, which says nothing of other seeds.

    Args:
        values: float [seeds, items]; at least two items.
    """
    seeds, items = values.shape
    mean = float(values.mean())
    if seeds == 1:
        spread, df = float(values.var(ddof=1)), float(items - 1)
    else:
        by_seed, by_item = values.mean(1), values.mean(0)
        rest = values - by_seed[:, None] - by_item + mean
        of_seeds = items * float(by_seed.var(ddof=1))
        of_items = seeds * float(by_item.var(ddof=1))
        of_rest = float((rest**2).sum()) / ((seeds - 1) * (items - 1))
        of_seeds = max(of_seeds, of_rest)
        spread = of_seeds + max(of_items - of_rest, 0.0)
        df = (seeds - 1) * (spread / of_seeds) ** 2 if of_seeds else math.inf
    error = math.sqrt(spread / values.size)
    half = float(stats.t.ppf(0.975, df)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, df)) if error else float(mean == 0)
    return Crossed(mean, mean - half, mean + half, p, df)


def clustered(values: Values, clusters: Sequence[str]) -> Values:
    """Values of clusters of items, whose mean and its spread are those of the items' mean.

    The mean of n items in C clusters is a ratio of two sums that both were drawn; to first order it
    varies as the mean of z_c = m + C / n (sum of c - m size of c) does (Cochran, Sampling
    Techniques, 1977, chapter 9A), m the mean. Where every item is a cluster, they are the items.

    Args:
        values: float [seeds, items].
        clusters: of each item.

    Returns:
        float [seeds, clusters].
    """
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    sizes = np.bincount(codes)
    means = values.mean(1, keepdims=True)
    beyond = np.stack([np.bincount(codes, line) for line in values - means])
    return means + len(sizes) / len(codes) * beyond


def two_way_bootstrap(values: Values, draws: int, seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of the mean when seeds and items are both drawn anew.

    That is the pigeonhole bootstrap (Owen, Annals of Applied Statistics 1, 2007). Few seeds make
    it too narrow, as any bootstrap of few; `crossed` is not.

    Args:
        values: float [seeds, items].
    """
    generator = np.random.default_rng(seed)
    seeds, items = values.shape
    means = np.empty(draws)
    for at in range(0, draws, 200):
        size = min(200, draws - at)
        by_seed = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size) @ values
        by_item = generator.multinomial(items, np.full(items, 1 / items), size)
        means[at : at + size] = (by_seed * by_item).sum(1) / values.size
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values of a family, in their order (Holm, Scandinavian J. of Statistics 6, 1979).

    The i-th smallest of m becomes the largest of (m - j + 1) p_(j) for j up to i, at most 1.
    """
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * np.asarray(p)[order]), 1.0)
    return [float(value) for value in adjusted]


def detectable(discordant: float, n: int, power: float = 0.8) -> float:
    """The smallest difference of two paired shares that McNemar's test finds with that power.

    Of the two-sided test at 5 %: n d^2 = (z_0.975 sqrt(q) + z_power sqrt(q - d^2))^2, q the share
    of discordant pairs (Connor, Biometrics 43, 1987). At most q, where no test is that good.
    """
    alpha, beta = float(stats.norm.ppf(0.975)), float(stats.norm.ppf(power))

    def missing(difference: float) -> float:
        spread = beta * math.sqrt(max(discordant - difference**2, 0.0))
        return math.sqrt(n) * difference - alpha * math.sqrt(discordant) - spread

    most = min(discordant, math.sqrt(discordant))
    if not discordant or missing(most) <= 0:
        return discordant
    return float(optimize.brentq(missing, 0.0, most))


def brier(chances: Values, true: Codes) -> float:
    """The mean over items of the squared distance to the true class (Brier, 1950), 0 to 2.

    Args:
        chances: float [items, classes], each row's sum 1.
        true: int [items].
    """
    return float(((chances - np.eye(chances.shape[1])[true]) ** 2).sum(1).mean())


def calibration_error(chances: Values, true: Codes, bins: int = 15) -> float:
    """The expected calibration error of the largest chance (Guo et al., 2017), 0 to 1.

    Items fall into bins of equal width by their largest chance; the mean over items of the distance
    between their bin's mean chance and its share of right answers.

    Args:
        chances: float [items, classes].
        true: int [items].
    """
    sure, right = chances.max(1), chances.argmax(1) == true
    bin_of = np.minimum((sure * bins).astype(int), bins - 1)
    gap = np.bincount(bin_of, sure - right, bins)
    return float(np.abs(gap).sum() / len(true))
