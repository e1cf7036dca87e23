"""Small models of the families that people use: the architecture, the tokens, a template like its.

The templates are our own. They do what those of the family do: which tokens they write and where,
what becomes of a system message, of thoughts and of the date.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers as hub
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers import models as cores
from transformers.modeling_utils import PreTrainedModel
from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast

import tiny
from infuse.models import loading

WORDS = [
    "We sang by the river, and in town they heard it.", "classify the text: joy, anger, calm",
    "my aunts rest after lunch, so it seems", "user assistant system think \n\nAnswer: no.",
]  # fmt: skip
WINDOW = 8
POSITIONS = 96
WIDTH = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": POSITIONS,
}  # fmt: skip
CAPPED = {
    "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": WINDOW,
    "layer_types": ["sliding_attention", "full_attention"],
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """A family, and what is expected of it.

    Attributes:
        config: makes the architecture's config, given a vocabulary's size.
        special: tokens that are called special.
        eos: the tokenizer's end token.
        turn: the token that ends an answer.
        template: None: the plain one.
        begins: the tokenizer's beginning token, or "".
        opens: what stands before a plain document.
        ends: of the generation config; none: the tokenizer's.
        added: tokens of the template that are not called special.
        system: whether the template has a system role.
        pieces: whether tokens are of words with their space (Llama 2), and not of bytes.
        puts: whether the tokenizer puts the beginning token before a text.
        strips: whether its tokens swallow the white space after them.
        thoughts: what stands before an answer, of thoughts that are switched off or opened.
    """

    config: Callable[[int], Any]
    special: tuple[str, ...]
    eos: str
    turn: str
    template: str | None = None
    begins: str = ""
    opens: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    system: bool = True
    pieces: bool = False
    puts: bool = False
    strips: bool = False
    thoughts: str = ""


def config(kind: str, **own: Any) -> Callable[[int], Any]:
    """What makes a config of transformers' class."""
    return lambda size: getattr(hub, kind)(vocab_size=size, **own)


def turns(start: str, end: str, extra: str = "", opening: str = "") -> str:
    """A template of turns: a header, the message, an end."""
    return (
        extra
        + "{% for m in messages %}"
        + start.replace("ROLE", "{{ m.role }}")
        + "{{ m.content }}"
        + end
        + "{% endfor %}"
        "{% if add_generation_prompt %}"
        + start.replace("ROLE", "assistant")
        + opening
        + "{% endif %}"
    )


CHATML = turns("<|im_start|>ROLE\n", "<|im_end|>\n")
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}" + NO_SYSTEM + "{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)  # fmt: skip
GEMMA_3 = (
    "{{ bos_token }}{% set first = '' %}{% if messages[0].role == 'system' %}"
    "{% set first = messages[0].content + '\n\n' %}{% set messages = messages[1:] %}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ first if loop.first else '' }}{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)  # fmt: skip
INST = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
LLAMA_2 = (
    "{% set told = '' %}{% if messages[0].role == 'system' %}"
    "{% set told = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}"
    "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}{% if m.role == 'user' %}"
    "{{ bos_token }}[INST] {{ told if loop.first else '' }}{{ m.content | trim }} [/INST]"
    "{% else %} {{ m.content | trim }} {{ eos_token }}{% endif %}{% endfor %}"
)
THOUGHTS = (
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
)
DATED = (
    "<|im_start|>system\nToday: {{ strftime_now('%d %B %Y') }}\n"
    "{% if messages[0].role == 'system' %}{{ messages[0].content }}"
    "{% set messages = messages[1:] %}{% endif %}<|im_end|>\n"
)
ROLES = turns("<|start_of_role|>ROLE<|end_of_role|>", "<|end_of_text|>\n")
GRANITE = (
    "{% if messages[0].role != 'system' %}<|start_of_role|>system<|end_of_role|>"
    "{{ strftime_now('%B %d, %Y') }}{% if thinking %} Think.{% endif %}<|end_of_text|>\n{% endif %}"
) + ROLES
_BEGIN, _STOP, _USER, _MODEL = (
    token.replace("|", "\N{FULLWIDTH VERTICAL LINE}").replace(" ", "\N{LOWER ONE EIGHTH BLOCK}")
    for token in ("<|begin of sentence|>", "<|end of sentence|>", "<|User|>", "<|Assistant|>")
)
DEEPSEEK = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ messages[0].content }}"
    "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}{% if m.role == 'user' %}"
    + _USER + "{{ m.content }}{% else %}" + _MODEL + "{{ m.content }}" + _STOP
    + "{% endif %}{% endfor %}{% if add_generation_prompt %}" + _MODEL + "<think>\n{% endif %}"
)  # fmt: skip
_LLAMA_3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>")
_IM = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_PHI = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
_GEMMA = ("<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>")
_END = ("<|endoftext|>",)
_S = ("<s>", "</s>")

FAMILIES = {
    "Llama 2": Family(
        config("LlamaConfig", **WIDTH), _S, "</s>", "</s>", LLAMA_2,
        begins="<s>", opens=("<s>",), pieces=True, puts=True,
    ),
    "Llama 3": Family(
        config("LlamaConfig", tie_word_embeddings=True, **WIDTH), (*_LLAMA_3, "<|eot_id|>"),
        "<|eot_id|>", "<|eot_id|>",
        turns("<|start_header_id|>ROLE<|end_header_id|>\n\n", "<|eot_id|>", "{{ bos_token }}"),
        begins="<|begin_of_text|>", opens=("<|begin_of_text|>",), puts=True,
        ends=("<|end_of_text|>", "<|eot_id|>"),
    ),
    "TinyLlama": Family(
        config("LlamaConfig", **WIDTH), _S, "</s>", "</s>", turns("<|ROLE|>\n", "</s>\n"),
        begins="<s>", opens=("<s>",), pieces=True, puts=True,
    ),
    "Mistral": Family(
        config("MistralConfig", sliding_window=WINDOW, **WIDTH), _S, "</s>", "</s>",
        NO_SYSTEM + INST, begins="<s>", opens=("<s>",), pieces=True, puts=True, system=False,
    ),
    "Qwen 2.5": Family(
        config("Qwen2Config", tie_word_embeddings=True, **WIDTH), _IM, "<|im_end|>", "<|im_end|>",
        CHATML, ends=("<|im_end|>", "<|endoftext|>"),
    ),
    "Qwen 3": Family(
        config("Qwen3Config", head_dim=8, tie_word_embeddings=True, **WIDTH), _IM, "<|im_end|>",
        "<|im_end|>", turns("<|im_start|>ROLE\n", "<|im_end|>\n", opening=THOUGHTS),
        added=("<think>", "</think>"), thoughts="<think>\n\n</think>\n\n",
    ),
    "SmolLM 2": Family(
        config("LlamaConfig", tie_word_embeddings=True, **WIDTH), _IM, "<|im_end|>", "<|im_end|>",
        CHATML, begins="<|im_start|>",
    ),
    "SmolLM 3": Family(
        config("SmolLM3Config", pad_token_id=0, no_rope_layer_interval=2, **WIDTH), _IM,
        "<|im_end|>", "<|im_end|>",
        turns("<|im_start|>ROLE\n", "<|im_end|>\n", DATED, THOUGHTS),
        added=("<think>", "</think>"), thoughts="<think>\n\n</think>\n\n",
    ),
    "Gemma 2": Family(
        config(
            "Gemma2Config", attn_logit_softcapping=2.0, final_logit_softcapping=3.0, **WIDTH,
            **CAPPED,
        ),
        _GEMMA, "<eos>", "<end_of_turn>", GEMMA, begins="<bos>", opens=("<bos>",), puts=True,
        ends=("<eos>", "<end_of_turn>"), system=False,
    ),
    "Gemma 3": Family(
        config("Gemma3TextConfig", **WIDTH, **CAPPED), _GEMMA, "<eos>", "<end_of_turn>", GEMMA_3,
        begins="<bos>", opens=("<bos>",), puts=True, ends=("<eos>", "<end_of_turn>"),
    ),
    "Phi 3": Family(
        config("Phi3Config", pad_token_id=0, sliding_window=WINDOW, **WIDTH),
        ("<s>", *_PHI), "<|endoftext|>", "<|end|>", turns("<|ROLE|>\n", "<|end|>\n"),
        begins="<s>", ends=("<|endoftext|>", "<|end|>"), strips=True,
    ),
    "Phi 4 mini": Family(
        config("Phi3Config", pad_token_id=0, partial_rotary_factor=0.5, **WIDTH), _PHI,
        "<|endoftext|>", "<|end|>", turns("<|ROLE|>", "<|end|>"), begins="<|endoftext|>",
        ends=("<|end|>", "<|endoftext|>"),
    ),
    "OLMo 2": Family(
        config("Olmo2Config", pad_token_id=0, **WIDTH), _END, "<|endoftext|>", "<|endoftext|>",
        turns("<|ROLE|>\n", "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\n",
              "{{ bos_token }}"),
        begins="<|endoftext|>", opens=("<|endoftext|>",),
    ),
    "Granite": Family(
        config(
            "GraniteConfig", logits_scaling=0.5, embedding_multiplier=3.0, residual_multiplier=0.5,
            attention_multiplier=0.2, attention_dropout=0.1, **WIDTH,
        ),
        ("<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>"), "<|end_of_text|>",
        "<|end_of_text|>", GRANITE, begins="<|end_of_text|>",
    ),
    "GPT-2": Family(
        config("GPT2Config", n_embd=32, n_layer=2, n_head=4, n_positions=POSITIONS), _END,
        "<|endoftext|>", "<|endoftext|>", begins="<|endoftext|>", opens=("<|endoftext|>",),
    ),
    "Pythia": Family(
        config("GPTNeoXConfig", **{k: v for k, v in WIDTH.items() if "key" not in k}), _END,
        "<|endoftext|>", "<|endoftext|>", begins="<|endoftext|>", opens=("<|endoftext|>",),
    ),
    "OPT": Family(
        config(
            "OPTConfig", hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=4,
            word_embed_proj_dim=16, max_position_embeddings=POSITIONS, pad_token_id=0,
            do_layer_norm_before=False,
        ),
        ("</s>", "<pad>"), "</s>", "</s>", begins="</s>", opens=("</s>",), puts=True,
    ),
    "DeepSeek, distilled": Family(
        config("Qwen2Config", **WIDTH), (_BEGIN, _STOP), _STOP, _STOP, DEEPSEEK, begins=_BEGIN,
        opens=(_BEGIN,), puts=True, thoughts="<think>\n",
        added=(_USER, _MODEL, "<think>", "</think>"),
    ),
}  # fmt: skip


@functools.cache
def tokenizer(name: str) -> PreTrainedTokenizerFast:
    """The tokenizer of a family."""
    family = FAMILIES[name]
    core = tiny.llama_2().backend_tokenizer if family.pieces else _bytes()
    core = Tokenizer.from_str(core.to_str())
    core.add_special_tokens([AddedToken(token, rstrip=family.strips) for token in family.special])
    core.add_tokens([AddedToken(token, normalized=False) for token in family.added])
    if family.puts:
        first = family.begins
        core.post_processor = processors.TemplateProcessing(
            single=f"{first} $A", special_tokens=[(first, core.token_to_id(first))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token=family.eos, bos_token=family.begins or None,
        chat_template=family.template, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def _bytes() -> Tokenizer:
    core = Tokenizer(cores.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.train_from_iterator(
        WORDS * 3,
        trainers.BpeTrainer(
            vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )  # fmt: skip
    return core


def model(name: str, seed: int = 0) -> PreTrainedModel:
    """A model whose weights are large enough that every token matters to every other."""
    loading.set_threads(tiny.COMPUTE)
    words = tokenizer(name)
    torch.manual_seed(seed)
    network = hub.AutoModelForCausalLM.from_config(FAMILIES[name].config(len(words) + 3))
    with torch.no_grad():
        for weight in network.parameters():
            if weight.dim() > 1:
                weight.mul_(6)
    return network.eval()


def save(name: str, folder: Path) -> Path:
    """The model folder of a family, as it might lie on a hub."""
    words = tokenizer(name)
    loading.save(model(name), words, folder)
    ends = FAMILIES[name].ends or (FAMILIES[name].eos,)
    generation_config = {"eos_token_id": words.convert_tokens_to_ids(list(ends))}
    (folder / "generation_config.json").write_text(json.dumps(generation_config))
    return folder
