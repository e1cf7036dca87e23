"""What each layer would say next: a model's states at one place, read by its own head.

This is the logit lens (nostalgebraist, "interpreting GPT: the logit lens", 2020): a state h of any
layer goes the way of the last one, softmax(head(norm(h))). Ecco (Alammar, ACL 2021 demonstrations)
gives the head h as it is, and only the last layer's normed; `normed=False` does so too.

Layer 0 is what enters the first layer, the embeddings; layer l is what leaves the l-th.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from infuse.core.errors import UserError
from infuse.data.encoder import Ids
from infuse.models.heads import Head
from infuse.models.hf import PreTrainedModel
from infuse.models.loading import backbone

SURE = 0.95  # the probability from which a layer's prediction counts as settled
BINS, BIN_WIDTH = 50, 0.2  # of a state's values, in units of their root mean square


class Parts(NamedTuple):
    """What of a model the lens needs: the decoder, its layers and final norm, and the head."""

    decoder: torch.nn.Module
    layers: Sequence[torch.nn.Module]
    norm: torch.nn.Module
    head: Head


class Seen(NamedTuple):
    """What the layers say after each text.

    Attributes:
        entropy: float32 [texts, layers + 1], in nats, of each layer's prediction.
        activation_entropy: float32 [texts, layers + 1], in nats, of each layer's values.
        ranks: int32 [texts, layers + 1, tokens], 1 is the best.
        settled: int32 [texts], see `settled`.
        confidence: float32 [texts], the largest probability at the last layer.
    """

    entropy: npt.NDArray[np.float32]
    activation_entropy: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.int32]
    settled: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32]


def parts(model: PreTrainedModel, folder: Path) -> Parts:
    """The parts of a model that is made like Llama.

    Raises:
        UserError: it is not; the line names the model's folder.
    """
    if hasattr(model, "score"):
        raise UserError(f"{folder}: a linear head for labels, expected one for a vocabulary")
    decoder, head = backbone(model)
    kind = f"{folder}: {type(model).__name__}"
    layers, norm = (getattr(decoder, part, None) for part in ("layers", "norm"))
    if layers is None or norm is None:
        raise UserError(f"{kind}, expected `layers` and a final `norm` as Llama and Mistral have")
    inside = Parts(decoder, list(layers), norm, head)
    with torch.inference_mode():
        said = model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=model.device)).logits
        ours = head(norm(states(inside, [[0]])[-1]))
    if not torch.allclose(said[:, -1], ours, rtol=1e-3, atol=1e-3):
        raise UserError(f"{kind}, expected that it gives what its head makes of the normed state")
    return inside


@torch.inference_mode()
def look(parts: Parts, texts: Sequence[Ids], tokens: Sequence[int], normed: bool) -> Seen:
    """What the layers say of the token after each text, in one forward pass of the texts.

    Args:
        tokens: those whose ranks are wanted, the labels'. Labels that share one share its rank.
        normed: whether all layers get the final norm, and not the last alone.
    """
    at = states(parts, texts)
    entropies, ranked, of_tokens = [], [], []
    for layer, state in enumerate(at):
        last = layer == len(at) - 1
        logits = parts.head(parts.norm(state) if normed or last else state)
        chances = torch.softmax(logits.double(), -1)
        entropies.append(torch.special.entr(chances).sum(-1))
        ranked.append(ranks(logits, tokens))
        of_tokens.append(chances[:, list(tokens)])
    return Seen(
        torch.stack(entropies, 1).float().cpu().numpy(),
        torch.stack([activation_entropy(state) for state in at], 1).float().cpu().numpy(),
        torch.stack(ranked, 1).int().cpu().numpy(),
        settled(torch.stack(of_tokens, 1)).int().cpu().numpy(),
        chances.amax(-1).float().cpu().numpy(),
    )


def states(parts: Parts, texts: Sequence[Ids]) -> list[torch.Tensor]:
    """The state of each layer at the last token of each text: layers + 1 times [texts, hidden]."""
    device = next(parts.decoder.parameters()).device
    lengths = torch.tensor([len(text) for text in texts], device=device)
    # Causal attention never looks right, so padding there needs no mask.
    tokens = torch.zeros(len(texts), int(lengths.max()), dtype=torch.long, device=device)
    for line, text in enumerate(texts):
        tokens[line, : len(text)] = torch.tensor(text)
    every = torch.arange(len(texts), device=device)
    kept: list[torch.Tensor] = []

    def keep(_: torch.nn.Module, given: Any, output: Any = None) -> None:
        state = given[0] if output is None else output
        kept.append(state[every, lengths - 1])

    with ExitStack() as hooks:
        hooks.enter_context(parts.layers[0].register_forward_pre_hook(keep))
        for layer in parts.layers:
            hooks.enter_context(layer.register_forward_hook(keep))
        parts.decoder(input_ids=tokens, use_cache=False)
    return kept


def ranks(logits: torch.Tensor, tokens: Sequence[int]) -> torch.Tensor:
    """1 + how many tokens have a larger logit, int64 [texts, tokens]: Ecco's `rankings_watch`."""
    # All at once would take a copy of the logits for each token.
    return torch.stack([(logits > logits[:, [token]]).sum(-1) + 1 for token in tokens], 1)


def activation_entropy(states: torch.Tensor) -> torch.Tensor:
    """The entropy in nats of each state's histogram, float [texts].

    Values are divided by their root mean square, as Llama's norms do, so that their scale is of no
    consequence. `BINS` bins of `BIN_WIDTH` lie around 0, the outer two open. Many values that are
    normally distributed have 3.03; a state that few large values dominate has less.
    """
    size = states.square().mean(-1, keepdim=True).sqrt()
    scaled = states / size.clamp(min=torch.finfo(states.dtype).tiny)
    edges = BIN_WIDTH * torch.arange(1 - BINS // 2, BINS // 2, device=states.device)
    edges = edges.to(states.dtype).expand(len(states), -1).contiguous()
    below = torch.searchsorted(scaled.sort(-1).values, edges)
    none, every = (below.new_full((len(states), 1), count) for count in (0, states.shape[-1]))
    counts = torch.diff(below, prepend=none, append=every)
    return torch.special.entr(counts.double() / states.shape[-1]).sum(-1)


def settled(chances: torch.Tensor) -> torch.Tensor:
    """The first layer that gives the final token more than `SURE`, int64 [texts]; -1: none does.

    Args:
        chances: float [texts, layers + 1, tokens]; the best of the last layer is the final token.
    """
    final = chances[:, -1].argmax(-1)
    sure = chances[torch.arange(len(chances), device=chances.device), :, final] > SURE
    return torch.where(sure.any(-1), sure.int().argmax(-1), -1)
