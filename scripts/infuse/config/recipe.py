"""How a model is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, ValidationInfo, field_validator

from infuse.config.values import DIFFERENT, Count, PositiveInt, Section


class RowBatching(Section):
    """A fixed number of rows for each optimizer step."""

    kind: Literal["rows"]
    rows: PositiveInt


class TokenBatching(Section):
    """Rows are packed into bins; a step takes `bins` of them, so short rows mean few steps."""

    kind: Literal["tokens"]
    bin_tokens: PositiveInt
    bin_rows: PositiveInt
    bins: PositiveInt
    drop_last: bool = False


class Full(Section):
    """All weights are trained."""

    kind: Literal["full"]


Modules = Annotated[
    list[str],
    Field(min_length=1),
    BeforeValidator(
        lambda value: [value] if value == "all-linear" else value,
        json_schema_input_type=list[str] | Literal["all-linear"],
    ),
    DIFFERENT,
]


class Lora(Section):
    """Low-rank adapters on the named modules, merged into the weights when training ends.

    With `bits` the weights of all layers are frozen in so many; null: in those of the recipe.
    """

    kind: Literal["lora"]
    rank: PositiveInt
    alpha: PositiveFloat
    dropout: Annotated[float, Field(ge=0, lt=1)]
    modules: Modules
    bits: Literal[4] | None = None


Batching = Annotated[RowBatching | TokenBatching, Field(discriminator="kind")]
Tuning = Annotated[Full | Lora, Field(discriminator="kind")]


class Recipe(Section):
    """How a model is trained."""

    epochs: PositiveInt
    max_length: Annotated[int, Field(ge=8)]
    batching: Batching
    learning_rate: PositiveFloat
    schedule: Literal["cosine", "linear", "constant"]
    warmup_steps: Count
    optimizer: Literal["adamw", "paged_adamw_8bit"]
    weights: Literal["float32", "bfloat16"]
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: PositiveFloat
    evaluations_per_epoch: Count
    tuning: Tuning

    @property
    def bits(self) -> int | None:
        """In how many bits frozen weights are kept; None: in `weights`."""
        return self.tuning.bits if isinstance(self.tuning, Lora) else None

    @field_validator("batching")
    @classmethod
    def _document_fits_bin(
        cls, batching: RowBatching | TokenBatching, info: ValidationInfo
    ) -> RowBatching | TokenBatching:
        longest = info.data.get("max_length", 0)
        if isinstance(batching, TokenBatching) and batching.bin_tokens < longest:
            raise ValueError(
                f".bin_tokens: expected at least max_length ({longest}),"
                f" found {batching.bin_tokens}"
            )
        return batching


def fit(recipe: Recipe, positions: int, below: str) -> None:
    """Refuse documents that are longer than what the model reads.

    Args:
        below: the recipe's place below the section that is checked.
    """
    if recipe.max_length > positions:
        raise ValueError(
            f"{below}.max_length: expected at most base.positions ({positions}),"
            f" found {recipe.max_length}"
        )
