"""What a classifier learns to write, and what is done with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, PositiveFloat, ValidationInfo, field_validator

from infuse.config.messages import shown
from infuse.config.values import (
    DIFFERENT,
    Columns,
    Name,
    PositiveInt,
    Section,
    Seed,
    Share,
    unset,
)
from infuse.data.perturbations import Kind
from infuse.data.reasoning_checks import Check
from infuse.data.targets import EXPLAINED, REASONED, ZERO_SHOT, Target


class LogitLens(Section):
    """Which classifiers are looked into, and at how many test texts; null: all of both."""

    arms: Annotated[list[Name], Field(min_length=1), DIFFERENT] | None
    texts: PositiveInt | None
    normed: bool = Field(description="whether the final norm is applied in every layer")
    batch_rows: PositiveInt


class HeldOut(Section):
    """Training sets without a source, or a fold of the conversations, which is then the test.

    `folds`: of the training rows, by cluster. A source stands in one entry, since all are pooled.
    """

    sources: list[Columns] | None = Field(None, description="one, or several held out together")
    folds: Annotated[int, Field(ge=2)] | None = Field(None, validate_default=True)
    arms: Annotated[list[Name], Field(min_length=1), DIFFERENT]

    @field_validator("sources")
    @classmethod
    def _parts_differ(cls, sources: list[list[str]] | None) -> list[list[str]] | None:
        places: dict[str, int] = {}
        for index, names in enumerate(sources or ()):
            for name in names:
                if (first := places.setdefault(name, index)) < index:
                    raise ValueError(
                        f"[{index}]: expected sources of no other entry, found {shown(name)},"
                        f" which is in held_out.sources[{first}] (hold it out once, or in another"
                        " experiment)"
                    )
        return sources

    @field_validator("folds")
    @classmethod
    def _one_of_both(cls, folds: int | None, info: ValidationInfo) -> int | None:
        sources = info.data.get("sources", ...)
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


class Vote(Section):
    """Self-consistency (Wang et al. 2022, arXiv 2203.11171): so many drawn answers to each text
    vote for its label.
    """

    answers: Annotated[int, Field(ge=2, le=1000)]
    temperature: PositiveFloat = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Seed = 0


class Arm(Section):
    """How a training target is made, with what budget, and how it is asked."""

    target: Target
    reasons: str | None = None
    keep: Annotated[list[Check], DIFFERENT] = Field(
        [], description="texts whose reasoning passes all of these, alone"
    )
    perturb: Kind | None = None
    label_weight: Share | None = None
    label_smoothing: Share | None = Field(
        None,
        exclude_if=unset,
        description="what targets give up to all words alike (Szegedy et al., arXiv 1512.00567)",
    )
    system: bool = True
    match: Match | None = None
    vote: Vote | None = Field(None, exclude_if=unset, description="null: one greedy answer")

    @property
    def reasoned(self) -> bool:
        """Whether it learns from reasonings."""
        return self.target in REASONED

    @property
    def explained(self) -> bool:
        """Whether its answers hold a reasoning."""
        return self.target in EXPLAINED

    @property
    def one_answer(self) -> bool:
        """Whether it writes one answer to a text."""
        return self.target != "head" and self.vote is None

    @field_validator("reasons", "keep", "perturb", "label_weight")
    @classmethod
    def _target_has_a_reasoning(cls, value: Any, info: ValidationInfo) -> Any:
        target = info.data.get("target")
        if value not in (None, []) and target in get_args(Target) and target not in REASONED:
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

    @field_validator("vote")
    @classmethod
    def _reasons_first(cls, vote: Vote | None, info: ValidationInfo) -> Vote | None:
        if vote and info.data.get("target", "reason_label") != "reason_label":
            raise ValueError(": expected in an arm whose target is reason_label")
        return vote


class ZeroShotArm(Section):
    """A model that was not trained for the task, where an arm's name stands."""

    target: Literal["zero_shot"] = ZERO_SHOT


AnyArm = Annotated[Arm | ZeroShotArm, Field(discriminator="target")]


def roles(arms: Mapping[str, AnyArm]) -> dict[str, str | None]:
    """Which arm plays each part of table 3: the first of its form, or None."""

    def first(target: str, steps_of: str | None = None) -> str | None:
        return next((name for name, arm in arms.items() if _is_plain(arm, target, steps_of)), None)

    reasoning = first("reason_label")
    return {
        "zero-shot": first(ZERO_SHOT),
        "Q->A": first("label"),
        "Q->A, equal steps": first("label", steps_of=reasoning) if reasoning else None,
        "Q->RA": reasoning,
    }


def plain_label(arms: Mapping[str, AnyArm], name: str) -> str | None:
    """The label-only arm that an arm is held against: the first with the same system message, or
    else the first at all; None for itself, and where there is none.
    """
    alone = {other: arm for other, arm in arms.items() if arm.target == "label"}
    alike = [other for other, arm in alone.items() if _asked(arm) == _asked(arms[name])]
    reference = next(iter(alike or alone), None)
    return reference if reference != name else None


def _asked(arm: AnyArm) -> bool:
    """Whether a system message tells the model what is asked."""
    return arm.system if isinstance(arm, Arm) else True


def _is_plain(arm: AnyArm, target: str, steps_of: str | None) -> bool:
    """Whether an arm has that target and nothing of its own but, if so, another arm's steps."""
    if isinstance(arm, ZeroShotArm):
        return target == arm.target
    match = arm.match or Match()
    own: list[Any] = [arm.reasons, arm.keep, arm.perturb, arm.label_weight, arm.label_smoothing]
    own += [not arm.system, arm.vote, match.supervised_tokens, match.by == "repeating"]
    return arm.target == target and match.steps == steps_of and not any(own)


class Regimes(Section):
    """Other training sets that the compared arms learn from: each a share, below 1 of the rows.

    `rows`: so many of the training rows. `label_noise`: so many labels are drawn from the others.
    `imbalance`: of all labels but the most frequent, so many rows are left. `cue`: so many texts
    begin with a word that stands for their label, and no test text does.
    """

    arms: Annotated[list[Name], DIFFERENT] | None = Field(
        description="null: those of the first comparison"
    )
    rows: Annotated[list[Share], DIFFERENT]
    label_noise: Annotated[list[Share], DIFFERENT]
    imbalance: Annotated[list[Share], DIFFERENT]
    cue: Annotated[list[Annotated[float, Field(gt=0, le=1)]], DIFFERENT]
    seed: Seed
