"""The reasoner, the classifier, and how it is read."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from infuse.config.messages import NOT_BLANK
from infuse.config.recipe import Recipe
from infuse.config.values import PositiveInt, Section, Seed


class Reasoner(Section):
    """Stage 1."""

    recipe: Recipe
    seed: Seed


class Separators(Section):
    """What stands between the two parts of a target. That of multi_task stands after a text that is
    asked for its reasoning.
    """

    reason_label: Annotated[str, Field(min_length=1)]
    label_reason: Annotated[str, Field(min_length=1)]
    multi_task: Annotated[str, Field(pattern=NOT_BLANK)]


class Classifier(Section):
    """Stage 2."""

    recipe: Recipe
    separators: Separators


class Prediction(Section):
    """How a classifier is read: greedy, at most `max_new_tokens`."""

    max_new_tokens: PositiveInt
    batch_rows: PositiveInt
