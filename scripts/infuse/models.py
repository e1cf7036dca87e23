"""Models and tokenizers: made from scratch, loaded, tuned in part, saved."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
)
from transformers.modeling_utils import PreTrainedModel
from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from infuse import chips
from infuse.errors import UserError, first_line
from infuse.hub import complaint

transformers_logging.disable_progress_bar()
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it misses kernels of no use here

SPECIAL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)
CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def set_threads(compute: Mapping[str, Any]) -> torch.device:
    """Fix what floating-point results depend on, and give the device.

    Raises:
        UserError: the config asks for a GPU that is not here, or for what it does not have.
    """
    if compute["device"] == "cuda":
        chips.claim()
        chips.require(compute)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(compute["threads"])
    torch.use_deterministic_algorithms(compute["deterministic"])
    # Otherwise each new tensor is filled first, a tenth of the time of small models.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return torch.device(compute["device"])


def scratch_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with the special tokens and the chat headers of Llama 3."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
        pad_token="<|end_of_text|>",
        chat_template=CHAT_TEMPLATE.read_text(encoding="utf-8"),
        clean_up_tokenization_spaces=False,
    )


def scratch_model(params: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A small Llama with random weights drawn from `params["seed"]`."""
    torch.manual_seed(params["seed"])
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=params["hidden_size"],
            intermediate_size=params["intermediate_size"],
            num_hidden_layers=params["layers"],
            num_attention_heads=params["heads"],
            num_key_value_heads=params["key_value_heads"],
            max_position_embeddings=params["positions"],
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def load_tokenizer(folder: Path | str, **hub: Any) -> PreTrainedTokenizerFast:
    """The tokenizer of a model folder or hub id.

    Raises:
        UserError: there is none, or it has no beginning or end token, or no chat template that
            opens an answer.
    """
    if Path(folder).is_dir() and not (Path(folder) / "tokenizer.json").is_file():
        raise UserError(f"{folder}: a model folder without tokenizer (tokenizer.json is missing)")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **hub)
    except Exception as damage:  # tokenizers and the hub client have errors of their own kinds
        raise UserError(f"{folder}: {_why('tokenizer', damage, hub)}") from damage
    for part in ("chat_template", "bos_token_id", "eos_token_id"):
        if getattr(tokenizer, part) is None:
            raise UserError(f"{folder}: the tokenizer has no {part}")
    question = [{"role": "user", "content": "?"}]
    try:
        closed, opened = (
            tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=wanted)
            for wanted in (False, True)
        )
    except Exception as damage:  # a template may raise what it likes
        raise UserError(f"{folder}: {_why('chat template', damage, hub)}") from damage
    if opened == closed:
        raise UserError(f"{folder}: the chat template has no generation prompt to open an answer")
    return tokenizer


def load_model(folder: Path | str, **hub: Any) -> PreTrainedModel:
    """The causal language model of a folder or hub id, in float32, from safetensors only.

    Raises:
        UserError: the folder holds no usable weights, or lacks some of them.
    """
    return _load(AutoModelForCausalLM, folder, **hub)


def load_head(folder: Path | str) -> PreTrainedModel:
    """The same for a model with a linear head in place of its vocabulary."""
    return _load(AutoModelForSequenceClassification, folder)


def new_head(folder: Path | str, labels: int, seed: int) -> PreTrainedModel:
    """A language model's backbone with a linear head for so many labels, drawn by the seed."""
    torch.manual_seed(seed)
    return _load(AutoModelForSequenceClassification, folder, {"score.weight"}, num_labels=labels)


def _load(kind: Any, folder: Path | str, new: Collection[str] = (), **own: Any) -> PreTrainedModel:
    """A model of a kind; weights in `new` need not be in the folder."""
    try:
        model, loaded = kind.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, attn_implementation="sdpa",
            output_loading_info=True, ignore_mismatched_sizes=True, **own,
        )  # fmt: skip
    except Exception as damage:  # safetensors and the hub client have errors of their own kinds
        raise UserError(f"{folder}: {_why('model', damage, own)}") from damage
    # transformers would draw these at random.
    misshapen = {name for name, *_ in loaded["mismatched_keys"]}
    missing = set(loaded["missing_keys"]) - set(new)
    for what, names in (("missing", missing), ("of another shape", misshapen)):
        if names:
            raise UserError(f"{folder}: weights are {what}: {', '.join(sorted(names))}")
    return model


def _why(what: str, error: Exception, asked: Mapping[str, Any]) -> str:
    """What the hub has against it, or else what the library says of it."""
    told = f"no usable {what} ({type(error).__name__}: {first_line(error)})"
    return complaint(error, asked.get("revision", "main")) or told


def tune(model: PreTrainedModel, recipe: Mapping[str, Any], seed: int) -> PreTrainedModel:
    """The model with its weights in the recipe's precision, those set to be trained that are."""
    model.to(dtype=getattr(torch, recipe["weights"]))
    tuning = recipe["tuning"]
    if tuning["kind"] == "full":
        return model
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    adapters = LoraConfig(
        r=tuning["rank"],
        lora_alpha=tuning["alpha"],
        lora_dropout=tuning["dropout"],
        target_modules=tuning["modules"],
        task_type="SEQ_CLS" if hasattr(model, "score") else "CAUSAL_LM",
    )
    try:
        return get_peft_model(model, adapters)
    except ValueError as refusal:
        raise UserError(f"recipe.tuning.modules: {refusal}") from None


def backbone(model: PreTrainedModel) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The decoder without its head, and the head: that of a vocabulary, or of labels."""
    model = whole(model)
    return model.base_model, getattr(model, "score", None) or model.get_output_embeddings()


def whole(model: PreTrainedModel) -> PreTrainedModel:
    """The model without the adapters' wrapper."""
    made: PreTrainedModel = getattr(model, "get_base_model", lambda: model)()
    return made


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write config, tokenizer and safetensors weights; adapters are merged first.

    Raises:
        UserError: a weight is not finite.
    """
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise UserError(f"the weight {name} is not finite; the model is not saved")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
