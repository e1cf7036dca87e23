"""The sizes of a model, of which no weight is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from infuse.config.recipe import Tuning
from infuse.models.checks import ALL_LINEAR
from infuse.models.hf import AutoConfig, AutoModelForCausalLM, Conv1D
from infuse.models.loading import backbone


@dataclass(frozen=True)
class Shape:
    """Sizes of a model.

    Attributes:
        body: weights of the layers, each used once for every token.
        head: weights of the output layer, used once for every target token.
        embedding: weights that only look up; 0 where the head shares them.
        attention: layers x heads x width of a head.
        cache: numbers that a token leaves in the cache: layers x 2 x heads of keys x width.
        trained: weights that the tuning trains.
        coarse: weights, all of the body, that the tuning keeps in 4 bits.
    """

    body: int
    head: int
    embedding: int
    attention: int
    cache: int
    trained: int
    coarse: int

    @property
    def weights(self) -> int:
        """All of them."""
        return self.body + self.head + self.embedding


def shape(folder: Path, tuning: Tuning, labels: int | None = None) -> Shape:
    """The sizes of the model in a folder, of which no weight is read.

    Args:
        labels: of a linear head in the place of its output layer; None: it writes.
    """
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    decoder, output = backbone(model)
    words, out = model.get_input_embeddings().weight, output.layer.get_parameter("weight")
    head = out.numel() if labels is None else labels * config.hidden_size
    lookups = 0 if labels is None and out is words else words.numel()
    body = sum(weight.numel() for weight in decoder.parameters()) - words.numel()
    trained, coarse = body + head + lookups, 0
    if tuning.kind == "lora":
        linear = {
            name: layer
            for name, layer in decoder.named_modules()
            if isinstance(layer, torch.nn.Linear | Conv1D)
        }
        ends = (
            ("",)
            if tuning.modules == [ALL_LINEAR]
            else tuple(f".{name}" for name in tuning.modules)
        )
        trained = sum(
            tuning.rank * sum(layer.weight.shape)
            for name, layer in linear.items()
            if f".{name}".endswith(ends)
        ) + (0 if labels is None else head)
        if tuning.bits is not None:
            coarse = sum(layer.weight.numel() for layer in linear.values())
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    keys = getattr(config, "num_key_value_heads", None) or heads
    attention, cache = layers * heads * width, layers * 2 * keys * width
    return Shape(body, head, lookups, attention, cache, trained, coarse)
