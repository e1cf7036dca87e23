"""What a linear model reads out of reasonings."""

from __future__ import annotations

import pytest

from infuse.evaluation import arguments
from infuse.evaluation.arguments import heard

SAID = {"joy": "the smile is a sign", "fear": "the dark is near"}
TRAIN = [
    {"label": label, "reasoning": f"{said} {at}x"}
    for at in range(9)
    for label, said in SAID.items()
]


def test_a_reasoning_is_heard_as_the_label_that_its_words_go_with() -> None:
    hearing = heard(TRAIN, TRAIN[:4], ["in the dark", "", "a smile"])
    assert hearing.labels == ["fear", "", "joy"] and hearing.known == 1


def test_how_often_it_is_right_is_told_by_reasonings_it_has_not_seen() -> None:
    others = [{"label": "joy", "reasoning": said} for said in SAID.values()]
    assert heard(TRAIN, others, ["x"]).known == 0.5
    assert heard(TRAIN, [], ["x"]).known is None


def test_a_training_set_that_is_sorted_by_label_is_read_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arguments, "MOST_READ", 9)
    ordered = sorted(TRAIN, key=lambda row: row["label"])
    assert heard(ordered, [], ["in the dark", "a smile"]).labels == ["fear", "joy"]
    assert heard(ordered[::-1], [], ["in the dark", "a smile"]).labels == ["fear", "joy"]


def test_of_one_label_nothing_is_read() -> None:
    assert heard(TRAIN[:1], TRAIN, ["in the dark"]) == ([""], None)
