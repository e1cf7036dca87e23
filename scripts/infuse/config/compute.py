"""What floating-point results depend on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from infuse.config.recipe import Recipe
from infuse.config.values import PositiveInt, Section

Tracker = Literal[
    "tensorboard", "wandb", "mlflow", "comet_ml", "aim", "clearml", "dvclive", "swanlab", "trackio"
]
Layout = Literal["padded", "packed"]


class Arithmetic(Section):
    """What writing and scoring depend on."""

    device: Literal["cpu", "cuda"]
    dtype: Literal["float32", "bfloat16"]
    threads: PositiveInt
    deterministic: bool


class Compute(Arithmetic):
    """What training depends on; all of it enters the keys of what is computed."""

    layout: Layout
    micro_tokens: PositiveInt
    gradient_checkpointing: Literal["never", "always", "auto"]
    compile: bool

    @field_validator("compile")
    @classmethod
    def _one_size(cls, compile: bool, info: ValidationInfo) -> bool:
        if compile and info.data.get("layout") == "padded":
            raise ValueError(": expected false, since passes of layout padded differ in size")
        return compile

    def suit(self, recipes: Sequence[Recipe]) -> None:
        """Refuse products that are finer than the weights of a recipe."""
        if self.dtype == "float32" and any(recipe.weights == "bfloat16" for recipe in recipes):
            raise ValueError(".dtype: expected bfloat16, as the weights of a recipe")


class Distributed(Section):
    """Processes that share each training, each with a GPU or `compute.threads` of its own.

    They change a result by rounding alone, and so enter no key: a training goes on with another
    number of them.
    """

    ranks: PositiveInt = Field(default=1, description="processes on each node")
    nodes: PositiveInt = Field(default=1, description="of a Slurm job")
    sharded: bool = Field(
        default=False, description="weights, gradients and optimizer state are split over them"
    )

    @property
    def processes(self) -> int:
        """On all nodes together."""
        return self.ranks * self.nodes

    def suit(self, recipes: Sequence[Recipe]) -> None:
        """Refuse to split moments that a recipe's optimizer keeps in blocks of 8 bits."""
        if not self.sharded or self.processes == 1:
            return
        for recipe in recipes:
            if recipe.optimizer != "adamw":
                raise ValueError(
                    f".sharded: {recipe.optimizer} can't be split, expected false, or recipes"
                    " with optimizer adamw"
                )
