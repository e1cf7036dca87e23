"""The optimizers of a recipe, and their state as tensors that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from infuse.config.recipe import Recipe
from infuse.training.sharding import like

EIGHT_BITS = "paged_adamw_8bit"
_CODES = {"qmap1": "dynamic", "qmap2": "udynamic"}  # of 8 bits; all weights share them


def new_optimizer(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW of a recipe for what is trained of a model, with rate 0 until a step sets its own.

    `paged_adamw_8bit` keeps the two moments in 8 bits (arXiv 2110.02861), on a GPU in memory that
    moves to the host when the GPU has none left. Those of embeddings stay in 32 bits, as with
    transformers' Trainer.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    options: dict[str, Any] = {"lr": 0.0, "weight_decay": recipe.weight_decay}
    if recipe.optimizer != EIGHT_BITS:
        return torch.optim.AdamW(weights, fused=True, **options)
    from bitsandbytes.optim.adamw import AdamW8bit, PagedAdamW8bit
    from bitsandbytes.optim.optimizer import GlobalOptimManager

    exceptions: Any = GlobalOptimManager.get_instance()  # type: ignore[no-untyped-call]
    for part in model.modules():
        if isinstance(part, torch.nn.Embedding):
            exceptions.register_module_override(part, "weight", {"optim_bits": 32})
    kind = PagedAdamW8bit if weights[0].is_cuda else AdamW8bit
    optimizer: torch.optim.Optimizer = kind(weights, **options)
    return optimizer


def state_of(optimizer: torch.optim.Optimizer, weight: torch.nn.Parameter) -> dict[str, Any]:
    """What the optimizer keeps for a weight alone, by name, all of it tensors."""
    kept = optimizer.state[weight].items()
    return {name: torch.as_tensor(value) for name, value in kept if name not in _CODES}


def restore(
    optimizer: torch.optim.Optimizer,
    weight: torch.nn.Parameter,
    state: Mapping[str, torch.Tensor],
) -> None:
    """Put back what `state_of` gave."""
    if isinstance(optimizer, torch.optim.AdamW):
        optimizer.state[weight] = {
            name: part.to(weight.device) if part.dim() == 0 else like(part, weight)
            for name, part in state.items()
        }
        return
    paged: Any = optimizer
    restored: dict[str, Any] = {name: part.to(weight.device) for name, part in state.items()}
    restored["step"] = state["step"].item()
    for name in ("state1", "state2"):
        restored[name] = paged.get_state_buffer(weight, dtype=state[name].dtype)
        restored[name].copy_(state[name])
    if restored["state1"].dtype == torch.uint8:
        restored |= {name: paged.name2qmap[code].to(weight.device) for name, code in _CODES.items()}
    optimizer.state[weight] = restored
