"""The cross-entropy over a vocabulary, without ever holding all of its logits.

At 16,000 tokens and 128,000 words the logits of one pass alone would take 8 GB in float32. Here a
slice of tokens at a time gets its logits, its loss, and at once its gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

LOGITS = 2**28  # of one slice: 1 GiB in float32


def cross_entropy(
    states: torch.Tensor,
    head: torch.nn.Module,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    most: int = LOGITS,
    compiled: bool = False,
) -> torch.Tensor:
    """Sum of the cross-entropies in nats of `targets` given `head(states)`.

    Args:
        states: float [tokens, width].
        head: a linear layer without bias; another kind gets all its logits at once.
        targets: int64 [tokens].
        weights: float [tokens], of each token in the sum; None: 1.
        most: logits that may exist at a time.
        compiled: whether a slice's arithmetic is one kernel.
    """
    if type(head) is torch.nn.Linear and head.bias is None:
        rows, one = max(1, most // head.out_features), _compiled_slice() if compiled else _slice
        if len(states) > rows:
            total: torch.Tensor = _Sliced.apply(
                states, head.weight, targets, weights, rows, one, torch.is_grad_enabled()
            )
            return total
    logits = head(states).float()
    if weights is None:
        return functional.cross_entropy(logits, targets, reduction="sum")
    return (functional.cross_entropy(logits, targets, reduction="none") * weights).sum()


class _Sliced(torch.autograd.Function):
    """Loss and gradients in one go over slices; backward only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        weight: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor | None,
        rows: int,
        one: Any,
        learns: bool,
    ) -> torch.Tensor:
        device = states.device.type
        compute = (
            torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype
        )
        inputs, head = states.to(compute), weight.to(compute)
        of_states, of_weight = (
            torch.zeros_like(tensor, dtype=torch.float32) if wanted and learns else None
            for tensor, wanted in zip((states, weight), ctx.needs_input_grad[:2], strict=True)
        )
        total = states.new_zeros((), dtype=torch.float32)
        for at in range(0, len(states), rows):
            part = slice(at, at + rows)
            loss, slopes = one(
                inputs[part] @ head.T, targets[part], None if weights is None else weights[part]
            )
            total += loss
            if of_states is not None:
                of_states[part] = slopes @ head
            if of_weight is not None:
                of_weight += slopes.T @ inputs[part]
        ctx.save_for_backward(of_states, of_weight)
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        found = [None if saved is None else saved * slopes[0] for saved in ctx.saved_tensors]
        return (*found, None, None, None, None, None)


def _slice(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of the losses of some tokens, and its slope by each logit, in the logits' type."""
    exact = logits.float()
    norms = exact.logsumexp(1, keepdim=True)
    losses = (norms - exact.gather(1, targets[:, None]))[:, 0]
    slopes = exact.sub_(norms).exp_()
    slopes[torch.arange(len(targets), device=targets.device), targets] -= 1
    if weights is None:
        return losses.sum(), slopes.to(logits.dtype)
    return (losses * weights).sum(), slopes.mul_(weights[:, None]).to(logits.dtype)


@functools.cache
def _compiled_slice() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    return torch.compile(_slice, dynamic=True)  # not when imported: the compiler takes its time
