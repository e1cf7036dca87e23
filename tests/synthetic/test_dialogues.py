"""Generated conversations: their text tells their quality, and judges argue from it."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infuse.core.errors import UserError
from infuse.synthetic import dialogues
from infuse.synthetic.dialogues import DIMENSIONS, LEVELS, STYLES, conversations, opinion, truth

SEEDS = st.integers(0, 2**32)
STYLE = st.sampled_from(STYLES)
FAIR = {"bias": 0.0, "noise": 0.0, "faults": 0.0}


@settings(max_examples=40)
@given(rows=st.integers(0, 40), more=st.integers(0, 10), style=STYLE, seed=SEEDS)
def test_the_text_tells_the_quality_that_was_meant(
    rows: int, more: int, style: str, seed: int
) -> None:
    exchanges = conversations(rows + more, style, seed)
    assert exchanges[:rows] == conversations(rows, style, seed)
    for exchange in exchanges:
        assert truth(exchange.context, exchange.response) == exchange.quality
        assert all(1 <= exchange.quality[dimension] <= 5 for dimension in DIMENSIONS)
        assert 12 <= len(f"{exchange.context} {exchange.response}".split()) <= 80


@pytest.mark.parametrize(
    ("response", "quality"),
    [
        ("the price is ten . no idea about the colour .", (5, 3, 5)),
        ("oh , the price is ten . its colour is red .", (5, 5, 5)),
        ("the price is ten . our shop opens at nine . its colour is red .", (5, 5, 4)),
        ("no idea about the price . ask somebody else about the colour .", (5, 1, 5)),
        ("the uh price is hm ten . its colour is red .", (3, 5, 5)),
        ("uh the price is ten . its erm uh colour is aw red .", (1, 5, 5)),
    ],
)
def test_each_flaw_counts(response: str, quality: tuple[float, ...]) -> None:
    asked = "hello , what is the price and the colour of the lamp ?"
    assert truth(asked, response) == dict(zip(DIMENSIONS, quality, strict=True))


@pytest.mark.parametrize("context", ["what is the price of the lamp ?", "how do you do"])
@pytest.mark.parametrize(
    "response", ["It is cheap.", "", "the price is cheap .", "its size is huge ."]
)
def test_other_texts_are_refused(context: str, response: str) -> None:
    with pytest.raises(UserError, match="simulated judges rate generated conversations alone"):
        truth(context, response)


@given(seed=SEEDS)
@settings(max_examples=5)
def test_chosen_and_rejected_reply_to_the_same_contexts(seed: int) -> None:
    chosen, rejected = (conversations(400, f"help_{side}", seed) for side in ("chosen", "rejected"))
    assert [exchange.context for exchange in chosen] == [exchange.context for exchange in rejected]
    for dimension in DIMENSIONS:
        better, worse = (
            np.mean([exchange.quality[dimension] for exchange in exchanges])
            for exchanges in (chosen, rejected)
        )
        assert better > worse + 0.7


def test_the_styles_have_ratings_of_their_own() -> None:
    means = {}
    for style in STYLES:
        exchanges = conversations(1000, style, 3)
        for dimension in DIMENSIONS:
            counts = Counter(round(exchange.quality[dimension]) for exchange in exchanges)
            assert max(counts.values()) < 600, (style, dimension, counts)
            assert min(counts[1], counts[5]) > 10
        means[style] = [
            np.mean([exchange.quality[dimension] for exchange in exchanges])
            for dimension in DIMENSIONS
        ]
    for style, other in zip(STYLES, [*STYLES[1:], STYLES[0]], strict=True):
        assert np.abs(np.subtract(means[style], means[other])).max() > 0.25, (style, other)


def test_the_vocabulary_is_small_and_clauses_differ() -> None:
    words: set[str] = set()
    for style in STYLES:
        for exchange in conversations(1000, style, 0):
            words |= {*exchange.context.split(), *exchange.response.split()}
            for dimension in DIMENSIONS:
                reply = opinion(exchange.context, exchange.response, dimension, 1, 5, FAIR, 0)
                words |= {*json.loads(reply)["explanation"].split()}
    assert len(words) < 400
    kinds = (dialogues._FILLERS, dialogues._DODGED, dialogues._ANSWERS)
    forms = {clause for kind in kinds for clause in kind}
    assert len(forms) == sum(map(len, kinds))
    assert all(len(clause.split()) >= 4 for clause in forms)
    assert not {*dialogues._HESITATIONS} & {word for clause in forms for word in clause.split()}


# Judges ------------------------------------------------------------------------------------------

SCALES = st.sampled_from([(1, 5), (1, 4), (0, 10)])


@settings(max_examples=60)
@given(style=STYLE, seed=SEEDS, scale=SCALES, dimension=st.sampled_from(DIMENSIONS))
def test_a_judge_without_noise_gives_the_truth_and_argues_for_it(
    style: str, seed: int, scale: tuple[int, int], dimension: str
) -> None:
    (exchange,) = conversations(1, style, seed)
    verdict = json.loads(opinion(exchange.context, exchange.response, dimension, *scale, FAIR, 0))
    low, high = scale
    exact = low + (exchange.quality[dimension] - 1) / 4 * (high - low)
    assert abs(verdict["score"] - exact) <= 0.5
    words = verdict["explanation"].split()
    level = words[-2]
    assert abs(LEVELS.index(level) - (verdict["score"] - low) / (high - low) * 4) <= 0.5
    assert 8 <= len([word for word in words if word not in (".", ",")]) <= 20
    assert not any(character.isdigit() for character in verdict["explanation"])
    faultless = ("the words flow", "the reply covers", "every clause is about")
    assert verdict["explanation"].startswith(faultless) == (exchange.quality[dimension] == 5)


def test_evidence_stands_in_the_text() -> None:
    context = "hello , what is the price and the colour of the lamp ?"
    response = "the uh price is ten . no hm idea about the colour . our shop opens at nine ."
    said = {
        dimension: json.loads(opinion(context, response, dimension, 1, 5, FAIR, 0))["explanation"]
        for dimension in DIMENSIONS
    }
    assert "the speaker says uh and the speaker says hm" in said["naturalness"]
    assert "colour is not answered" in said["comprehensiveness"]
    assert "nobody asked about the shop" in said["on_topic"]


def test_bias_noise_and_faults_are_as_stated_and_nothing_else_matters() -> None:
    exchanges = conversations(4000, "help_rejected", 1)
    middle = [exchange for exchange in exchanges if exchange.quality["comprehensiveness"] == 3]
    judge = {"bias": -0.5, "noise": 0.6, "faults": 0.3}

    def replies(judge: dict[str, float], draw: int = 0) -> list[str]:
        return [
            opinion(exchange.context, exchange.response, "comprehensiveness", 0, 40, judge, draw)
            for exchange in middle
        ]

    first = replies(judge)
    assert first == replies(judge)
    scores = [json.loads(reply)["score"] for reply in first if reply.startswith("{")]
    rated = [1 + score / 10 for score in scores if score <= 40]
    assert len(rated) / len(first) == pytest.approx(0.7, abs=0.06)
    assert np.mean(rated) == pytest.approx(2.5, abs=0.1)
    assert np.std(rated) == pytest.approx(0.6, abs=0.06)
    prose = Counter(reply for reply in first if not reply.startswith("{"))
    for fault in (len(scores) - len(rated), *prose.values()):
        assert fault / len(first) == pytest.approx(0.1, abs=0.04)
    assert len(prose) == 2 and prose[""]
    for other in (
        replies(judge | {"bias": -0.4}),
        replies(judge | {"name": 1.0}),
        replies(judge, 1),
    ):
        same = sum(before == after for before, after in zip(first, other, strict=True))
        assert same < len(first) / 3
