"""Statistics of classification: intervals, tests, chances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

Codes = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
ROUNDING = 1e-12  # a spread that floating-point arithmetic makes of none
MOST_SEEDS, MOST_ITEMS = 200, 10**7  # that are worth a forecast


class Interval(NamedTuple):
    """A mean over seeds and items that both were drawn; `low` to `high` is its 95 % interval.

    What can't be told is nan.
    """

    mean: float
    low: float
    high: float
    p: float
    df: float


def wilson(correct: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson, 1927).

    Raises:
        ValueError: n is 0, or correct is not between 0 and n.
    """
    interval = stats.binomtest(correct, n).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def two_proportion_z(correct_a: int, n_a: int, correct_b: int, n_b: int) -> tuple[float, float]:
    """The z-test of two independent shares, a - b: pooled z and its two-sided p.

    z = (a - b) / sqrt(q (1 - q) (1 / n_a + 1 / n_b)), q the share of both samples together. Both
    are nan where q is 0 or 1.
    """
    pooled = (correct_a + correct_b) / (n_a + n_b)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n_a + 1 / n_b))
    z = (correct_a / n_a - correct_b / n_b) / error if error else math.nan
    return z, float(2 * stats.norm.sf(abs(z)))


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """McNemar's exact two-sided p from the discordant pairs; 1 where there are none."""
    return sign_test(only_a, only_b)


def sign_test(won: int, lost: int) -> float:
    """The exact two-sided p of the sign test; ties are left out; 1 where there is nothing else."""
    return float(stats.binomtest(won, won + lost).pvalue) if won + lost else 1.0


def two_way_interval(values: Values, bounds: tuple[float, float] | None = None) -> Interval:
    """The t-test of a mean over two crossed random factors, seeds and items.

    With mean squares S (seeds), I (items) and R (the rest) of s seeds and n items, the mean has
    the variance (S + max(I - R, 0)) / (s n) on (S + max(I - R, 0))^2 / (S^2 / (s - 1)) degrees of
    freedom (Hillis, Statistics in Medicine 26, 2007, for readers and cases), at most n - 1. S,
    which can't be expected below R, is not let below it: few seeds agree by chance too often to be
    believed. One seed: the t-test over items, which says nothing of other seeds.

    Few answers that are all alike show no spread, and leave much open. So with `bounds`, interval
    and p are of the values and two items more, one at each bound (Bonett and Price, J. of
    Educational and Behavioral Statistics 37, 2012, for a difference of paired shares).

    Without bounds, values that are all equal have neither interval nor p; nor has a single item.

    Args:
        values: float [seeds, items].
        bounds: the least and the largest value, where values are right or wrong, or differences of
            such; the interval does not leave them.
    """
    mean, items = float(values.mean()), values.shape[1]
    low, high = (float(bound) for bound in bounds or (math.nan, math.nan))
    if bounds is not None:
        values = np.concatenate([values, np.tile([low, high], (len(values), 1))], 1)
    if items < 2 or np.ptp(values) <= ROUNDING:
        return Interval(mean, low, high, math.nan if bounds is None else 1.0, math.nan)
    error, df = _error(len(values), values.shape[1], *_mean_squares(values))
    df = min(df, items - 1.0)
    centre, half = float(values.mean()), float(stats.t.ppf(0.975, df)) * error
    p = float(2 * stats.t.sf(abs(centre) / error, df))
    return Interval(
        mean, float(np.fmax(centre - half, low)), float(np.fmin(centre + half, high)), p, df
    )


def _error(
    seeds: int, items: int, of_seeds: float, of_items: float, of_rest: float
) -> tuple[float, float]:
    """The standard error of a mean, and the degrees of freedom of its seeds, by mean squares."""
    of_seeds = max(of_seeds, of_rest)
    spread = of_seeds + max(of_items - of_rest, 0.0)
    df = (seeds - 1) * (spread / of_seeds) ** 2 if of_seeds > ROUNDING else math.inf
    return math.sqrt(spread / (seeds * items)), df


def _mean_squares(values: Values) -> tuple[float, float, float]:
    """Mean squares of [seeds, items]: of seeds, of items, of the rest. One seed: of items alone."""
    seeds, items = values.shape
    if seeds == 1:
        return 0.0, float(values.var(ddof=1)), 0.0
    by_seed, by_item = values.mean(1), values.mean(0)
    rest = values - by_seed[:, None] - by_item + values.mean()
    return (
        items * float(by_seed.var(ddof=1)),
        seeds * float(by_item.var(ddof=1)),
        float((rest**2).sum()) / ((seeds - 1) * (items - 1)),
    )


class Enough(NamedTuple):
    """How many seeds at the same items would do, and how many items at the same seeds: more than
    there are. None: no number up to `MOST_SEEDS` or `MOST_ITEMS` would, or it can't be told.
    """

    seeds: int | None
    items: int | None


def enough(differences: Values, clusters: Sequence[str], half: float) -> Enough:
    """What would bring both ends of `gain` nearer to the mean than `half`, if that stays as it is.

    The mean over s seeds and n items varies as a / s + b / n + c / (s n), with the components of
    variance a of seeds, b of items and c of the rest, from the mean squares S = n a + c,
    I = s b + c and R = c (Searle, Casella and McCulloch, Variance Components, 1992). The interval
    is that of the number that is tried, its two added items and degrees of freedom included.

    Args:
        differences: of right answers, -1, 0 or 1: [seeds, items].
        clusters: of the items.
        half: above 0.
    """
    values = clustered(differences, clusters)
    seeds, groups = values.shape
    if groups < 2:
        return Enough(None, None)
    of_seeds, of_items, rest = _mean_squares(values)
    parts = max(of_seeds - rest, 0.0) / groups, max(of_items - rest, 0.0) / seeds, rest
    kind = float(values.mean()), *parts
    per_group = differences.shape[1] / groups
    more_seeds = range(seeds + 1, MOST_SEEDS + 1) if seeds > 1 else range(0)
    more_groups = [math.ceil(groups * 1.05**power) for power in range(1, 400)]
    fit = next((count for count in more_seeds if _reach(count, groups, *kind) < half), None)
    wide = next((count for count in more_groups if _reach(seeds, count, *kind) < half), math.inf)
    items = math.ceil(wide * per_group) if wide * per_group <= MOST_ITEMS else None
    return Enough(fit, items)


def _reach(seeds: int, items: int, mean: float, a: float, b: float, c: float) -> float:
    """How far from its mean `gain` reaches, by that mean and the components of its variance.

    The mean squares are those of the items and of -1 and +1, which `two_way_interval` adds.
    """
    of_seeds, of_items, every = items * a + c, seeds * b + c, items + 2
    added = 2 * seeds * (1 + mean**2 * items / every)
    error, df = _error(
        seeds,
        every,
        of_seeds * items / every,
        ((items - 1) * of_items + added) / (items + 1),
        ((items - 1) * c + 2 * of_seeds / every) / (items + 1) if seeds > 1 else 0.0,
    )
    centre = mean * items / every
    return float(stats.t.ppf(0.975, min(df, items - 1.0))) * error + abs(mean - centre)


def mean_interval(
    values: Values, clusters: Sequence[str], bounds: tuple[float, float] | None = None
) -> Interval:
    """`two_way_interval` of items that are not draws by themselves, but in clusters.

    Args:
        values: float [seeds, items].
        clusters: of the items.
        bounds: as there.
    """
    return two_way_interval(clustered(values, clusters), bounds)


def non_negative_mean(values: Values, clusters: Sequence[str]) -> Interval:
    """`mean_interval` of what can't be below 0, as errors and ratios; nor can its lower end."""
    interval = mean_interval(values, clusters)
    return interval._replace(low=max(interval.low, 0.0))  # nan, where there is none, stays


def mean_difference(
    differences: Values, clusters: Sequence[str], bounds: tuple[float, float] | None = None
) -> Interval:
    """`mean_interval` of differences, whose p is held against an exact test of signs.

    Of k clusters whose sum of differences is not 0, that test has no p below 2 / 2^k; so p is not
    let below it. The interval holds 0 wherever p is above 5 %.

    Args:
        differences: float [seeds, items].
        clusters: of the items.
        bounds: as there.
    """
    interval = mean_interval(differences, clusters, bounds)
    _, codes = np.unique(np.asarray(clusters), return_inverse=True)
    signed = int((np.abs(np.bincount(codes, differences.mean(0))) > ROUNDING).sum())
    p = max(interval.p, min(2 * 0.5**signed, 1.0))
    if not p > 0.05:  # or nan
        return interval._replace(p=p)
    return interval._replace(low=min(interval.low, 0.0), high=max(interval.high, 0.0), p=p)


def share(right: Values, clusters: Sequence[str]) -> tuple[float, float]:
    """The 95 % interval of a share of right answers, over items and seeds.

    Wilson's where there is one seed, and each item is a cluster of its own; else `mean_interval`.

    Args:
        right: 0 or 1, [seeds, items].
        clusters: of the items.
    """
    if len(right) == 1 and len(set(clusters)) == right.shape[1]:
        return wilson(int(right.sum()), right.shape[1])
    interval = mean_interval(right, clusters, (0, 1))
    return interval.low, interval.high


def gain(differences: Values, clusters: Sequence[str]) -> Interval:
    """What some answers have over others: the mean of their differences, over items and seeds.

    Args:
        differences: of right answers, -1, 0 or 1: [seeds, items].
        clusters: of the items.
    """
    return mean_difference(differences, clusters, (-1, 1))


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


def two_way_bootstrap(values: Values, draws: int, seed: int) -> tuple[float, float] | None:
    """The 95 % percentile interval of the mean when seeds and items are both drawn anew.

    That is the pigeonhole bootstrap (Owen, Annals of Applied Statistics 1, 2007). Few seeds make
    it too narrow, as any bootstrap of few; `two_way_interval` is not. None where all draws are
    alike.

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
    return (float(low), float(high)) if high - low > ROUNDING else None


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values of a family, in their order (Holm, Scandinavian J. of Statistics 6, 1979).

    The i-th smallest of m becomes the largest of (m - j + 1) p_(j) for j up to i, at most 1. One
    that is nan stays so, and is no member of the family.
    """
    values = np.asarray(p, float)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    factors = len(order) - np.arange(len(order))
    values[order] = np.minimum(np.maximum.accumulate(factors * values[order]), 1.0)
    return [float(value) for value in values]


def detectable(discordant: float, n: int, power: float = 0.8) -> float | None:
    """The smallest difference of two paired shares that McNemar's test finds with that power.

    Of the two-sided test at 5 %: n d^2 = (z_0.975 sqrt(q) + z_power sqrt(q - d^2))^2, q the share
    of discordant pairs (Connor, Biometrics 43, 1987). None where no difference that q allows is
    found so often, or no pair is discordant.
    """
    alpha, beta = float(stats.norm.ppf(0.975)), float(stats.norm.ppf(power))

    def missing(difference: float) -> float:
        spread = beta * math.sqrt(max(discordant - difference**2, 0.0))
        return math.sqrt(n) * difference - alpha * math.sqrt(discordant) - spread

    if not discordant or missing(discordant) <= 0:
        return None
    return float(optimize.brentq(missing, 0.0, discordant))


def brier(chances: Values, true: Codes) -> float:
    """The mean over items of the squared distance to the true class (Brier, 1950), 0 to 2.

    Args:
        chances: float [items, classes], each row's sum 1.
        true: int [items].
    """
    return float(((chances - np.eye(chances.shape[1])[true]) ** 2).sum(1).mean())


def calibration_error(sure: Values, right: npt.NDArray[np.bool_], bins: int = 15) -> float:
    """The expected calibration error of the largest chance (Guo et al., 2017), 0 to 1.

    Items fall into bins of equal width by their largest chance; the mean over items of the distance
    between their bin's mean chance and its share of right answers.

    Args:
        sure: float [items], of the class that was chosen.
        right: [items], whether it is the true one.
    """
    # A chance on a bin's edge, as votes have it, is not to fall by its rounding.
    bin_of = np.minimum(np.round(sure * bins, 9).astype(int), bins - 1)
    gap = np.bincount(bin_of, sure - right, bins)
    return float(np.abs(gap).sum() / len(sure))
