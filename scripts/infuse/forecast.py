"""What a training will take: work, memory, time. Tokens and steps are counted, the rest computed.

Formulas are for models of Llama's kind. One multiplication with an addition is two operations.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from infuse.attention import PACKED, places
from infuse.batching import Rows
from infuse.documents import Documents
from infuse.engine import Engine
from infuse.losses import LOGITS
from infuse.models import backbone
from infuse.optimizers import EIGHT_BITS, new_optimizer

SUSTAINED = 0.45  # of a data sheet's products, where nothing was measured: 0.35-0.60 are published
PROBED = 20.0  # seconds that a measurement may take
_TOKENS = 64  # of the pass that counts activations


@dataclass(frozen=True)
class Shape:
    """Sizes of a model.

    Attributes:
        body: weights of the layers, each used once for every token.
        head: weights of the output layer, used once for every target token.
        embedding: weights that only look up; 0 where the head shares them.
        attention: layers x heads x width of a head.
        trained: weights that the tuning trains.
    """

    body: int
    head: int
    embedding: int
    attention: int
    trained: int

    @property
    def weights(self) -> int:
        """All of them."""
        return self.body + self.head + self.embedding


def shape(folder: Path, tuning: Mapping[str, Any]) -> Shape:
    """The sizes of the model in a folder, of which no weight is read."""
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    decoder, head = backbone(model)
    words, out = model.get_input_embeddings().weight, head.get_parameter("weight")
    lookups = 0 if out is words else words.numel()
    body = sum(weight.numel() for weight in decoder.parameters()) - words.numel()
    trained = body + out.numel() + lookups
    if tuning["kind"] == "lora":
        trained = sum(
            tuning["rank"] * (layer.in_features + layer.out_features)
            for name, layer in decoder.named_modules()
            if isinstance(layer, torch.nn.Linear) and name.endswith(tuple(tuning["modules"]))
        )
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Shape(
        body,
        out.numel(),
        lookups,
        config.num_hidden_layers * config.num_attention_heads * width,
        trained,
    )


def training_flops(size: Shape, full: bool, documents: Documents, steps: Sequence[Rows]) -> float:
    """Operations of forward and backward passes over `steps`.

    Matrices take 2 for each weight and token forward, as many for the gradient of the input, and
    as many for that of the weight where it is trained (arXiv 2001.08361, 2.1). Causal attention of
    a document of l tokens takes 2 l^2 for each unit of its width forward, and twice that backward.
    """
    visited = np.concatenate(steps)
    lengths = documents.lengths[visited]
    products = size.body * lengths.sum() + size.head * documents.supervised[visited].sum()
    squares = (lengths.astype(float) ** 2).sum()
    return float((6 if full else 4) * products + 6 * size.attention * squares)


def writing_flops(size: Shape, lengths: Sequence[int], written: int) -> float:
    """Operations of continuing prompts to `lengths` tokens, of which so many are written each."""
    squares = sum(length**2 for length in lengths)
    products = size.body * sum(lengths) + size.head * written * len(lengths)
    return 2.0 * (products + size.attention * squares)


def memory(
    size: Shape,
    folder: Path,
    compute: Mapping[str, Any],
    recipe: Mapping[str, Any],
    recomputed: bool,
) -> float:
    """Bytes that tensors take at the height of a step: weights, gradients, moments, activations."""
    bytes_of = {"float32": 4, "bfloat16": 2}
    weights, products = bytes_of[recipe["weights"]], bytes_of[compute["dtype"]]
    moments = 2 if recipe["optimizer"] == EIGHT_BITS else 2 * weights
    adapted = recipe["tuning"]["kind"] == "lora"
    # Adapters are kept in float32 whatever the weights are in.
    state = size.trained * (4 + 4 + 2 * 4 if adapted else weights + moments)
    copies = size.weights * products if products != weights else 0
    words = size.head // (width := AutoConfig.from_pretrained(folder).hidden_size)
    slices = min(LOGITS, compute["micro_tokens"] * words) * (products + 4 + products)
    slices += 0 if adapted else 4 * size.head
    dtype, kind = (getattr(torch, name) for name in (compute["dtype"], recipe["weights"]))
    kept = _activations(folder, dtype, kind, recomputed) * compute["micro_tokens"]
    return float(size.weights * weights + state + copies + slices + kept + 2 * width)


def _activations(folder: Path, dtype: torch.dtype, weights: torch.dtype, recomputed: bool) -> float:
    """Bytes that a token leaves for the backward pass, counted in one layer of this width."""
    config = AutoConfig.from_pretrained(folder)
    layers = config.num_hidden_layers
    config.num_hidden_layers, config.vocab_size, config.pad_token_id = 1, 8, None
    model = AutoModelForCausalLM.from_config(config, attn_implementation=PACKED)
    model.to(dtype=weights)
    decoder = backbone(model)[0]
    constant = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def kept(tokens: int) -> int:
        found: dict[int, int] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in constant:
                found[storage.data_ptr()] = storage.nbytes()
            return tensor

        ids = torch.zeros(1, tokens, dtype=torch.long)
        told = places(np.array([tokens]), torch.device("cpu"))
        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            torch.autocast("cpu", dtype, enabled=dtype != torch.float32),
        ):
            states = decoder(
                input_ids=ids, position_ids=torch.arange(tokens)[None], use_cache=False, **told
            ).last_hidden_state
        del states
        return sum(found.values())

    # What does not grow with the tokens is no activation: weights in the products' precision.
    one = (kept(2 * _TOKENS) - kept(_TOKENS)) / _TOKENS
    inputs = config.hidden_size * weights.itemsize
    return layers * inputs + one if recomputed else layers * one


def pace(
    engine: Engine, documents: Documents, steps: Sequence[Rows], recipe: Mapping[str, Any]
) -> tuple[float, float]:
    """Measure seconds for a token, and for what is done once a step, on the engine's own chip.

    Passes of steps from all over the training are timed, after one that warms up.
    """
    weights = [weight for weight in engine.model.parameters() if weight.requires_grad]
    optimizer = new_optimizer(weights, recipe)
    engine.model.train()
    chosen = np.unique(np.linspace(0, len(steps) - 1, 8).astype(int))
    passes = [part for step in chosen for part in engine.passes(documents, steps[step])[:4]]
    began, tokens, took = time.monotonic(), 0, 0.0
    for number, part in enumerate([passes[0], *passes]):
        start = time.monotonic()
        engine.step(documents, part, 1.0, number)
        if number:
            tokens, took = tokens + int(documents.lengths[part].sum()), took + _since(start)
        if number and _since(began) > PROBED:
            break
    once = []
    for _ in range(2):  # the first makes the optimizer's state
        start = time.monotonic()
        optimizer.step()  # its rate is 0, so that nothing is learned
        _wait(engine)
        once.append(_since(start))
    return took / tokens, once[1]


def _since(start: float) -> float:
    return time.monotonic() - start


def _wait(engine: Engine) -> None:
    """Until a GPU has done what it was given."""
    if engine.model.device.type == "cuda":
        torch.cuda.synchronize()
