"""The four questions, and what several judges make together."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infuse.config.judging import Rated
from infuse.data.judge_styles import STYLES
from infuse.evaluation import judges

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
EXAMPLES = [
    Rated(context="hi", response="hi {there}", score=5, explanation="It greets back."),
    Rated(context="hi", response="no", score=3, explanation="Short."),
    Rated(context="hi", response="x", score=1, explanation="No word."),
]
QUESTION = "fluency", "How it reads."


def asked(style: str, context: str = "so?", response: str = "so.") -> str:
    """The text of the one message."""
    messages = judges.question(style, *QUESTION, context, response, EXAMPLES)
    assert [set(message) for message in messages] == [{"role", "content"}]
    assert messages[0]["role"] == "user"
    return messages[0]["content"]


# Questions


@given(st.sampled_from(list(STYLES)), TEXT, TEXT)
def test_texts_stand_in_the_question_as_they_are(style: str, context: str, response: str) -> None:
    own = f"<context>\n{context}\n</context>\n\n<response>\n{response}\n</response>"
    assert asked(style, context, response).endswith(own)
    assert asked(style, "{score}", "{response} {0} %s").endswith(
        "<context>\n{score}\n</context>\n\n<response>\n{response} {0} %s\n</response>"
    )


def test_styles_differ_in_scale_and_examples() -> None:
    for style, (_, high, with_examples) in STYLES.items():
        text = asked(style)
        assert f"whole numbers from 1 to {high}" in text and "fluency: how it reads" in text.lower()
        assert ("hi {there}" in text) == with_examples
    four, five = (asked(f"one_to_{high}_examples") for high in ("four", "five"))
    shown = [[json.loads(line)["score"] for line in text.splitlines() if line.startswith('{"sc')
              and "<" not in line] for text in (four, five)]  # fmt: skip
    assert shown == [[4, 3, 1], [5, 3, 1]]
    assert len({asked(style) for style in STYLES}) == 4


def test_the_merger_is_told_the_mean_and_every_explanation() -> None:
    (message,) = judges.merge_question("on_topic", 10 / 3, ["It\ndrifts.", "{x}"])
    assert "on topic" in message["content"] and "3.33" in message["content"]
    assert "\n- It drifts.\n- {x}\n" in message["content"]


# Ratings


@given(st.floats(1, 4), st.floats(1, 4))
def test_rescaling_keeps_ends_and_order(a: float, b: float) -> None:
    assert [judges.rescaled(score, 1, 4) for score in (1, 2.5, 4)] == [1, 3, 5]
    assert (a <= b) == (judges.rescaled(a, 1, 4) <= judges.rescaled(b, 1, 4)) or a == b
    assert judges.rescaled(a, 1, 5) == a


SCORES = st.lists(st.sampled_from([(s, h) for h in (4, 5) for s in range(1, h + 1)]), min_size=1)


@given(SCORES)
def test_halves_of_a_mean_go_up(scores: list[tuple[int, int]]) -> None:
    exact = sum(1 + Fraction(4 * (s - 1), high - 1) for s, high in scores) / len(scores)
    mean = judges.merged_rating([judges.rescaled(s, 1, high) for s, high in scores])
    assert mean == pytest.approx(float(exact))
    assert judges.rounded(mean, 1, 5) == int(exact + Fraction(1, 2))


def test_rounding_stays_on_the_scale() -> None:
    rows = [(-3.0, 1), (1.49, 1), (1.5, 2), (2.5, 3), (4.4999999999, 5), (4.49, 4), (9.0, 5)]
    assert [judges.rounded(rating, 1, 5) for rating, _ in rows] == [label for _, label in rows]
    assert judges.merged_rating([]) is None


def test_the_nearest_explanation_is_the_first_of_equals() -> None:
    third = judges.rescaled(2, 1, 4), judges.rescaled(3, 1, 4)  # 7/3 and 11/3
    assert judges.nearest(["a", "b", "c"], [1, third[1], third[0]], 3.0) == "b"
    assert judges.nearest(["a", "b", "c"], [1, 3, 3], 2.9) == "b"


# Agreement


@given(st.lists(st.lists(st.sampled_from([1.0, 7 / 3, 3.0, np.nan]), min_size=3, max_size=3),
                min_size=1, max_size=5))  # fmt: skip
def test_means_of_others(rows: list[list[float]]) -> None:
    leave_one_out = judges.means_of_others(np.array(rows))
    for row, means in zip(rows, leave_one_out, strict=True):
        for at, mean in enumerate(means):
            others = [
                rating for place, rating in enumerate(row) if place != at and not np.isnan(rating)
            ]
            expected = np.mean(others) if others else np.nan
            np.testing.assert_allclose(mean, expected, atol=1e-9)


def test_agreement_of_known_columns() -> None:
    own = np.array([1.0, 2, 3, 4, np.nan, 5])
    others = np.array([2.0, 3, 4, 5, 1, np.nan])
    assert judges.agreement(own, others) == {
        "mean_absolute_difference": 1.0, "spearman": pytest.approx(1.0)
    }  # fmt: skip
    assert judges.agreement(own, np.full(6, 3.0))["spearman"] is None
    assert judges.agreement(own, np.full(6, np.nan))["mean_absolute_difference"] is None


def test_dimensions_by_source_and_over_all() -> None:
    ratings = np.array([[1, 1, 3.0], [2, 2, 2], [3, 3, 1], [1, 3, 5], [2, 2, np.nan], [3, 1, 5]])
    rows = list(judges.dimension_rows(ratings, ["b"] * 3 + ["a"] * 3, ["x", "y", "z"]))
    correlations = {(r["source"], r["dimension"], r["other"]): (r["n"], r["pearson"]) for r in rows}
    assert list(correlations)[::3] == [("all", "x", "y"), ("a", "x", "y"), ("b", "x", "y")]
    assert correlations["b", "x", "y"] == (3, pytest.approx(1)) == correlations["b", "x", "y"]
    assert correlations["b", "x", "z"] == (3, pytest.approx(-1))
    assert correlations["a", "x", "y"] == (3, pytest.approx(-1))
    assert correlations["all", "x", "y"] == (6, pytest.approx(0))
    assert correlations["a", "x", "z"] == (2, None)


def test_an_explanation_may_argue_for_another_score() -> None:
    words = {1: "nothing but noise", 2: "hardly any sense", 5: "excellent and clear"}
    scores = [1, 2, 5] * 40
    explanations = [words[score] for score in scores]
    explanations[:12] = [words[5], words[1], words[5], *[words[2], words[2], words[5]] * 3]
    clusters = [str(at) for at in range(len(scores))]
    summary = judges.argued(explanations, scores, clusters)
    assert summary["explanations"] == 120
    # Of the first three all, of which one by a single point; then each 1 that sounds like a 2.
    assert summary["argues_other"] == pytest.approx(5 / 120)
    assert summary["argues_far"] == pytest.approx(1 / 120)
    assert summary["dealt_other"] == pytest.approx(2 / 3, abs=0.02)
    assert summary["dealt_far"] == pytest.approx(4 / 9, abs=0.02)
    assert judges.argued(["fine"] * 9, [3] * 9, clusters[:9]) == {"explanations": 0}
    assert judges.argued([], [], []) == {"explanations": 0}


def test_explanations_of_one_context_are_not_read_by_a_model_that_knows_them() -> None:
    """A word tells the score of one context's explanations, and of no others."""
    clusters = [str(at // 6) for at in range(240)]
    scores = [1 + 4 * (int(cluster) % 2) for cluster in clusters]
    own = [f"word{cluster}" for cluster in clusters]
    assert judges.argued(own, scores, clusters)["argues_other"] > 0.3
    assert judges.argued(own, scores, [str(at) for at in range(240)])["argues_other"] < 0.1
