"""Intervals, tests and scores: against their definitions, scipy, scikit-learn, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score, precision_recall_fscore_support

from infuse import statistics

CLASSES = 4
SHARES = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
PAIRS = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), st.integers(-1, CLASSES - 1)), min_size=1, max_size=40
).map(lambda pairs: (np.array(pairs)[:, 0], np.array(pairs)[:, 1]))

calm = settings(deadline=None)  # a busy machine is no failure


@calm
@given(share=SHARES, level=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilson_bounds_are_the_shares_that_a_score_test_just_keeps(
    share: tuple[int, int], level: float
) -> None:
    correct, n = share
    quantile = stats.norm.ppf((1 + level) / 2)
    bounds = statistics.wilson(correct, n, level)
    assert 0 <= bounds[0] <= correct / n <= bounds[1] <= 1
    for bound in bounds:
        assert (correct / n - bound) ** 2 == pytest.approx(
            quantile**2 * bound * (1 - bound) / n, abs=1e-12
        )


@calm
@given(share=SHARES)
def test_wilson_of_the_errors_mirrors_that_of_the_hits(share: tuple[int, int]) -> None:
    correct, n = share
    low, high = statistics.wilson(correct, n)
    assert statistics.wilson(n - correct, n) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_what_is_no_share(correct: int, n: int) -> None:
    with pytest.raises(ValueError):
        statistics.wilson(correct, n)


@calm
@given(a=SHARES, b=SHARES)
def test_the_z_test_is_the_chi_squared_test_of_its_table(
    a: tuple[int, int], b: tuple[int, int]
) -> None:
    (right_a, n_a), (right_b, n_b) = a, b
    test = statistics.two_proportion_z(right_a, n_a, right_b, n_b)
    if 0 < right_a + right_b < n_a + n_b:
        table = [[right_a, n_a - right_a], [right_b, n_b - right_b]]
        chi = stats.chi2_contingency(table, correction=False)
        assert test.z**2 == pytest.approx(chi.statistic, abs=1e-9)
        assert test.p == pytest.approx(chi.pvalue)
    else:
        assert (test.z, test.p) == (0, 1)


@calm
@given(a=SHARES, b=SHARES)
def test_exchanging_the_samples_turns_the_z_test_round(
    a: tuple[int, int], b: tuple[int, int]
) -> None:
    test = statistics.two_proportion_z(*a, *b)
    turned = statistics.two_proportion_z(*b, *a)
    assert turned.p == pytest.approx(test.p) and 0 <= test.p <= 1
    assert (turned.z, turned.difference, turned.low, turned.high) == pytest.approx(
        (-test.z, -test.difference, -test.high, -test.low)
    )
    assert test.difference == a[0] / a[1] - b[0] / b[1]
    assert test.low <= test.difference <= test.high


def test_the_z_test_worked_by_hand() -> None:
    """60 and 40 of 100: both errors are sqrt(0.5 * 0.5 / 50) or sqrt(2 * 0.6 * 0.4 / 100)."""
    test = statistics.two_proportion_z(60, 100, 40, 100)
    assert test.z == pytest.approx(0.2 / math.sqrt(0.005))
    assert test.high - test.difference == pytest.approx(1.959964 * math.sqrt(0.0048))


def test_the_papers_two_accuracies() -> None:
    """58.4 % and 49.7 % of 2,000 texts."""
    test = statistics.two_proportion_z(1168, 2000, 994, 2000)
    assert test.z == pytest.approx(5.52, abs=0.005)
    assert test.p == pytest.approx(3.4e-8, rel=0.01)
    assert (test.low, test.high) == pytest.approx((0.056, 0.118), abs=5e-4)
    assert statistics.wilson(1168, 2000) == pytest.approx((0.562, 0.605), abs=5e-4)
    assert statistics.wilson(994, 2000) == pytest.approx((0.475, 0.519), abs=5e-4)


@calm
@given(only_a=st.integers(0, 200), only_b=st.integers(0, 200))
def test_mcnemar_is_twice_the_smaller_tail_of_a_fair_coin(only_a: int, only_b: int) -> None:
    n = only_a + only_b
    tail = sum(math.comb(n, k) for k in range(min(only_a, only_b) + 1)) / 2**n
    p = statistics.mcnemar_exact(only_a, only_b)
    assert p == pytest.approx(min(1, 2 * tail))
    assert p == pytest.approx(statistics.mcnemar_exact(only_b, only_a))


def test_mcnemar_worked_by_hand() -> None:
    assert statistics.mcnemar_exact(10, 2) == pytest.approx(2 * (1 + 12 + 66) / 4096)
    assert statistics.mcnemar_exact(0, 0) == 1


@calm
@given(pairs=PAIRS)
def test_confusion_counts_every_text_once(
    pairs: tuple[statistics.Codes, statistics.Codes],
) -> None:
    true, predicted = pairs
    counts = statistics.confusion(true, predicted, CLASSES)
    assert counts.shape == (CLASSES, CLASSES + 1)
    for label in range(CLASSES):
        for column, code in enumerate([*range(CLASSES), -1]):
            assert counts[label, column] == ((true == label) & (predicted == code)).sum()


@calm
@given(pairs=PAIRS)
def test_scores_are_those_of_scikit_learn(
    pairs: tuple[statistics.Codes, statistics.Codes],
) -> None:
    """With the true classes as its labels, it too takes -1 for a miss and for no class."""
    true, predicted = pairs
    labels = range(CLASSES)
    scores = statistics.class_scores(true, predicted, CLASSES)
    expected = precision_recall_fscore_support(true, predicted, labels=labels, zero_division=0)
    assert np.array(scores) == pytest.approx(np.array(expected).T)
    macro, weighted = (
        f1_score(true, predicted, labels=labels, average=average, zero_division=0)
        for average in ("macro", "weighted")
    )
    assert statistics.macro_f1(scores) == pytest.approx(macro)
    assert statistics.weighted_f1(scores) == pytest.approx(weighted)


@calm
@given(pairs=PAIRS)
def test_recalls_weighted_by_support_are_the_accuracy(
    pairs: tuple[statistics.Codes, statistics.Codes],
) -> None:
    true, predicted = pairs
    scores = statistics.class_scores(true, predicted, CLASSES)
    assert sum(score.support for score in scores) == len(true)
    assert sum(score.recall * score.support for score in scores) == pytest.approx(
        (true == predicted).sum()
    )


def test_a_text_without_a_label_costs_recall_and_no_precision() -> None:
    true = np.array([0, 0, 0, 1])
    first, second, absent = statistics.class_scores(true, np.array([0, 0, -1, 1]), 3)
    assert first == pytest.approx((1, 2 / 3, 4 / 5, 3))
    assert second == (1, 1, 1, 1)
    assert absent == (0, 0, 0, 0)
    assert statistics.macro_f1([first, second, absent]) == pytest.approx(3 / 5)
    assert statistics.weighted_f1([first, second, absent]) == pytest.approx(17 / 20)
