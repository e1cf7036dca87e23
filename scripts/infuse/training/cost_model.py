"""What a training will take: work, memory, time. Tokens and steps are counted, the rest computed.

Formulas are for models of Llama's kind. One multiplication with an addition is two operations.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from infuse.config.compute import Compute
from infuse.config.recipe import Lora, Recipe, Tuning
from infuse.data.examples import Documents
from infuse.models.hf import AutoConfig, AutoModelForCausalLM
from infuse.models.loading import backbone, tune
from infuse.models.shapes import Shape
from infuse.training.attention import PACKED, places
from infuse.training.batching import Rows, total_tokens
from infuse.training.cross_entropy import LOGITS
from infuse.training.optimizers import EIGHT_BITS, new_optimizer
from infuse.training.step import Engine, pass_size, passes

COARSE = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes of a weight in 4 bits, with its constants
MEASURED_SECONDS = 20.0  # seconds that a measurement may take
_TOKENS = 64  # of the pass that counts activations


def training_flops(
    size: Shape, tuning: Tuning, documents: Documents, steps: Sequence[Rows]
) -> float:
    """Operations of forward and backward passes over `steps`, real tokens alone.

    Backward, a product takes one multiplication and one addition for the gradient of the input, and
    as many for that of a weight that is trained (arXiv 2001.08361, 2.1). Frozen weights have none.
    In 4 bits they take as many; that they are unpacked is not counted, nor are the few products of
    adapters. Attention takes twice as many backward as forward, whatever is trained.
    """
    products, squares = _products_and_squares(size, documents, steps)
    backward = 4 if tuning.kind == "full" else 2
    return (2 + backward) * products + (2 + 4) * squares


def forward_flops(size: Shape, documents: Documents, steps: Sequence[Rows]) -> float:
    """The same of forward passes alone."""
    products, squares = _products_and_squares(size, documents, steps)
    return 2 * products + 2 * squares


def recomputed_flops(size: Shape, documents: Documents, steps: Sequence[Rows]) -> float:
    """Operations of what is computed again where activations are not kept: the layers forward."""
    return forward_flops(replace(size, head=0), documents, steps)


def _products_and_squares(
    size: Shape, documents: Documents, steps: Sequence[Rows]
) -> tuple[float, float]:
    """Products of a weight and a token; l^2 for each document of l tokens and unit of attention's
    width, of which a causal pass forward takes 2.
    """
    visited = np.concatenate(steps)
    lengths = documents.lengths[visited].astype(float)
    products = size.body * lengths.sum() + size.head * documents.supervised[visited].sum()
    return float(products), float(size.attention * (lengths**2).sum())


def padding_and_targets(
    documents: Documents, steps: Sequence[Rows], compute: Compute
) -> tuple[float, int]:
    """Computed tokens for each real one, padding included; and the most targets of a pass."""
    padded, most, computed = compute.layout == "padded", 0, 0
    for rows in steps:
        for part in passes(documents, rows, compute):
            lengths = documents.lengths[part]
            used = len(part) * int(lengths.max()) if padded else int(lengths.sum())
            computed += used if padded else pass_size(used, compute)
            most = max(most, int(documents.supervised[part].sum()))
    return computed / total_tokens(documents.lengths, steps), most


def memory(
    size: Shape,
    folder: Path,
    compute: Compute,
    recipe: Recipe,
    recomputed: bool,
    targets: int,
) -> float:
    """Bytes that tensors take at the height of a step: weights, gradients, moments, activations.

    Args:
        targets: of a pass, at most.
    """
    bytes_of = {"float32": 4, "bfloat16": 2}
    weights, products = bytes_of[recipe.weights], bytes_of[compute.dtype]
    adapted = recipe.tuning.kind == "lora"
    moments = size.trained * 2 * (4 if adapted else weights)  # adapters are kept in float32
    if recipe.optimizer == EIGHT_BITS:
        exact = 0 if adapted else size.embedding or size.head  # those of embeddings are
        moments = 2 * (size.trained - exact) + 8 * exact
    state = size.trained * (4 + 4 if adapted else weights) + moments
    fine = size.weights - size.coarse
    copies = fine * products if products != weights else 0
    config = AutoConfig.from_pretrained(folder)
    logits = targets * (size.head // config.hidden_size)
    if logits > LOGITS:  # then they are sliced, with the head's gradient beside them
        logits_bytes = LOGITS * (2 * products + 4) + (0 if adapted else 8 * size.head)
    else:
        logits_bytes = logits * (2 * products + 3 * 4)
    dtype = getattr(torch, compute.dtype)
    kept = _activations(folder, dtype, recipe, recomputed) * compute.micro_tokens
    return float(fine * weights + size.coarse * COARSE + state + copies + logits_bytes + kept)


def _activations(folder: Path, dtype: torch.dtype, recipe: Recipe, recomputed: bool) -> float:
    """Bytes that a token leaves for the backward pass, counted in layers of this width."""
    config = AutoConfig.from_pretrained(folder)
    of_one, of_two = (_kept(config, layers, dtype, recipe) for layers in (1, 2))
    layers, layer = config.num_hidden_layers, of_two - of_one
    inputs = config.hidden_size * getattr(torch, recipe.weights).itemsize
    return layers * inputs + of_one if recomputed else of_one + (layers - 1) * layer


def _kept(config: Any, layers: int, dtype: torch.dtype, recipe: Recipe) -> float:
    """The same of a model with so many layers; those in 4 bits leave what others do."""
    config = copy.deepcopy(config)
    config.num_hidden_layers, config.vocab_size, config.pad_token_id = layers, 8, None
    model = AutoModelForCausalLM.from_config(config, attn_implementation=PACKED)
    frozen = {"bits": None} if isinstance(recipe.tuning, Lora) else {}
    tuning = recipe.tuning | frozen
    whole = recipe | {"tuning": tuning}
    model = tune(model, whole, 0).train()
    decoder = backbone(model)[0]
    constant = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def kept(tokens: int) -> int:
        storages: dict[int, int] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in constant:
                storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        ids = torch.zeros(1, tokens, dtype=torch.long)
        keywords = places(np.array([tokens]), torch.device("cpu"))
        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            torch.autocast("cpu", dtype, enabled=dtype != torch.float32),
        ):
            states = decoder(
                input_ids=ids, position_ids=torch.arange(tokens)[None], use_cache=False, **keywords
            ).last_hidden_state
        del states
        return sum(storages.values())

    # What does not grow with the tokens is no activation: weights in the products' precision.
    return (kept(2 * _TOKENS) - kept(_TOKENS)) / _TOKENS


def pace(
    engine: Engine, documents: Documents, steps: Sequence[Rows], recipe: Recipe
) -> tuple[float, float]:
    """Measure seconds for a token, and for what is done once a step, on the engine's own device.

    Passes of steps from all over the training are timed, after one that warms up; where layers are
    compiled, each of them warms up, since each may be of a new kind.
    """
    optimizer = new_optimizer(engine.model, recipe)
    engine.model.train()
    chosen = np.unique(np.linspace(0, len(steps) - 1, 8).astype(int))
    parts = [part for step in chosen for part in engine.passes(documents, steps[step])[:2]]
    for part in parts if engine.compute.compile else parts[:1]:
        engine.step(documents, part, 1.0, 0)
    began, tokens, took = time.monotonic(), 0, 0.0
    for part in parts:
        start = time.monotonic()
        engine.step(documents, part, 1.0, 0)
        tokens, took = tokens + int(documents.lengths[part].sum()), took + _since(start)
        if _since(began) > MEASURED_SECONDS:
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
