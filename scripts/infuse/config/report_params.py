"""What specs tell the stages of numbers, tables and figures, and the forecast.

See `model_params`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from infuse.config.arms import AnyArm
from infuse.config.compute import Distributed
from infuse.config.model_params import (
    ClassifierParams,
    PredictionsParams,
    ReasonerParams,
    TargetForm,
    WrittenParams,
)
from infuse.config.recipe import Recipe
from infuse.config.values import PositiveInt, Section, Seed
from infuse.core.gpu_models import GpuName


class ArmsOfSeeds(Section):
    """Of `layers`, and part of what the others are told: the arms, each trained with each seed."""

    arms: dict[str, AnyArm]
    seeds: list[Seed]


class MetricsParams(ArmsOfSeeds):
    """Of `metrics`, `figures` and `browse`; the pairs of arms that are compared."""

    comparisons: list[Annotated[tuple[str, str], Field(strict=False)]]


class Recipes(Section):
    """Of both stages."""

    reasoner: Recipe
    classifier: Recipe


class TablesParams(MetricsParams):
    """Of `tables`; `setting` is what produced our numbers, in the words of `fidelity`."""

    setting: dict[str, str]
    recipes: Recipes


class ArmsParams(MetricsParams):
    """Of `arms`: kind and share of each regime; name of each control, and what it must show."""

    regimes: list[Annotated[tuple[str, float], Field(strict=False)]]
    controls: list[Annotated[tuple[str, Literal["gain", "none"]], Field(strict=False)]]


class VerdictParams(ArmsOfSeeds):
    """Of `verdict`: the arm that is asked about, and the arm that it is held against."""

    pair: Annotated[tuple[str, str], Field(strict=False)] | None


class HeldOutParts(Section):
    """Kind and name of each part that is held out, and the arms that are trained without it."""

    parts: list[Annotated[tuple[Literal["source", "fold"], str], Field(strict=False)]]
    arms: list[str]


class QualityParams(ArmsOfSeeds):
    """Of `quality`."""

    held_out: HeldOutParts


# The forecast


class TrainingForecast(Section):
    """Trainings that are alike but for the seed.

    Attributes:
        sets: role of a training set -> its name among the forecast's inputs.
        limits: role -> the most tokens of a reasoning; 0: none is in it, None: not limited.
    """

    name: str
    runs: PositiveInt
    sets: dict[str, str]
    limits: dict[str, int | None]


class ReasonerForecast(TrainingForecast):
    """The training of a reasoner."""

    stage: Literal["reasoner"]
    params: ReasonerParams


class ClassifierForecast(TrainingForecast):
    """The trainings of an arm."""

    stage: Literal["classifier"]
    params: ClassifierParams


class ReasoningsForecast(Section):
    """The writing of reasonings."""

    stage: Literal["reasonings"]
    name: str
    runs: PositiveInt
    params: WrittenParams


class PredictionsForecast(Section):
    """The answers of an arm's classifiers, one for each seed."""

    stage: Literal["predictions"]
    name: str
    runs: PositiveInt
    params: PredictionsParams
    form: TargetForm


class ForecastParams(Section):
    """Of `forecast`."""

    gpu: GpuName | None
    gpu_price: float | None
    distributed: Distributed
    trainings: list[Annotated[ReasonerForecast | ClassifierForecast, Field(discriminator="stage")]]
    writings: list[
        Annotated[ReasoningsForecast | PredictionsForecast, Field(discriminator="stage")]
    ]
