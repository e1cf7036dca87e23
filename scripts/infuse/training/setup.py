"""A model set up for training: threads, precision, adapters, head."""

from __future__ import annotations

from pathlib import Path

from infuse.config.compute import Compute
from infuse.config.recipe import Recipe
from infuse.models import loading
from infuse.training.ranks import ALONE, Ranks
from infuse.training.step import Engine


def engine_for(
    base: Path,
    recipe: Recipe,
    compute: Compute,
    seed: int,
    labels: int | None = None,
    label_weight: float | None = None,
    ranks: Ranks = ALONE,
    label_smoothing: float = 0.0,
) -> Engine:
    """The base model in a folder as a recipe trains it.

    Args:
        labels: as many as a linear head in place of the vocabulary has; None: the vocabulary.
        label_weight, ranks, label_smoothing: of `Engine`.

    Raises:
        UserError: the folder holds no usable model, or the recipe does not fit it or the device.
    """
    loading.set_threads(compute)
    how = loading.in_4_bits(recipe, compute) or ranks.loading
    if labels is None:
        model = loading.load_model(base, **how)
    else:
        model = loading.new_head(base, labels, seed, **how)
    model = loading.tune(model, recipe, seed)
    return Engine(model, compute, label_weight, ranks, label_smoothing)
