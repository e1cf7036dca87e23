"""Free answers: four outcomes, and what never counts as an answer."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infuse.data.answers import OUTCOMES, Answer, read_answer, read_reply

LABELS = ["sadness", "joy", "Very Angry", "fear"]
FIRST, LAST = "\n\nReasoning: ", "\n\nEmotion: "
SEPARATORS = {"label": None, "reason_label": LAST, "label_reason": FIRST}

FORMS = st.sampled_from(sorted(SEPARATORS))
GOLD = st.sampled_from(LABELS)
BLANKS = st.text(" \t\n\u00a0", max_size=4)
PROSE = st.lists(
    st.one_of(st.sampled_from([*LABELS, " ", FIRST, LAST, "Emotion:", "."]), st.text(max_size=6))
).map("".join)


def read(generated: str, target: str, label: str = "joy", finish: str = "stop") -> Answer:
    answer = read_answer(generated, finish, LABELS, target, SEPARATORS[target])
    return Answer(**answer.against(label))


def compose(target: str, reason: str, answered: str) -> str:
    """What a classifier of this form writes."""
    parts = {
        "label": answered,
        "reason_label": reason + LAST + answered,
        "label_reason": answered + FIRST + reason,
    }
    return parts[target]


@given(generated=PROSE, target=FORMS, gold=GOLD, finish=st.sampled_from(["stop", "length"]))
def test_an_answer_has_one_outcome_and_it_agrees_with_what_was_predicted(
    generated: str, target: str, gold: str, finish: str
) -> None:
    answer = read(generated, target, gold, finish)
    assert answer.generated == generated
    assert OUTCOMES.count(answer.outcome) == 1
    begun = target == "label_reason" and FIRST in generated
    assert (answer.outcome == "truncated") == (finish == "length" and not begun)
    assert (answer.predicted != "") == (answer.outcome in ("right", "wrong"))
    assert (answer.outcome == "right") == (answer.predicted == gold)
    assert answer.predicted in ["", *LABELS]


@given(reason=PROSE, target=FORMS, gold=GOLD, said=GOLD, before=BLANKS, after=BLANKS)
def test_the_label_in_its_place_is_read_whatever_the_reasoning_says(
    reason: str, target: str, gold: str, said: str, before: str, after: str
) -> None:
    for spelling in (said, said.upper(), said.lower(), said.title()):
        answer = read(compose(target, reason, before + spelling + after), target, gold)
        assert answer.predicted == said
        assert answer.outcome == ("right" if said == gold else "wrong")
        assert answer.reasoning == ("" if target == "label" else reason.strip())


@settings(max_examples=200)
@given(reason=PROSE, target=FORMS, gold=GOLD, answered=st.text(max_size=12))
def test_what_is_no_label_is_no_answer(reason: str, target: str, gold: str, answered: str) -> None:
    names = {name.casefold() for name in LABELS}
    answer = read(compose(target, reason, answered), target, gold)
    known = answered.strip().casefold() in names
    assert (answer.outcome == "no_answer") == (not known)


@given(reason=PROSE.filter(lambda text: LAST not in text), gold=GOLD)
def test_labels_in_a_reasoning_without_separator_do_not_count(reason: str, gold: str) -> None:
    answer = read(f"{reason}{gold}", "reason_label", gold)
    assert (answer.outcome, answer.predicted) == ("no_answer", "")
    assert answer.reasoning == (reason + gold).strip()


@pytest.mark.parametrize(
    ("target", "generated", "finish", "predicted", "outcome", "reasoning"),
    [
        ("label", "joy", "stop", "joy", "right", ""),
        ("label", " Joy\n", "stop", "joy", "right", ""),
        ("label", "fear", "stop", "fear", "wrong", ""),
        ("label", "very angry", "stop", "Very Angry", "wrong", ""),
        ("label", "VERY  ANGRY", "stop", "", "no_answer", ""),
        ("label", "joyful", "stop", "", "no_answer", ""),
        ("label", "joy.", "stop", "", "no_answer", ""),
        ("label", "the emotion is joy", "stop", "", "no_answer", ""),
        ("label", "joy fear", "stop", "", "no_answer", ""),
        ("label", "", "stop", "", "no_answer", ""),
        ("label", "  \n", "stop", "", "no_answer", ""),
        ("label", "joy", "length", "", "truncated", ""),
        ("label", "", "length", "", "truncated", ""),
        ("reason_label", f"so.{LAST}joy", "stop", "joy", "right", "so."),
        ("reason_label", f"so.{LAST} JOY ", "stop", "joy", "right", "so."),
        ("reason_label", f"joy, joy{LAST}fear", "stop", "fear", "wrong", "joy, joy"),
        ("reason_label", f"{LAST}joy", "stop", "joy", "right", ""),
        ("reason_label", "joy", "stop", "", "no_answer", "joy"),
        ("reason_label", "it is joy. Emotion: joy", "stop", "", "no_answer",
         "it is joy. Emotion: joy"),
        ("reason_label", f"so.{LAST}", "stop", "", "no_answer", "so."),
        ("reason_label", f"so.{LAST}joy{LAST}", "stop", "", "no_answer", f"so.{LAST}joy"),
        ("reason_label", f"a{LAST}fear{LAST}joy", "stop", "joy", "right", f"a{LAST}fear"),
        ("reason_label", f"so.{LAST}joy and more", "stop", "", "no_answer", "so."),
        ("reason_label", f"so.{LAST}joy", "length", "", "truncated", "so."),
        ("reason_label", "so so so", "length", "", "truncated", "so so so"),
        ("label_reason", f"joy{FIRST}so.", "stop", "joy", "right", "so."),
        ("label_reason", f"fear{FIRST}not joy", "stop", "fear", "wrong", "not joy"),
        ("label_reason", f"joy{FIRST}a{FIRST}b", "stop", "joy", "right", f"a{FIRST}b"),
        ("label_reason", f"{FIRST}joy", "stop", "", "no_answer", "joy"),
        ("label_reason", f"glad{FIRST}joy", "stop", "", "no_answer", "joy"),
        ("label_reason", "joy", "stop", "joy", "right", ""),
        ("label_reason", f"joy{FIRST}so so", "length", "joy", "right", "so so"),
        ("label_reason", f"glad{FIRST}so so", "length", "", "no_answer", "so so"),
        ("label_reason", "joy joy", "length", "", "truncated", ""),
    ],
)  # fmt: skip
def test_table(
    target: str, generated: str, finish: str, predicted: str, outcome: str, reasoning: str
) -> None:
    assert read(generated, target, "joy", finish) == Answer(
        generated, reasoning, predicted, outcome
    )


@pytest.mark.parametrize(
    ("generated", "finish", "predicted", "outcome"),
    [
        ("joy", "stop", "joy", "answered"),
        ("Joy.", "stop", "joy", "answered"),
        ("**JOY**", "stop", "joy", "answered"),
        ("The emotion is joy, pure joy!", "stop", "joy", "answered"),
        ("very angry", "stop", "Very Angry", "answered"),
        ("not glad", "stop", "", "no_answer"),
        ("joyful", "stop", "", "no_answer"),
        ("joy, not fear", "stop", "", "no_answer"),
        ("", "stop", "", "no_answer"),
        ("joy", "length", "", "truncated"),
    ],
)
def test_replies_of_untrained_models(
    generated: str, finish: str, predicted: str, outcome: str
) -> None:
    assert read_reply(generated, finish, LABELS) == Answer(generated, "", predicted, outcome)


@given(
    name=st.sampled_from(["not_toxic", "non-toxic", "toxic", "tr\u00e8s toxique", "-1"]),
    between=st.sampled_from([" ", "_", "-", "\u2011", " \n"]),
    around=st.sampled_from([("", ""), ("_", "_"), ("__", "__."), ("**", "**"), ("It is ", "!")]),
    form=st.sampled_from(["NFC", "NFD"]),
    kept=st.sampled_from(["NFC", "NFD"]),
)
def test_a_reply_names_a_label_however_it_is_written(
    name: str, between: str, around: tuple[str, str], form: str, kept: str
) -> None:
    names = ["not_toxic", "non-toxic", "toxic", "tr\u00e8s toxique", "toxique", "-1", "1"]
    labels = [unicodedata.normalize(kept, label) for label in names]
    written = name[0] + name[1:].replace("_", between).replace("-", between).replace(" ", between)
    said = unicodedata.normalize(form, f"{around[0]}{written.upper()}{around[1]}")
    predicted = read_reply(said, "stop", labels).predicted
    assert predicted == unicodedata.normalize(kept, name)


@pytest.mark.parametrize(
    ("said", "predicted"),
    [("very low", "very low"), ("Very_low", "very_low"), ("very-low", ""), ("not_very_low", "")],
)
def test_labels_that_differ_in_what_parts_their_words(said: str, predicted: str) -> None:
    assert read_reply(said, "stop", ["very_low", "very low"]).predicted == predicted


def test_a_label_inside_another_does_not_count() -> None:
    assert read_reply("it is not joy", "stop", ["joy", "not joy"]).predicted == "not joy"
    assert read_reply("4", "stop", ["4", "4.5", "14"]).predicted == "4"
    assert read_reply("4.5", "stop", ["4", "4.5", "14"]).predicted == "4.5"


@pytest.mark.parametrize(
    ("said", "predicted"),
    [
        ("Rating: 4.", "4"), ("**4**", "4"), ("(4)", "4"), ("4, I think", "4"),
        ("3.9", ""), ("0.3", ""), ("-2", ""), ("4/5", ""), ("4/10", ""), ("3-4", ""), ("4,2", ""),
    ],
)  # fmt: skip
def test_a_part_of_a_number_is_no_label(said: str, predicted: str) -> None:
    assert read_reply(said, "stop", ["1", "2", "3", "4", "5"]).predicted == predicted


@pytest.mark.parametrize("said", ["**Not** toxic", "not (toxic)", 'not "toxic"', "not \u2018toxic"])
def test_marks_between_the_words_of_a_label_part_them(said: str) -> None:
    assert read_reply(said, "stop", ["toxic", "not_toxic"]).predicted == "not_toxic"
