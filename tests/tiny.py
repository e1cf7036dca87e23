"""Tokenizers, models and documents small enough for thousands of cases, and a way to be killed."""

from __future__ import annotations

import functools
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers import models as cores
from transformers import MistralConfig, MistralForCausalLM
from transformers.modeling_utils import PreTrainedModel
from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast

from infuse.config.base import Architecture
from infuse.config.compute import Compute
from infuse.config.recipe import Full, Lora, Recipe
from infuse.data.examples import Documents
from infuse.models import loading
from patience import PATIENCE

COMPUTE = Compute.model_validate({
    "device": "cpu", "dtype": "float32", "threads": int(os.environ.get("THREADS", "1")),
    "layout": "padded", "micro_tokens": 256, "gradient_checkpointing": "auto",
    "deterministic": True, "compile": False,
})  # fmt: skip
FULL = Full(kind="full")
LORA = Lora(kind="lora", rank=4, alpha=8, dropout=0.2, modules=["q_proj", "v_proj"])
RECIPE = Recipe.model_validate({
    "epochs": 2, "max_length": 64, "batching": {"kind": "rows", "rows": 4},
    "learning_rate": 0.003, "schedule": "cosine", "warmup_steps": 3,
    "optimizer": "adamw", "weights": "float32", "weight_decay": 0.01, "max_grad_norm": 1.0,
    "evaluations_per_epoch": 0, "tuning": FULL,
})  # fmt: skip
WINDOW = 64


def tuned(tuning: Full | Lora) -> Recipe:
    """The recipe with this tuning."""
    return RECIPE | {"tuning": tuning}


_ORDINARY = [
    "i feel so happy about the trip today", "the day was long, and i felt sad again",
    "because the words show joy and not anger", "she didn't fear it: 12 surprises!",
    "system user assistant Emotion: Reasoning: love",
]  # fmt: skip
_LLAMA_3 = (  # how Llama 3 splits text before byte pairs are merged
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DATED = """{{- bos_token }}{{- '<|start_header_id|>system<|end_header_id|>\n\n' }}
{{- 'Today Date: ' + date_string + '\n\n' }}
{%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] | trim }}
{%- set messages = messages[1:] %}{%- endif %}
{{- '<|eot_id|>' }}
{%- for message in messages %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}
{{- message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}"""


@functools.cache
def tokenizer() -> PreTrainedTokenizerFast:
    """The workflow's own tokenizer of about 350 tokens; don't change it."""
    return loading.scratch_tokenizer(_ORDINARY * 3, 350)


@functools.cache
def llama_3() -> PreTrainedTokenizerFast:
    """A tokenizer that splits as Llama 3 does, knows line breaks, and whose chats bear a date."""
    core = Tokenizer(cores.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_LLAMA_3), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        [f"{text}\n\n{text}\n" for text in _ORDINARY],
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=list(loading.SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        chat_template=_DATED,
    )


@functools.cache
def llama_2() -> PreTrainedTokenizerFast:
    """A tokenizer as of Llama 2 and the first Mistral: it spells what it does not know in bytes, a
    word begins with its space, and there is neither a chat template nor a padding token.
    """
    special = ["<unk>", "<s>", "</s>"]
    learner = Tokenizer(cores.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace()
    learner.train_from_iterator(
        _ORDINARY * 3, trainers.BpeTrainer(vocab_size=200, show_progress=False)
    )
    learned = json.loads(learner.to_str())["model"]
    names = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *learned["vocab"]]
    core = Tokenizer(
        cores.BPE(
            {name: place for place, name in enumerate(names)},
            [tuple(pair) for pair in learned["merges"]],
            unk_token="<unk>", fuse_unk=True, byte_fallback=True,
        )
    )  # fmt: skip
    core.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    core.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    core.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def architecture(**sizes: int) -> Architecture:
    """A small Llama, with other sizes where they are given."""
    small = {
        "vocabulary": 350, "hidden_size": 32, "intermediate_size": 48, "layers": 2, "heads": 4,
        "key_value_heads": 2, "positions": WINDOW, "seed": 0,
    }  # fmt: skip
    return Architecture.model_validate(small | sizes)


def model(seed: int = 0) -> PreTrainedModel:
    """A Llama of two layers with weights large enough that every token matters to every other."""
    loading.set_threads(COMPUTE)
    small = loading.scratch_model(
        architecture(seed=seed),
        tokenizer(),
    )  # fmt: skip
    return _enlarged(small)


def mistral(seed: int = 0) -> PreTrainedModel:
    """The same of Mistral's kind, with a head of its own."""
    loading.set_threads(COMPUTE)
    torch.manual_seed(seed)
    small = MistralForCausalLM(
        MistralConfig(
            vocab_size=len(tokenizer()), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=WINDOW,
            bos_token_id=tokenizer().bos_token_id, eos_token_id=tokenizer().eos_token_id,
        )
    )  # fmt: skip
    return _enlarged(small)


def _enlarged(small: PreTrainedModel) -> PreTrainedModel:
    with torch.no_grad():
        for weight in small.parameters():
            if weight.dim() > 1:
                weight.mul_(8)
    return small.eval()


def documents(lengths: Sequence[int], starts: Sequence[int], seed: int = 0) -> Documents:
    """Documents of random tokens; source rows are numbered 100, 101, ..."""
    drawn = np.random.default_rng(seed).integers(5, len(tokenizer()), sum(lengths))
    return Documents(
        drawn.astype(np.int32),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array(starts, np.int32),
        np.ones(len(lengths), np.int32),
        np.array(starts, np.int32),
        np.arange(100, 100 + len(lengths)),
    )


def random_documents(count: int, seed: int, longest: int = 24) -> Documents:
    """Documents with at least one prompt and one target token."""
    drawn = np.random.default_rng([7, seed])
    lengths = drawn.integers(2, longest + 1, count)
    return documents(lengths.tolist(), drawn.integers(1, lengths).tolist(), seed)


def die() -> None:
    """End this process as a kill does: without any clearing up."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(event: str, ending: str, time: int) -> None:
    """Die when Python is about to do `event` to a path with this ending, for the n-th time."""
    seen = 0

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if name == event and any(str(argument).endswith(ending) for argument in arguments):
            seen += 1
            if seen == time:
                die()

    sys.addaudithook(hook)


FSDP = "torch.distributed.fsdp"


def forks() -> Any:
    """A context of processes with libraries that are loaded once: forks of one that holds them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["pyarrow.parquet", "transformers.models.llama.modeling_llama", "peft", "tokenizers", FSDP]
    )
    return context


def killed(work: Callable[..., object], *arguments: object) -> None:
    """Do `work` in a process of its own, which must be killed before it ends."""
    process = forks().Process(target=work, args=arguments)
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
