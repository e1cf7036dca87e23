"""Answers that vote: most win, of equals the earliest, and shares are chances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infuse.evaluation import scores, stats
from infuse.evaluation.votes import elected

LABELS = ["joy", "fear", "love"]
SAID = st.lists(st.sampled_from([*LABELS, ""]), min_size=2, max_size=9)


def drawn(said: list[str]) -> list[dict[str, Any]]:
    """Answers to one joyful text; "" for none that can be read."""
    outcomes = {"": "no_answer", "joy": "right"}
    return [
        {
            "id": 7, "text": "t", "label": "joy", "generated": f"{at} {name}", "predicted": name,
            "outcome": outcomes.get(name, "wrong"), "tokens": at + 1, "closed_set": "",
            "log_probabilities": [],
        }
        for at, name in enumerate(said)
    ]  # fmt: skip


@settings(max_examples=200)
@given(said=SAID)
def test_most_votes_win_and_of_equals_the_earliest(said: list[str]) -> None:
    answer, votes = elected(drawn(said), LABELS), [name for name in said if name]
    label = max(votes, key=votes.count) if votes else ""  # max gives the first of equals
    assert answer == drawn(said)[said.index(label)] | {
        "tokens": len(said) * (len(said) + 1) // 2, "closed_set": label,
        "log_probabilities": answer["log_probabilities"],
    }  # fmt: skip
    shares = [votes.count(name) / len(votes) if votes else 1 / 3 for name in LABELS]
    assert scores.chances([answer])[0] == pytest.approx(shares)


@given(said=SAID)
def test_what_can_not_be_read_moves_no_vote(said: list[str]) -> None:
    votes = [name for name in said if name]
    fewer = elected(drawn(votes or [""]), LABELS)
    for part in ("predicted", "outcome", "closed_set", "log_probabilities"):
        assert elected(drawn(said), LABELS)[part] == fewer[part]


@given(said=st.lists(st.sampled_from(["1", "4", ""]), min_size=2, max_size=9))
def test_a_text_without_a_vote_has_an_expected_rating(said: list[str]) -> None:
    scale = ["1", "2", "4"]
    rows = [
        elected([row | {"label": "4", "rating": 3.5} for row in drawn(answers)], scale)
        for answers in (said, ["4", "4"])
    ]
    votes = [int(name) for name in said if name] or [1, 2, 4]
    errors = scores.rating_errors(rows, scale)
    expected = (abs(sum(votes) / len(votes) - 3.5) + 0.5) / 2
    assert errors["expected_mae"] == pytest.approx(expected)
    assert ("mae" in errors) == any(said)


def test_a_text_that_was_not_asked_has_no_vote() -> None:
    row = drawn([""])[0] | {"outcome": "too_long", "tokens": 0}
    assert elected([row] * 3, LABELS) == row


@given(texts=st.lists(SAID, min_size=1, max_size=20))
def test_a_share_of_the_votes_is_a_confidence(texts: list[list[str]]) -> None:
    answers = [elected(drawn(said), LABELS) for said in texts]
    row = scores.classifier_row("a", 1, answers, {}, LABELS)
    shares = np.exp([answer["log_probabilities"] for answer in answers])
    assert row["closed_set_accuracy"] == row["accuracy"]
    assert row["closed_set_brier"] == pytest.approx(((shares - [1, 0, 0]) ** 2).sum(1).mean())
    won = [answer["predicted"] == "joy" for answer in answers]  # of a tie too
    error = stats.calibration_error(shares.max(1), np.array(won))
    assert row["closed_set_ece"] == pytest.approx(error)
    likelihood = shares[:, 0]
    if likelihood.all():
        assert row["closed_set_nll"] == pytest.approx(-np.log(likelihood).mean())
    else:
        assert row["closed_set_nll"] is None
