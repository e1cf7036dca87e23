"""Reading a model's free answer: four outcomes, never silently one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from infuse.data.labels import naming, unparted
from infuse.data.texts import folded

OUTCOMES = ("right", "wrong", "no_answer", "truncated", "too_long")


class Answer(NamedTuple):
    """A free answer, taken apart.

    Attributes:
        predicted: a label's name, or "" where none was written.
        outcome: answered; no_answer (it ended, but with no valid label in its place); truncated
            (it reached the limit before it ended); too_long (it was not asked: text and label do
            not fit in the model's positions).
    """

    generated: str
    reasoning: str
    predicted: str
    outcome: str

    def against(self, label: str) -> dict[str, str]:
        """The answer as a row, with an outcome of `OUTCOMES`: held against the gold label."""
        judged = "right" if self.predicted == label else "wrong"
        return self._asdict() | ({"outcome": judged} if self.outcome == "answered" else {})


def read_answer(
    generated: str, finish: str, labels: Sequence[str], target: str, separator: str | None
) -> Answer:
    """Take a classifier's answer apart by its arm's form.

    The label stands alone, after the last separator (reason_label), or before the first
    (label_reason), where it is whole however long the reasoning goes on; it counts if it equals a
    label when case and outer space are ignored.
    """
    reasoning, answered = "", generated
    if target == "reason_label" and separator is not None:
        reasoning, split, answered = generated.rpartition(separator)
        if not split:
            reasoning, answered = generated, ""
    elif target == "label_reason" and separator is not None:
        answered, split, reasoning = generated.partition(separator)
        finish = "stop" if split else finish
    names = {name.strip().casefold(): name for name in labels}
    return _answer(generated, reasoning.strip(), names.get(answered.strip().casefold(), ""), finish)


def read_reply(generated: str, finish: str, labels: Sequence[str]) -> Answer:
    """Take the reply, without its thoughts, of a model that was not trained for the form.

    It counts for the one label that stands in it as a word, in any case and Unicode form, whatever
    parts the words of its name; a reply that names none or several is no answer. A label inside a
    longer one (joy in "not joy") is not counted.
    """
    exact = {folded(name): name for name in labels}
    alike: dict[str, set[str]] = {}
    for name in labels:
        alike.setdefault(unparted(name), set()).add(name)
    named: set[str] = set()
    for said in re.findall(naming(exact, longer=False), folded(generated)):
        named |= {exact[said]} if said in exact else alike[unparted(said)]
    return _answer(generated, "", named.pop() if len(named) == 1 else "", finish)


def _answer(generated: str, reasoning: str, predicted: str, finish: str) -> Answer:
    if finish == "length":
        return Answer(generated, reasoning, "", "truncated")
    return Answer(generated, reasoning, predicted, "answered" if predicted else "no_answer")
