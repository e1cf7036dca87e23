"""Reading a classifier's free answer: four outcomes, never silently one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

OUTCOMES = ("right", "wrong", "no_answer", "truncated")


class Answer(NamedTuple):
    """A free answer, taken apart.

    Attributes:
        predicted: a label's name, or "" where none was written.
        outcome: right; wrong; no_answer (it ended, but with no valid label in its place);
            truncated (it reached the limit before it ended).
    """

    generated: str
    reasoning: str
    predicted: str
    outcome: str


def read_answer(
    generated: str,
    finish: str,
    label: str,
    labels: Sequence[str],
    target: str,
    separator: str | None,
) -> Answer:
    """Take an answer apart by its arm's form and hold it against the gold label.

    The label stands alone, after the last separator (reason_label), or before the first
    (label_reason); it counts if it equals a label when case and outer space are ignored.
    """
    reasoning, answered = "", generated
    if target == "reason_label" and separator is not None:
        reasoning, found, answered = generated.rpartition(separator)
        if not found:
            reasoning, answered = generated, ""
    elif target == "label_reason" and separator is not None:
        answered, _, reasoning = generated.partition(separator)
    names = {name.strip().casefold(): name for name in labels}
    predicted = names.get(answered.strip().casefold(), "") if finish == "stop" else ""
    if finish == "length":
        outcome = "truncated"
    elif not predicted:
        outcome = "no_answer"
    else:
        outcome = "right" if predicted == label else "wrong"
    return Answer(generated, reasoning.strip(), predicted, outcome)
