"""Replies of all kinds, and what is read of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infuse.evaluation.judge_replies import OUTCOMES, Judgment, read

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


def rated(score: float, explanation: str = "") -> Judgment:
    return Judgment(score, explanation, "rated")


def no(outcome: str) -> Judgment:
    return Judgment(None, "", outcome)


REPLIES = {
    '```json\n{"score": 4, "explanation": "It is\nfine."}\n```\nAnything else?': rated(
        4, "It is\nfine."
    ),
    'So: {"Score": "4/5", "Explanation": " Fine. "}': rated(4, "Fine."),
    '{"fluency": {"score": 3.5, "explanation": "So so."}}': rated(3.5, "So so."),
    '{"note": "{}"} {"score": 2, "explanation": "Score: 5"}': rated(2, "Score: 5"),
    "{'score': 4, 'explanation': 'It's fine.'}": rated(4, "It's fine."),
    '{"score": 4, "explanation": "He said "no"."}': rated(4, 'He said "no".'),
    '{"score": 3}': rated(3),
    '{"score": 3, "explanation": ["a"]}': rated(3),
    '{"score": 3, "explanation": "\\ud83d"}': rated(3, "?"),
    "Score: 4\nExplanation: It is fine.": rated(4, "It is fine."),
    "Explanation: It is fine.\nScore: 4": rated(4, "It is fine."),
    "**Score:** 4/5\n\nIt is fine.": rated(4, "It is fine."),
    "Score (1-5): 4 \u2013 it is fine": rated(4, "it is fine"),
    "The score for on-topic adherence is 2.5.": rated(
        2.5, "The score for on-topic adherence is 2.5."
    ),
    "4/5 It is fine.": rated(4, "It is fine."),
    "It answers well, so I say 4 out of 5.": rated(4, "It answers well, so I say 4 out of 5."),
    "Rating: 4. It answers 2/3 of it.": rated(4, "It answers 2/3 of it."),
    "\n 4 \nIt is fine.": rated(4, "It is fine."),
    "Score: 4, that is 4/5": rated(4, "that is 4/5"),
    '{"score": 4} and {"score": 3}': no("no_score"),
    '{"score": 4, "score": 3}': no("no_score"),
    '{"score": null, "explanation": "4/5"}': no("no_score"),
    '{"score": true}': no("no_score"),
    '{"score": NaN}': no("no_score"),
    "Score: 4. Or 3/5.": no("no_score"),
    "Score: 1-5": no("no_score"),
    "a score of 1 to 5": no("no_score"),
    "Score: 4,5": no("no_score"),
    "1. It reads well.\n2. It is short.": no("no_score"),
    "It is fine.": no("no_score"),
    '{"score": <a whole number from 1 to 5>}': no("no_score"),
    '{"score": 0}': no("out_of_range"),
    '{"score": 5.5}': no("out_of_range"),
    '{"score": 1e999}': no("out_of_range"),
    "Score: -1": no("out_of_range"),
    "4/10": no("out_of_range"),
    " \n": no("empty"),
}


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: reply[:40])
def test_a_reply_of_each_kind(reply: str) -> None:
    assert read(reply, "stop", 1, 5) == REPLIES[reply]
    assert read(reply, "length", 1, 5) == no("truncated")


def test_replies_without_end() -> None:
    endless = ["{", '{"a":', '[{"a":', "score ", "score (", "4 ", "4/", "{'score':", "\n"]
    assert {read(part * 9000, "stop", 1, 5).outcome for part in endless} == {"no_score", "empty"}
    for form in ('{"score": %s}', "Score: %s", "%s", "%s/5"):
        assert read(form % ("9" * 9000), "stop", 1, 5) == no("out_of_range")


@given(st.integers(1, 5), TEXT, TEXT.filter(lambda text: "{" not in text), st.booleans())
def test_an_object_is_found_wherever_it_stands(
    score: int, explanation: str, around: str, fenced: bool
) -> None:
    form = json.dumps({"score": score, "explanation": explanation}, ensure_ascii=fenced)
    text = f"{around}\n```json\n{form}\n```" if fenced else f"{form} {around}"
    assert read(text, "stop", 1, 5) == rated(score, explanation.strip())


@given(st.lists(st.sampled_from([*REPLIES, '{"score": ', "4", "score", "/5", ":", "}", "\n"])))
def test_what_is_read_is_on_the_scale_or_nothing(pieces: list[str]) -> None:
    for low, high in ((1, 4), (1, 5)):
        judgment = read("".join(pieces), "stop", low, high)
        assert judgment.outcome in OUTCOMES
        assert (judgment.score is not None) == (judgment.outcome == "rated")
        assert judgment.score is None or low <= judgment.score <= high
        assert judgment.score is not None or judgment.explanation == ""
        judgment.explanation.encode()


@given(st.text(max_size=80))
def test_any_text_is_read(text: str) -> None:
    read(text, "stop", 1, 5).explanation.encode()
