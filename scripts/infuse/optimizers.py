"""The optimizers of a recipe, and their state as tensors that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

EIGHT_BITS = "paged_adamw_8bit"


def new_optimizer(
    weights: Iterable[torch.nn.Parameter], recipe: Mapping[str, Any]
) -> torch.optim.Optimizer:
    """AdamW of a recipe, with learning rate 0 until a step sets its own.

    `paged_adamw_8bit` keeps the two moments in 8 bits (arXiv 2110.02861), on a GPU in memory that
    moves to the host when the GPU has none left.
    """
    weights = list(weights)
    told = {"lr": 0.0, "weight_decay": recipe["weight_decay"]}
    if recipe["optimizer"] != EIGHT_BITS:
        return torch.optim.AdamW(weights, fused=True, **told)
    from bitsandbytes.optim.adamw import AdamW8bit, PagedAdamW8bit

    kind = PagedAdamW8bit if weights[0].is_cuda else AdamW8bit
    made: torch.optim.Optimizer = kind(weights, **told)
    return made


def state_of(optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter) -> dict[str, Any]:
    """What the optimizer keeps for a weight, by name, all of it tensors."""
    return {name: torch.as_tensor(value) for name, value in optimizer.state[weight].items()}


def restore(
    optimizer: torch.optim.Optimizer,
    weight: torch.nn.Parameter,
    state: Mapping[str, torch.Tensor],
) -> None:
    """Put back what `state_of` gave."""
    counts_in_python = not isinstance(optimizer, torch.optim.AdamW)
    optimizer.state[weight] = {
        name: value.item() if name == "step" and counts_in_python else value.to(weight.device)
        for name, value in state.items()
    }
