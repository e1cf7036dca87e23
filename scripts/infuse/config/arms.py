"""What a classifier learns to write, and what is done with it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator

from infuse.config.values import Columns, Name, PositiveInt, Section, Seed, Share
from infuse.data.perturbations import Kind
from infuse.data.targets import REASONED, Target


class LogitLens(Section):
    """Which classifiers are looked into, and at how many test texts; null: all of both."""

    arms: Annotated[list[Name], Field(min_length=1)] | None
    texts: PositiveInt | None
    normed: bool = Field(description="whether the final norm is applied in every layer")
    batch_rows: PositiveInt


class HeldOut(Section):
    """Training sets without a source, or a fold of the conversations, which is then the test.

    `folds`: of the training rows, by cluster.
    """

    sources: list[Columns] | None = Field(None, description="one, or several held out together")
    folds: Annotated[int, Field(ge=2)] | None = Field(None, validate_default=True)
    arms: Annotated[list[Name], Field(min_length=1)]

    @field_validator("folds")
    @classmethod
    def _one_of_both(cls, folds: int | None, info: ValidationInfo) -> int | None:
        sources = info.data.get("sources")
        if folds is None and not sources:
            raise ValueError(": missing, expected either this or held_out.sources")
        if folds is not None and sources:
            raise ValueError(": expected null, since held_out.sources is given")
        return folds


class Match(Section):
    """What an arm takes over from another arm.

    Its number of steps, over the same passes cut smaller or by repeating the rows; its number of
    supervised tokens, by a loss on the last tokens of the prompt too.
    """

    steps: str | None = None
    by: Literal["splitting", "repeating"] = "splitting"
    supervised_tokens: str | None = None


class Arm(Section):
    """How a training target is made, and with what budget."""

    target: Target
    reasons: str | None = None
    perturb: Kind | None = None
    label_weight: Share | None = None
    system: bool = True
    match: Match | None = None

    @property
    def reasoned(self) -> bool:
        """Whether a reasoning is part of the target."""
        return self.target in REASONED

    @field_validator("reasons", "perturb", "label_weight")
    @classmethod
    def _target_has_a_reasoning(cls, value: Any, info: ValidationInfo) -> Any:
        target = info.data.get("target")
        if value is not None and target in get_args(Target) and target not in REASONED:
            raise ValueError(f": a target of {target} has no reasoning")
        return value

    @field_validator("match")
    @classmethod
    def _match_makes_sense(cls, match: Match | None, info: ValidationInfo) -> Match | None:
        if match and not match.steps and not match.supervised_tokens:
            raise ValueError(": expected the name of an arm in steps or supervised_tokens")
        if match and match.by == "repeating" and (not match.steps or match.supervised_tokens):
            raise ValueError(".by: repeating goes with steps alone")
        if match and match.supervised_tokens and info.data.get("target") != "label":
            raise ValueError(".supervised_tokens: expected in an arm whose target is label")
        return match


class Regimes(Section):
    """Other training sets that the compared arms learn from: each a share, below 1 of the rows.

    `rows`: so many of the training rows. `label_noise`: so many labels are drawn from the others.
    `imbalance`: of all labels but the most frequent, so many rows are left. `cue`: so many texts
    begin with a word that stands for their label, and no test text does.
    """

    arms: list[Name] | None = Field(description="null: those of the first comparison")
    rows: list[Share]
    label_noise: list[Share]
    imbalance: list[Share]
    cue: list[Annotated[float, Field(gt=0, le=1)]]
    seed: Seed
