"""The reasoner, the classifier, and how it is read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from infuse.config.compute import Compute
from infuse.config.recipe import Recipe
from infuse.config.values import PositiveInt, Section, Seed
from infuse.data.targets import Target


class Reasoner(Section):
    """Stage 1."""

    recipe: Recipe
    seed: Seed


class Separators(Section):
    """What stands between the two parts of a target."""

    reason_label: Annotated[str, Field(min_length=1)]
    label_reason: Annotated[str, Field(min_length=1)]


class Classifier(Section):
    """Stage 2."""

    recipe: Recipe
    separators: Separators


class Prediction(Section):
    """How a classifier is read: greedy, at most `max_new_tokens`."""

    max_new_tokens: PositiveInt
    batch_rows: PositiveInt


class Chat(Section):
    """What stands around a text: the system message, and the date that a template may print."""

    system: str
    date_string: str


class TargetForm(Section):
    """How an arm is asked and what it answers."""

    chat: Chat
    target: Target
    separator: str | None


class Matched(Section):
    """The forms of the arms whose steps or supervised tokens an arm takes over."""

    steps: TargetForm | None = None
    by: Literal["splitting", "repeating"] = "splitting"
    supervised_tokens: TargetForm | None = None


class ClassifierTraining(TargetForm):
    """All that a classifier's training depends on, but for its inputs."""

    label_weight: float | None
    recipe: Recipe
    seed: Seed
    match: Matched
    compute: Compute
