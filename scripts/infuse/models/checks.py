"""What is checked of a model before anything is trained with it. A check refuses, or is silent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from infuse.core.errors import UserError, meant
from infuse.models.hf import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    AutoConfig,
    Conv1D,
    find_adapter_config_file,
)

ALL_LINEAR = "all-linear"  # peft's word for the modules of all layers
WINDOW = 5  # tokens, to which a sliding window is narrowed, so that a short text is longer


def kind(folder: Path | str, **hub: Any) -> None:
    """Refuse an adapter, and a model that writes no text from left to right.

    What can't be read is left to those who load it.
    """
    try:
        if find_adapter_config_file(str(folder), **hub):
            raise UserError(
                f"{folder}: an adapter, expected a model: merge it into its own (peft's"
                " merge_and_unload), and save that"
            )
        config = AutoConfig.from_pretrained(folder, **hub)
    except UserError:
        raise
    except Exception:  # whoever loads it says why
        return
    known = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    classes = config.architectures or [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)]
    if not known & set(classes):
        name = next(filter(None, classes), config.model_type)
        raise UserError(f"{folder}: {name}, expected a causal language model (as LlamaForCausalLM)")


def sizes(model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer that has tokens of which the model has no embedding."""
    tokens = 1 + max(tokenizer.get_vocab().values())
    for name, part in (
        ("embeddings", model.get_input_embeddings()),
        ("head", model.get_output_embeddings()),
    ):
        rows = part.weight.shape[0]
        if rows < tokens:
            raise UserError(
                f"the tokenizer has {tokens} tokens, the {name} of the model {rows} rows"
            )


def head(config: Any, folder: Path | str) -> None:
    """Refuse a model that transformers has in no form with a linear head.

    Args:
        config: the model's own.
        folder: its place, for the message.
    """
    if config.model_type not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
        raise UserError(
            f"{folder}: transformers has no form of {config.model_type} with a linear head: leave"
            " out the arms with target: head"
        )


def modules(model: torch.nn.Module, names: Sequence[str], where: str) -> None:
    """Refuse names of an adapter's modules that match no layer, or one with shared weights.

    Args:
        where: the names' place in the config, for the message.
    """
    layers = {
        name: part
        for name, part in model.named_modules()
        if isinstance(part, torch.nn.Linear | torch.nn.Embedding | Conv1D)
    }
    known = sorted({name.rpartition(".")[2] for name in layers} - set("0123456789"))
    for wanted in names:
        if wanted == ALL_LINEAR:
            continue
        matching = [layer for name, layer in layers.items() if f".{name}".endswith(f".{wanted}")]
        if not matching:
            near = meant(wanted, known) or f", there are: {', '.join(known)}"
            raise UserError(f"{where}: no layer of the model is called {wanted!r}{near}")
        if any(layer.weight is shared for layer in matching for shared in _shared(model)):
            raise UserError(
                f"{where}: {wanted!r} shares its weights with the other end of the model"
                " (tie_word_embeddings), and an adapter would change both: leave it out"
            )


def _shared(model: Any) -> list[torch.nn.Parameter]:
    """The weights that embeddings and head share, if they do."""
    ends = model.get_input_embeddings(), model.get_output_embeddings()
    if None in ends or ends[0].weight is not ends[1].weight:
        return []
    return [ends[0].weight]


@torch.inference_mode()
def causal(model: Any, ids: Sequence[int]) -> None:
    """Refuse a model in which a token sees those after it."""
    other = [*ids[:-1], ids[0]]
    logits, changed = (
        model(input_ids=torch.tensor([text])).logits[0, :-1] for text in (ids, other)
    )
    if ids[-1] != ids[0] and not torch.allclose(logits, changed, rtol=1e-3, atol=1e-3):
        name = type(model).__name__
        raise UserError(f"{name} sees the tokens after a place, expected a causal language model")


@torch.inference_mode()
def own_loss(model: Any, ids: Sequence[int], start: int) -> float:
    """Nats of `ids[start:]` given what stands before, by the logits of the whole model."""
    logits = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0]
    chances = logits[start - 1 : -1].double().log_softmax(-1)
    return -float(chances[range(len(ids) - start), list(ids[start:])].sum())


@contextmanager
def plainest(model: Any) -> Iterator[None]:
    """The model with attention as its own code spells it out, and no faster kernel."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def narrow(model: Any) -> Iterator[None]:
    """The model with its sliding window, where it has one, of `WINDOW` tokens."""
    config = model.config.get_text_config()
    holders = [part for part in (config, *model.modules()) if _window(part)]
    before = [part.sliding_window for part in holders]
    for part in holders:
        part.sliding_window = WINDOW
    try:
        yield
    finally:
        for part, window in zip(holders, before, strict=True):
            part.sliding_window = window


def _window(part: Any) -> bool:
    return isinstance(getattr(part, "sliding_window", None), int)
