"""Where reasonings come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from infuse.config.values import DataFile, Hub, PositiveInt, Section, Seed


def _both_stand_in_it(prompt: str) -> str:
    if not all(place in prompt for place in ("{text}", "{label}")):
        raise ValueError(f": expected {{text}} and {{label}} in it, found {prompt!r}")
    return prompt


Prompt = Annotated[str, AfterValidator(_both_stand_in_it)]  # a message with {text} and {label}


class Decoding(Section):
    """How a model writes: at most so many tokens, the end included; temperature 0 is greedy.

    A row's random numbers come from the seed and the row's number.
    """

    max_new_tokens: PositiveInt
    temperature: Annotated[float, Field(ge=0)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Seed = 0


class Sampling(Decoding):
    """Reasonings that a model of this workflow writes, so many rows at a time."""

    kind: str
    prompt: Annotated[
        Prompt | None,
        Field(description="what it is asked in a chat; null: the plain prompt of stage 1"),
    ] = None
    temperature: Annotated[float, Field(ge=0)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    batch_rows: PositiveInt
    candidates: Annotated[
        PositiveInt,
        Field(
            exclude_if=lambda count: count == 1,
            description="for each training text; arms with `keep` take the first that passes",
        ),
    ] = 1
    seed: Seed

    @field_validator("candidates")
    @classmethod
    def _candidates_differ(cls, count: int, info: ValidationInfo) -> int:
        if count > 1 and info.data.get("temperature") == 0:
            raise ValueError(f": expected 1 at temperature 0, where all are alike, found {count}")
        return count


class Written(Sampling):
    """Reasonings of the reasoner."""

    kind: Literal["reasoner"]


class Untuned(Sampling):
    """Reasonings of the base model, which has seen no triples but those of its corpus."""

    kind: Literal["base"]


class Keywords(Section):
    """The words of a text that weigh most for its label in a linear model of other texts."""

    kind: Literal["keywords"]
    words: PositiveInt = 5
    folds: Annotated[int, Field(ge=2)] = 5


class Column(Section):
    """Reasonings from the task's own column, in place of stage 1."""

    kind: Literal["column"]


class Asked(Section):
    """Reasonings from an endpoint, in place of stage 1."""

    kind: Literal["endpoint"]
    endpoint: str
    prompt: Prompt = "Text: {text}\nLabel: {label}\nIn one or two sentences: why does it fit?"
    temperature: Annotated[float, Field(ge=0)] | None = 0.0
    max_new_tokens: PositiveInt = 256
    seed: Seed | None = 0


class ReasoningColumns(Section):
    """Columns of a published set of reasonings; rows are matched on text and label."""

    text: str
    reasoning: str
    label: str


class ImportedFile(Section):
    """Reasonings from a local file, in place of stage 1."""

    kind: Literal["file"]
    path: DataFile
    columns: ReasoningColumns


class ImportedHub(Hub):
    """Reasonings from the hub, in place of stage 1."""

    columns: ReasoningColumns


Reasons = Annotated[
    Written | Untuned | Keywords | Column | Asked | ImportedFile | ImportedHub,
    Field(discriminator="kind"),
]
