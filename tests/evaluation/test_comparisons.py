"""Accuracies and differences over seeds and texts, and pairs of classifiers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from infuse.evaluation import comparisons, stats
from infuse.reporting import rating_tables
from infuse.reporting.rating_tables import HeldOut

Row = dict[str, Any]


def answers(*right: bool) -> list[Row]:
    return [
        {
            "label": "joy",
            "predicted": "joy" if is_right else "fear",
            "outcome": "right" if is_right else "wrong",
        }
        for is_right in right
    ]


def test_seeds_that_differ_leave_a_mean_unknown() -> None:
    """One seed gains 2 points, the other 34: of another seed they tell nothing."""
    texts = 100
    written = {
        ("label", 1): answers(*[True] * 50, *[False] * 50),
        ("label", 2): answers(*[True] * 50, *[False] * 50),
        ("why", 1): answers(*[True] * 52, *[False] * 48),
        ("why", 2): answers(*[True] * 84, *[False] * 16),
    }
    own, other, more = comparisons.mean_rows([("why", "label")], written)
    assert (own["arm"], own["against"], own["seeds"], own["n"]) == ("label", "", 2, texts)
    assert (own["mean"], other["mean"]) == pytest.approx((0.5, 0.68))
    assert (more["arm"], more["against"]) == ("why", "label")
    assert more["mean"] == pytest.approx(0.18) and (more["low"], more["high"]) == (-1, 1)
    (compared, _) = comparisons.comparison_rows([("why", "label")], written)
    assert [compared[part] for part in ("difference", "low", "high")] == pytest.approx(
        [more[part] for part in ("mean", "low", "high")]
    )
    alone = {key: rows for key, rows in written.items() if key[1] == 1}
    first, *_ = comparisons.mean_rows([], alone)
    assert (first["low"], first["high"]) == stats.wilson(50, texts)


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("texts", [1, 4])
def test_a_clean_sweep_of_few_texts(texts: int, seeds: int) -> None:
    written = {
        (arm, seed): answers(*[arm == "why"] * texts)
        for arm in ("why", "label")
        for seed in range(seeds)
    }
    for row in comparisons.comparison_rows([("why", "label")], written):
        assert row["low"] < 0 and row["high"] == 1
        assert row["p"] >= stats.sign_test(texts, 0)
        assert row["bootstrap_low"] is row["bootstrap_high"] is None
    *_, more = comparisons.mean_rows([("why", "label")], written)
    assert more["high"] - more["low"] > 0.5


def test_arms_that_answer_alike_are_not_shown_to_be_equal() -> None:
    written = {(arm, 1): answers(*[True] * 8) for arm in ("why", "label")}
    row, _ = comparisons.comparison_rows([("why", "label")], written)
    assert row["low"] < -0.2 and row["high"] > 0.2 and row["p"] == 1
    assert row["detectable"] is None
    pair = comparisons.contrast_row("why", "label", 1, written["why", 1], written["label", 1])
    assert pair["z"] is pair["z_p"] is None and pair["mcnemar_p"] == 1


def test_an_arm_with_a_text_too_long_is_compared_by_no_closed_set() -> None:
    """Nor does a table of settings show one."""
    rated = {"label": "1", "rating": 1.0, "cluster": "a"}
    right, wrong = (
        rated
        | {"predicted": said, "outcome": outcome}
        | {"closed_set": said, "log_probabilities": [0.0, 0.0]}
        for said, outcome in (("1", "right"), ("2", "wrong"))
    )
    long = wrong | {"predicted": "", "outcome": "too_long"}
    long |= {"closed_set": "", "log_probabilities": []}
    written = {("why", 1): [right, long], ("label", 1): [right, wrong], ("bare", 1): [right, right]}
    rows = comparisons.comparison_rows([("why", "label"), ("bare", "label")], written)
    assert [(row["arm"], row["measure"]) for row in rows] == [
        ("why", "accuracy"), ("bare", "accuracy"), ("bare", "closed set accuracy")
    ]  # fmt: skip
    for name in ("why", "bare"):
        line = rating_tables.transfer({"a": HeldOut([], written, None)}, {}, ["1", "2"])
        (own,) = [row for row in line if row["arm"] == name]
        assert ("closed set %" in own) == (name == "bare")


def test_a_pair_of_classifiers_worked_by_hand() -> None:
    ours, theirs = answers(True, True, True, False), answers(True, False, False, True)
    row = comparisons.contrast_row("why", "label", 1, ours, theirs)
    assert (row["only_arm_right"], row["only_against_right"]) == (2, 1)
    assert row["difference"] == 0.25 and row["mcnemar_p"] == pytest.approx(1)
    assert row["z"] == pytest.approx(0.25 / np.sqrt(0.625 * 0.375 / 2))
