"""Which label a reasoning argues for, as a linear model of its words reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from infuse.data.linear_text import linear_model
from infuse.data.splits import drawn
from infuse.evaluation.scores import Row

MOST_READ = 2000  # training reasonings that the model learns from


class Heard(NamedTuple):
    """What is read out of reasonings.

    Attributes:
        labels: of each reasoning; "" of an empty one.
        known: how often the label of a validation reasoning is read; None where there are none.
    """

    labels: list[str]
    known: float | None


def heard(train: Sequence[Row], validation: Sequence[Row], reasonings: Sequence[str]) -> Heard:
    """The label that each reasoning argues for, read by a model that learned from training ones.

    The model errs too. How often it does is told by validation reasonings, which were written for
    a known label and which it has not seen.

    Args:
        train: rows with `reasoning` and `label`, as `validation`.
    """
    known = [train[place] for place in drawn([row["reasoning"] for row in train], MOST_READ)]
    model = linear_model([row["reasoning"] for row in known], [row["label"] for row in known])
    if model is None or not reasonings:
        return Heard([""] * len(reasonings), None)
    said = model.predict(list(reasonings))
    read = [
        str(label) if text.strip() else "" for text, label in zip(reasonings, said, strict=True)
    ]
    if not validation:
        return Heard(read, None)
    right = model.predict([row["reasoning"] for row in validation])
    agreed = sum(a == row["label"] for a, row in zip(right, validation, strict=True))
    return Heard(read, agreed / len(validation))
