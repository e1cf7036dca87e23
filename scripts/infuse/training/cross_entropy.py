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

from infuse.models.heads import Head

LOGITS = 2**28  # of one slice: 1 GiB in float32


def cross_entropy(
    states: torch.Tensor,
    head: Head,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    most: int = LOGITS,
    compiled: bool = False,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Sum of the cross-entropies in nats of `targets` given `head(states)`.

    With smoothing, the target's share of what is wanted is 1 - smoothing, and the rest is spread
    over all words alike (Szegedy et al. 2016, arXiv 1512.00567, section 7).

    Args:
        states: float [tokens, width].
        head: whose layer is linear and without bias; another kind gets all its logits at once.
        targets: int64 [tokens].
        weights: float [tokens], of each token in the sum; None: 1.
        most: logits that may exist at a time.
        compiled: whether a slice's arithmetic is one kernel.
        smoothing: 0 to 1.
    """
    layer = head.layer
    if type(layer) is torch.nn.Linear and layer.bias is None:
        rows, kernel = max(1, most // layer.out_features), _compiled_slice() if compiled else _slice
        if len(states) > rows:
            form = {"scale": head.scale, "cap": head.cap, "smoothing": smoothing}
            slice_loss = functools.partial(kernel, **form)
            total: torch.Tensor = _Sliced.apply(
                states, layer.weight, targets, weights, rows, slice_loss, torch.is_grad_enabled()
            )
            return total
    logits = head(states).float()
    if weights is None:
        return functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    losses = functional.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
    return (losses * weights).sum()


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
        slice_loss: Any,
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
            loss, slopes = slice_loss(
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
        gradients = [None if saved is None else saved * slopes[0] for saved in ctx.saved_tensors]
        return (*gradients, None, None, None, None, None)


def _slice(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor | None,
    scale: float,
    cap: float | None,
    smoothing: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of the losses of some tokens, and its slope by each of the layer's logits, in their
    type. Scale and cap are those of a `Head`.
    """
    exact, bent = logits.float(), None
    if scale != 1:
        exact = exact * scale
    if cap is not None:
        bent = torch.tanh(exact / cap)
        exact = cap * bent
    norms = exact.logsumexp(1, keepdim=True)
    wanted = exact.gather(1, targets[:, None])
    if smoothing:
        wanted = (1 - smoothing) * wanted + smoothing * exact.mean(1, keepdim=True)
    losses = (norms - wanted)[:, 0]
    slopes = exact.sub_(norms).exp_()
    slopes[torch.arange(len(targets), device=targets.device), targets] -= 1 - smoothing
    if smoothing:
        slopes -= smoothing / slopes.shape[1]
    if bent is not None:
        slopes *= 1 - bent.square()
    if scale != 1:
        slopes *= scale
    if weights is None:
        return losses.sum(), slopes.to(logits.dtype)
    return (losses * weights).sum(), slopes.mul_(weights[:, None]).to(logits.dtype)


@functools.cache
def _compiled_slice() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    return torch.compile(_slice, dynamic=True)  # not when imported: the compiler takes its time
