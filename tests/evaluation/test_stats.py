"""Intervals and tests: against their definitions, scipy, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st

from infuse.evaluation import stats

SHARES = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(share=SHARES, level=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilson_bounds_are_the_shares_that_a_score_test_just_keeps(
    share: tuple[int, int], level: float
) -> None:
    correct, n = share
    quantile = scipy.stats.norm.ppf((1 + level) / 2)
    bounds = stats.wilson(correct, n, level)
    assert 0 <= bounds[0] <= correct / n <= bounds[1] <= 1
    for bound in bounds:
        assert (correct / n - bound) ** 2 == pytest.approx(
            quantile**2 * bound * (1 - bound) / n, abs=1e-12
        )


@given(share=SHARES)
def test_wilson_of_the_errors_mirrors_that_of_the_hits(share: tuple[int, int]) -> None:
    correct, n = share
    low, high = stats.wilson(correct, n)
    assert stats.wilson(n - correct, n) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_share(correct: int, n: int) -> None:
    with pytest.raises(ValueError):
        stats.wilson(correct, n)


@given(a=SHARES, b=SHARES)
def test_the_z_test_is_the_chi_squared_test_of_its_table(
    a: tuple[int, int], b: tuple[int, int]
) -> None:
    (right_a, n_a), (right_b, n_b) = a, b
    z, p = stats.two_proportion_z(right_a, n_a, right_b, n_b)
    if 0 < right_a + right_b < n_a + n_b:
        table = [[right_a, n_a - right_a], [right_b, n_b - right_b]]
        chi = scipy.stats.chi2_contingency(table, correction=False)
        assert z**2 == pytest.approx(chi.statistic, abs=1e-9)
        assert p == pytest.approx(chi.pvalue)
        turned = stats.two_proportion_z(right_b, n_b, right_a, n_a)
        assert turned == pytest.approx((-z, p)) and 0 <= p <= 1
    else:
        assert math.isnan(z) and math.isnan(p)


def test_the_z_test_worked_by_hand() -> None:
    """60 and 40 of 100: the pooled error is sqrt(0.5 * 0.5 / 50)."""
    assert stats.two_proportion_z(60, 100, 40, 100)[0] == pytest.approx(0.2 / math.sqrt(0.005))


def test_the_papers_two_accuracies() -> None:
    """58.4 % and 49.7 % of 2,000 texts."""
    z, p = stats.two_proportion_z(1168, 2000, 994, 2000)
    assert z == pytest.approx(5.52, abs=0.005)
    assert p == pytest.approx(3.4e-8, rel=0.01)
    assert stats.wilson(1168, 2000) == pytest.approx((0.562, 0.605), abs=5e-4)
    assert stats.wilson(994, 2000) == pytest.approx((0.475, 0.519), abs=5e-4)


@given(only_a=st.integers(0, 200), only_b=st.integers(0, 200))
def test_mcnemar_is_twice_the_smaller_tail_of_a_fair_coin(only_a: int, only_b: int) -> None:
    n = only_a + only_b
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1)) / 2**n
    p = stats.mcnemar_exact(only_a, only_b)
    assert p == pytest.approx(min(1, 2 * tail))
    assert p == pytest.approx(stats.mcnemar_exact(only_b, only_a))


def test_mcnemar_worked_by_hand() -> None:
    assert stats.mcnemar_exact(10, 2) == pytest.approx(2 * (1 + 12 + 66) / 4096)
    assert stats.mcnemar_exact(0, 0) == 1


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_as_published(correct: int, n: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17, 1998, table I, method 3."""
    assert stats.wilson(correct, n) == pytest.approx((low, high), abs=5.1e-5)


def test_mcnemar_as_published() -> None:
    """Ratings of a prime minister: 86 and 150 of 1,600 changed their minds (Agresti; Fay, 2010)."""
    assert stats.mcnemar_exact(86, 150) == pytest.approx(3.716e-5, rel=1e-3)


T_1 = 12.706205  # the t distribution's 97.5 % point at one degree of freedom


@pytest.mark.parametrize(
    ("values", "mean", "error", "df"),
    [
        # seeds 1, items 1, rest 1
        ([[3, 1], [1, 1]], 1.5, math.sqrt(1 / 4), 1),
        # seeds 1.5, items 4.5, rest 0.5: no more degrees of freedom than the items have
        ([[4, 0, 2], [2, 0, 1]], 1.5, math.sqrt(5.5 / 6), 2),
        # seeds 2.5, items 2.25, rest 0.25
        ([[4, 0, 2, 2, 2], [2, 0, 1, 1, 1]], 1.5, math.sqrt(4.5 / 10), (4.5 / 2.5) ** 2),
        # seeds 0, items 0, rest 4: seeds are not let below the rest
        ([[1, -1], [-1, 1]], 0, math.sqrt(4 / 4), 1),
        # one seed: the deviations are 1, 0, -1
        ([[2, 1, 0]], 1, math.sqrt(1 / 3), 2),
    ],
)
def test_crossed_worked_by_hand(
    values: list[list[float]], mean: float, error: float, df: float
) -> None:
    interval = stats.two_way_interval(np.array(values, float))
    half = scipy.stats.t.ppf(0.975, df) * error
    assert interval[:3] == pytest.approx((mean, mean - half, mean + half))
    assert interval.df == pytest.approx(df)


def test_crossed_p_worked_by_hand() -> None:
    """t = 3 at one degree of freedom, a Cauchy variable."""
    interval = stats.two_way_interval(np.array([[3.0, 1], [1, 1]]))
    assert interval.high - interval.mean == pytest.approx(T_1 / 2)
    assert interval.p == pytest.approx(1 - 2 * math.atan(3) / math.pi)
    # Of two items, an exact test of signs has no smaller one than this.
    assert stats.mean_difference(np.array([[3.0, 1], [1, 1]]), ["a", "b"]).p == 0.5


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])
def test_values_that_are_all_equal_tell_no_interval(value: float) -> None:
    for shape in ((1, 4), (3, 4), (2, 1)):
        interval = stats.mean_interval(np.full(shape, value), list("aabc")[: shape[1]])
        assert interval.mean == pytest.approx(value)
        assert all(math.isnan(part) for part in interval[1:])


def test_what_can_not_be_below_zero_has_no_end_there() -> None:
    errors = np.array([[0.0, 0.2, 0.1], [0.3, 0.0, 0.9]])
    unbounded = stats.mean_interval(errors, list("abc"))
    assert unbounded.low < 0
    assert stats.non_negative_mean(errors, list("abc")) == unbounded._replace(low=0)
    assert math.isnan(stats.non_negative_mean(np.ones((1, 3)), list("abc")).low)


@given(
    seeds=st.integers(1, 3), wins=st.integers(0, 30), losses=st.integers(0, 30),
    ties=st.integers(0, 60),
)  # fmt: skip
def test_a_handful_of_answers_never_tells_all(
    seeds: int, wins: int, losses: int, ties: int
) -> None:
    """All right, all wrong, one text: an interval with a width, and no p below an exact test's."""
    values = np.array([1.0] * wins + [-1.0] * losses + [0.0] * ties)
    if not len(values):
        return
    gain = stats.gain(np.tile(values, (seeds, 1)), [str(at) for at in range(len(values))])
    assert -1 <= gain.low <= gain.mean <= gain.high <= 1 and gain.high - gain.low > 0.01
    assert gain.p >= min(1, 2 * 0.5 ** (wins + losses)) > 0
    assert (gain.low > 0 or gain.high < 0) == (gain.p < 0.05)
    turned = stats.gain(np.tile(-values, (seeds, 1)), [str(at) for at in range(len(values))])
    assert (-turned.high, -turned.low, turned.p) == pytest.approx((gain.low, gain.high, gain.p))


@given(
    differences=st.lists(st.lists(st.sampled_from([-1.0, 0, 1]), min_size=1, max_size=20),
                         min_size=1, max_size=30),
    seeds=st.integers(1, 3),
)  # fmt: skip
@example(differences=[[1.0] * 20] * 3 + [[0.0]] * 20, seeds=1)
def test_clusters_without_a_difference_tell_no_sign(
    differences: list[list[float]], seeds: int
) -> None:
    """They do not lower the least p, however large; and the interval does not contradict p."""
    values = np.tile(np.concatenate(differences), (seeds, 1))
    names = [str(at) for at, cluster in enumerate(differences) for _ in cluster]
    signed = sum(sum(cluster) != 0 for cluster in differences)
    for interval in (stats.gain(values, names), stats.mean_difference(values, names)):
        if not math.isnan(interval.p):
            assert interval.p >= min(1, 2 * 0.5**signed)
            assert (interval.low <= 0 <= interval.high) == (interval.p > 0.05)


@pytest.mark.parametrize("n", range(1, 9))
def test_a_clean_sweep_is_worth_what_the_sign_test_says(n: int) -> None:
    gain = stats.gain(np.ones((1, n)), [str(at) for at in range(n)])
    assert gain.p == pytest.approx(stats.sign_test(n, 0), rel=0.12)
    assert gain.high == 1 and (gain.low > 0) == (n > 5)


def test_no_difference_in_a_hundred_texts_worked_by_hand() -> None:
    """Two texts more, +1 and -1: variance 2 / 101, error its root over 102, 99 degrees."""
    gain = stats.gain(np.zeros((1, 100)), [str(at) for at in range(100)])
    half = scipy.stats.t.ppf(0.975, 99) * math.sqrt(2 / 101 / 102)
    assert gain[:4] == pytest.approx((0, -half, half, 1))


@pytest.mark.parametrize("truth", [0.02, 0.5, 0.9])
@pytest.mark.parametrize("n", [5, 20, 100])
def test_intervals_of_few_texts_cover(n: int, truth: float) -> None:
    """One seed: differences that are +1, -1 or 0, one of the first two in half of the texts or in
    `truth` of them at least.
    """
    draw, covered, names = np.random.default_rng(2), 0, [str(at) for at in range(n)]
    some = max(truth, 0.5)
    for _ in range(1000):
        values = draw.choice([1.0, -1.0, 0.0], (1, n), p=[truth, some - truth, 1 - some])
        gain = stats.gain(values, names)
        covered += gain.low <= 2 * truth - some <= gain.high
    assert covered >= 930


def test_the_share_of_two_seeds_that_differ_is_not_known() -> None:
    right = np.array([[1.0] * 80 + [0.0] * 20, [1.0] * 50 + [0.0] * 50])
    names = [str(at) for at in range(100)]
    low, high = stats.share(right, names)
    assert low == 0 and high == 1
    assert stats.share(right[:1], names) == stats.wilson(80, 100)


@given(values=st.lists(st.floats(-5, 5), min_size=2, max_size=20))
def test_one_seed_is_the_t_test(values: list[float]) -> None:
    two_way = stats.two_way_interval(np.array([values]))
    if np.var(values) > 1e-6:
        test = scipy.stats.ttest_1samp(values, 0)
        assert two_way.p == pytest.approx(test.pvalue)
        interval = test.confidence_interval()
        assert (two_way.low, two_way.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("spread", [0.0, 0.1, 0.5], ids="seeds differ by {}".format)
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_covers_the_truth_as_often_as_it_says(seeds: int, spread: float) -> None:
    """2,000 studies of two arms that answer 300 hard and easy texts, trained with some seeds.

    Seeds that hardly differ are not told from seeds that agree by chance, so it covers more there.
    """
    draw = np.random.default_rng(3)

    def share(ease: float) -> float:
        return float(scipy.stats.norm.cdf(ease / math.sqrt(1.5**2 + spread**2 + 0.8**2)))

    def right(ease: float, texts: stats.Values) -> stats.Values:
        seed = draw.normal(0, spread, (seeds, 1))
        return (ease + texts + seed + draw.normal(0, 0.8, (seeds, 300)) > 0).astype(float)

    true, covered, far_off = share(0.8) - share(0.5), 0, 0
    for _ in range(2000):
        texts = draw.normal(0, 1.5, 300)
        interval = stats.two_way_interval(right(0.8, texts) - right(0.5, texts), (-1, 1))
        covered += interval.low <= true <= interval.high
        shifted = stats.two_way_interval(right(0.5, texts) - right(0.5, texts), (-1, 1))
        far_off += shifted.p < 0.05 / 6
    assert 0.93 <= covered / 2000 <= (0.975 if spread == 0.5 else 1)
    assert far_off / 2000 < 2.5 * 0.05 / 6  # the tail on which Holm's correction of six rests


def test_the_bootstrap_of_one_seed_is_that_of_its_items() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, (1, 400))
    bounds = stats.two_way_bootstrap(values, 2000, 0)
    expected = stats.two_way_interval(values)
    assert bounds == pytest.approx((expected.low, expected.high), abs=0.02)
    assert stats.two_way_bootstrap(np.full((3, 5), 0.1), 10, 0) is None


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.2], [0.2]),
        ([0.5, 0.6], [1, 1]),
        ([0.01, 0.02, 0.03], [0.03, 0.04, 0.04]),
        ([], []),
        ([math.nan, 0.02, 0.01], [math.nan, 0.02, 0.02]),
    ],
)
def test_holm_worked_by_hand(p: list[float], adjusted: list[float]) -> None:
    assert stats.holm(p) == pytest.approx(adjusted, nan_ok=True)


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_its_steps_reject(p: list[float]) -> None:
    """Up from the smallest, each against 5 % over those left, until the first that fails."""
    rejected = set()
    for step, at in enumerate(np.argsort(p, kind="stable")):
        if (len(p) - step) * p[at] > 0.05:
            break
        rejected.add(at)
    assert {at for at, value in enumerate(stats.holm(p)) if value <= 0.05} == rejected


@pytest.mark.parametrize(
    ("discordant", "difference", "n"),
    # (1.959964 sqrt(0.2) + 0.841621 sqrt(0.19))^2 / 0.01, and so on
    [(0.2, 0.1, 154.60), (0.1, 0.05, 311.60), (0.5, 0.1, 390.87)],
)
def test_detectable_differences_worked_by_hand(
    discordant: float, difference: float, n: float
) -> None:
    smallest = stats.detectable(discordant, round(n))
    assert smallest == pytest.approx(difference, rel=2e-3)


def test_what_no_number_of_texts_can_detect() -> None:
    assert stats.detectable(0.0, 100) is None
    assert stats.detectable(0.01, 20) is None


@pytest.mark.parametrize(
    ("chances", "true", "score"),
    [
        ([[0.7, 0.2, 0.1]], [0], 0.14),
        ([[0.1, 0.1, 0.8]], [1], 1.46),
        ([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], [0, 1], 0.8),
        ([[1, 0]], [0], 0),
        ([[1, 0]], [1], 2),
    ],
)
def test_brier_worked_by_hand(chances: list[list[float]], true: list[int], score: float) -> None:
    assert stats.brier(np.array(chances), np.array(true)) == pytest.approx(score)


@pytest.mark.parametrize(("bins", "error"), [(15, 0.4), (1, 0.8 - 2 / 3)])
def test_calibration_error_worked_by_hand(bins: int, error: float) -> None:
    """Sure by 0.9, right once in two; sure by 0.6, right."""
    ece = stats.calibration_error(np.array([0.9, 0.9, 0.6]), np.array([True, False, True]), bins)
    assert ece == pytest.approx(error)


@given(
    counts=st.lists(st.integers(1, 15), min_size=1, max_size=9), right=st.booleans(),
    nudge=st.sampled_from([1 - 1e-15, 1, 1 + 1e-15]),
)  # fmt: skip
def test_a_chance_on_the_edge_of_a_bin_does_not_fall_by_its_rounding(
    counts: list[int], right: bool, nudge: float
) -> None:
    sure = np.array([*counts, 15]) / 15
    expected = stats.calibration_error(sure, np.full(len(sure), right))
    nudged = stats.calibration_error(sure * nudge, np.full(len(sure), right))
    assert nudged == pytest.approx(expected)


@given(
    values=st.lists(st.lists(st.floats(-3, 3), min_size=6, max_size=6), min_size=1, max_size=3),
    clusters=st.lists(st.sampled_from("abc"), min_size=6, max_size=6),
)
def test_clusters_have_the_mean_of_their_items(
    values: list[list[float]], clusters: list[str]
) -> None:
    lines = np.array(values)
    clustered = stats.clustered(lines, clusters)
    assert clustered.shape == (len(values), len(set(clusters)))
    assert clustered.mean(1) == pytest.approx(lines.mean(1))
    alone = stats.clustered(lines, list("abcdef"))
    assert alone == pytest.approx(lines)


def test_items_that_are_there_twice_tell_nothing_new() -> None:
    lines = np.random.default_rng(0).normal(size=(2, 30))
    once = stats.two_way_interval(lines)
    names = [f"{at:02}" for at in range(30)]
    twice = stats.clustered(np.repeat(lines, 2, axis=1), np.repeat(names, 2).tolist())
    assert stats.two_way_interval(twice) == pytest.approx(once)


def test_intervals_over_clusters_cover_where_those_over_items_do_not() -> None:
    """Twenty clusters of unequal sizes, each with a mean of its own; the truth is 0."""
    draw, covered = np.random.default_rng(1), {"items": 0, "clusters": 0}
    for _ in range(300):
        sizes = draw.integers(2, 12, 20)
        items = np.repeat(draw.normal(size=20), sizes) + 0.3 * draw.normal(size=sizes.sum())
        names = np.repeat([f"{at:02}" for at in range(20)], sizes).tolist()
        for kind, values in (
            ("items", items[None]), ("clusters", stats.clustered(items[None], names))
        ):  # fmt: skip
            interval = stats.two_way_interval(values)
            covered[kind] += interval.low <= 0 <= interval.high
    assert covered["items"] < 200 and 270 <= covered["clusters"] <= 297


def test_the_sign_test_of_eighteen_wins() -> None:
    assert stats.sign_test(18, 0) == pytest.approx(2 / 2**18)
    assert stats.sign_test(0, 0) == 1.0


@given(
    seed=st.integers(0, 999), seeds=st.integers(1, 5), items=st.integers(3, 60),
    size=st.floats(0.005, 0.5),
)  # fmt: skip
def test_enough_is_more_than_there_is_and_no_more_than_needed(
    seed: int, seeds: int, items: int, size: float
) -> None:
    draw = np.random.default_rng(seed)
    of_seeds, of_items = draw.normal(0, 0.1, (seeds, 1)), draw.normal(0, 0.3, (1, items))
    values = of_seeds + of_items + draw.normal(0, 0.2, (seeds, items))
    clusters = [str(place) for place in range(items)]
    few, many = (stats.enough(values, clusters, half) for half in (2 * size, size))
    for less, more, now in zip(few, many, (seeds, items), strict=True):
        assert more is None or (less is not None and now < less <= more)
    assert (many.seeds is None) or seeds > 1


def exactly(parts: tuple[float, float, float, float], seeds: int, items: int) -> stats.Values:
    """Values with just that mean, and the mean squares that its components of variance lead one to
    expect: of seeds, of items, of the rest.
    """
    mean, a, b, c = parts
    draw = np.random.default_rng(0)
    rest = draw.normal(size=(seeds, items))
    of_seeds, of_items = rest.mean(1, keepdims=True), rest.mean(0, keepdims=True)
    rest = rest - of_seeds - of_items + rest.mean()
    of_seeds, of_items = of_seeds - of_seeds.mean(), of_items - of_items.mean()
    of_items *= math.sqrt((b + c / seeds) / of_items.var(ddof=1))
    if seeds > 1:
        of_seeds *= math.sqrt((a + c / items) / of_seeds.var(ddof=1))
        rest *= math.sqrt(c * (seeds - 1) * (items - 1) / (rest**2).sum())
    return mean + of_seeds + of_items + rest


@pytest.mark.parametrize("seeds", [1, 2, 5])
@pytest.mark.parametrize(
    "parts",
    [(0, 0, 0, 0), (0.01, 0, 0, 0), (-0.02, 0, 0.04, 0.01), (0.04, 1e-4, 0.1, 0.1)],
    ids=["alike", "a shift", "texts differ", "seeds differ"],
)
def test_what_is_enough_settles_it_and_clearly_less_does_not(
    seeds: int, parts: tuple[float, float, float, float]
) -> None:
    def reach(seeds: int, items: int) -> float:
        gain = stats.gain(exactly(parts, seeds, items), [str(at) for at in range(items)])
        return max(gain.high - gain.mean, gain.mean - gain.low)

    half, items = max(parts[0], 0.02 - parts[0]), 50
    told = stats.enough(exactly(parts, seeds, items), [str(at) for at in range(items)], half)
    assert reach(seeds, items) > half
    if told.items is not None:
        assert reach(seeds, told.items) < half < reach(seeds, math.floor(told.items / 1.06))
    else:
        assert reach(seeds, 10**4) > half
    if told.seeds is not None:
        assert reach(told.seeds, items) < half
        assert told.seeds == seeds + 1 or half < reach(told.seeds - 1, items)
    elif seeds > 1:
        assert reach(stats.MOST_SEEDS, items) > half


def test_two_arms_that_are_always_alike_need_more_texts_and_no_seeds() -> None:
    """Of 50 texts, the two that are added leave 5.5 points on each side, whatever the seeds."""
    told = stats.enough(np.zeros((2, 50)), [str(at) for at in range(50)], 0.02)
    assert told.seeds is None and told.items is not None and 135 <= told.items <= 145


def test_enough_of_one_seed_by_hand() -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(0, 0.5, (1, 400))
    items = stats.enough(values, [str(place) for place in range(400)], 0.02).items
    by_hand = (1.96 * values.std(ddof=1) / 0.02) ** 2
    assert items is not None and by_hand <= items <= 1.06 * by_hand


def test_enough_of_known_parts() -> None:
    """Many draws, so that the components of variance are those that were drawn from."""
    draw = np.random.default_rng(0)
    values = draw.normal(0, 0.02, (100, 1)) + draw.normal(0, 0.5, (100, 3000))
    clusters = [str(place) for place in range(3000)]
    half = 0.0035
    seeds = (0.02**2 + 0.5**2 / 3000) * (1.98 / half) ** 2
    assert stats.enough(values, clusters, half).seeds == pytest.approx(seeds, rel=0.2)
    doubled = np.repeat(values, 2, axis=1)  # every cluster twice says nothing new of seeds
    assert stats.enough(doubled, np.repeat(clusters, 2).tolist(), half).seeds == pytest.approx(
        seeds, rel=0.2
    )
