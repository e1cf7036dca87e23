"""The model that both stages start from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from infuse.config.messages import GGUF_FILE
from infuse.config.recipe import Recipe, fit
from infuse.config.values import DIFFERENT, Commit, CorpusFile, HubId, PositiveInt, Section, Seed

LINES = (".txt", ".txt.gz")  # endings of a corpus file in which each line is a text


class Architecture(Section):
    """Sizes of a tokenizer and a small Llama with random weights, drawn by the seed."""

    vocabulary: Annotated[int, Field(ge=300)]
    hidden_size: PositiveInt
    intermediate_size: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    key_value_heads: PositiveInt
    positions: PositiveInt
    seed: Seed

    @field_validator("heads")
    @classmethod
    def _heads_divide(cls, heads: int, info: ValidationInfo) -> int:
        size = info.data.get("hidden_size", 0)
        if size % (2 * heads):
            raise ValueError(
                f": expected a number whose double divides hidden_size ({size}), found {heads}"
            )
        return heads

    @field_validator("key_value_heads")
    @classmethod
    def _groups_divide(cls, groups: int, info: ValidationInfo) -> int:
        heads = info.data.get("heads", 0)
        if heads % groups:
            raise ValueError(f": expected a number that divides heads ({heads}), found {groups}")
        return groups


class Scratch(Architecture):
    """An architecture made by the workflow, pre-trained where a recipe is given."""

    kind: Literal["scratch"]
    corpus: Annotated[list[CorpusFile], DIFFERENT]
    pretraining: Recipe | None

    @field_validator("pretraining")
    @classmethod
    def _length_fits(cls, recipe: Recipe | None, info: ValidationInfo) -> Recipe | None:
        if recipe is not None and "positions" in info.data:
            fit(recipe, info.data["positions"], "")
        if recipe is not None and not info.data.get("corpus", True):
            raise ValueError(": expected null, since base.corpus names no texts to learn from")
        if recipe is not None and getattr(recipe.tuning, "bits", None):
            raise ValueError(".tuning.bits: expected null, since nothing is there to be frozen")
        if recipe is not None and recipe.evaluations_per_epoch:
            raise ValueError(".evaluations_per_epoch: expected 0, a corpus has no validation texts")
        return recipe


PadToken = Annotated[
    Annotated[str, Field(min_length=1)] | None,
    Field(description="the saved tokenizer's; null: the one that it has"),
]
ChatTemplate = Annotated[
    Literal["plain"] | None,
    Field(description="the saved tokenizer's; null: the one that it has; plain: a short one"),
]


class HubModel(Section):
    """A model on the hub, at a commit; null: the one that revisions.yaml keeps."""

    kind: Literal["hub"]
    id: HubId
    revision: Commit | None = None
    pad_token: PadToken = None
    chat_template: ChatTemplate = None


class Gguf(Section):
    """A GGUF file of the machine, or the one of an installed package; its weights in float32."""

    kind: Literal["gguf"]
    file: Annotated[str, Field(pattern=GGUF_FILE)] | None = None
    package: Annotated[str, Field(min_length=1)] | None = Field(None, validate_default=True)
    pad_token: PadToken = None
    chat_template: ChatTemplate = None

    @field_validator("package")
    @classmethod
    def _one_of_both(cls, package: str | None, info: ValidationInfo) -> str | None:
        file = info.data.get("file", ...)
        if package is None and file is None:
            raise ValueError(": missing, expected either this or base.file")
        if package is not None and file is not None:
            raise ValueError(": expected null, since base.file is given")
        return package


class Folder(Section):
    """A local folder with config, tokenizer and safetensors weights."""

    kind: Literal["folder"]
    path: Annotated[str, Field(min_length=1)]
    pad_token: PadToken = None
    chat_template: ChatTemplate = None
