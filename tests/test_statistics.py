"""Published and hand-worked values first; then what must hold for any counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_recall_fscore_support

from infuse import statistics as s

counts = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
answers = st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), min_size=1, max_size=60)


def test_the_papers_numbers() -> None:
    """arXiv 2507.00214: 58.4 % against 49.7 % of 2,000 texts each."""
    test = s.two_proportion_z(1168, 2000, 994, 2000)
    assert test.z == pytest.approx(5.52, abs=0.005)
    assert test.p == pytest.approx(3.4e-8, rel=0.02)
    assert (test.low, test.high) == pytest.approx((0.056, 0.118), abs=0.0005)
    assert s.wilson(1168, 2000) == pytest.approx((0.562, 0.605), abs=0.0005)
    assert s.wilson(994, 2000) == pytest.approx((0.475, 0.519), abs=0.0005)


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (1, 1, 0.2065, 1.0)],
)
def test_wilson_by_hand(correct: int, n: int, low: float, high: float) -> None:
    assert s.wilson(correct, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_needs_texts() -> None:
    with pytest.raises(ValueError):
        s.wilson(0, 0)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (8, 2, 0.109375), (6, 6, 1.0), (10, 1, 0.01171875)],
)
def test_mcnemar_by_hand(only_a: int, only_b: int, p: float) -> None:
    assert s.mcnemar_exact(only_a, only_b) == pytest.approx(p)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_doubled_smaller_tail(only_a: int, only_b: int) -> None:
    n, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    assert s.mcnemar_exact(only_a, only_b) == pytest.approx(min(1.0, 2 * tail))
    assert s.mcnemar_exact(only_a, only_b) == s.mcnemar_exact(only_b, only_a)


@given(counts)
def test_wilson_holds_the_share(count: tuple[int, int]) -> None:
    correct, n = count
    low, high = s.wilson(correct, n)
    assert 0 <= low <= correct / n + 1e-12 and correct / n - 1e-12 <= high <= 1


@given(counts, counts)
def test_the_z_test_is_symmetric(a: tuple[int, int], b: tuple[int, int]) -> None:
    one, other = s.two_proportion_z(*a, *b), s.two_proportion_z(*b, *a)
    assert one.z == pytest.approx(-other.z) and one.p == pytest.approx(other.p)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.low <= one.difference <= one.high


@given(answers)
def test_scores_equal_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    true, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    scores = s.class_scores(true, predicted, 4)
    theirs = precision_recall_fscore_support(true, predicted, labels=range(4), zero_division=0)
    assert np.allclose(np.array(scores).T, np.array(theirs))
    told = {"labels": range(4), "zero_division": 0}
    assert s.macro_f1(scores) == pytest.approx(f1_score(true, predicted, average="macro", **told))
    assert s.weighted_f1(scores) == pytest.approx(
        f1_score(true, predicted, average="weighted", **told)
    )


@given(answers)
def test_every_answer_is_one_cell_of_the_confusion(pairs: list[tuple[int, int]]) -> None:
    true, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    cells = s.confusion(true, predicted, 4)
    assert cells.sum() == len(pairs)
    assert cells[:, 4].sum() == (predicted < 0).sum()
    assert cells[:, :4].trace() == (true == predicted).sum()
