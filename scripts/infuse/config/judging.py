"""Who rates conversations, on what."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from infuse.config.values import DIFFERENT, Name, PartName, PositiveInt, Section, Seed
from infuse.data.judge_styles import STYLES, StyleName


class SimulatedJudge(Section):
    """A judge of generated conversations: their quality with a bias and normal noise on it; of its
    replies a share has a fault.
    """

    kind: Literal["simulated"]
    bias: float = 0.0
    noise: Annotated[float, Field(ge=0)] = 0.5
    faults: Annotated[float, Field(ge=0, lt=1)] = 0.0


class AskedJudge(Section):
    """A model behind an endpoint."""

    kind: Literal["endpoint"]
    endpoint: str


class Rated(Section):
    """A rated conversation that a prompt shows."""

    context: str
    response: str
    score: Annotated[float, Field(ge=1, le=5)]
    explanation: str


class Dimension(Section):
    """What is rated, in the words that a judge reads."""

    definition: Annotated[str, Field(min_length=1)]
    examples: list[Rated] = Field(default_factory=list)


class Judging(Section):
    """Who rates conversations, on what, and who makes one explanation of many."""

    judges: Annotated[
        dict[Name, Annotated[SimulatedJudge | AskedJudge, Field(discriminator="kind")]],
        Field(min_length=1),
    ]
    dimensions: Annotated[dict[PartName, Dimension], Field(min_length=1)]
    styles: Annotated[list[StyleName], Field(min_length=1), DIFFERENT] = Field(
        list(STYLES), validate_default=True
    )
    merger: str | None = Field(
        None, description="an endpoint; null: the explanation whose rating is nearest to the mean"
    )
    max_new_tokens: PositiveInt = 256
    temperature: Annotated[float, Field(ge=0)] | None = 0.0
    seed: Seed | None = 0

    @field_validator("styles")
    @classmethod
    def _examples_are_there(cls, styles: list[Any], info: ValidationInfo) -> list[Any]:
        dimensions = info.data.get("dimensions", {})
        bare = [name for name, dimension in dimensions.items() if not dimension.examples]
        shown = [style for style in styles if style.endswith("examples")]
        if bare and shown:
            raise ValueError(f": {shown[0]} needs examples in judging.dimensions.{bare[0]}")
        return styles
