"""Models and tokenizers: made from scratch, loaded, tuned in part, saved."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from infuse.config.base import Architecture
from infuse.config.compute import Arithmetic, Compute
from infuse.config.recipe import Recipe
from infuse.core.errors import UserError, first_line
from infuse.core.hub_errors import complaint
from infuse.models import checks, gpus
from infuse.models.checks import ALL_LINEAR
from infuse.models.heads import Head, head_of
from infuse.models.hf import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    disable_progress_bar,
)

disable_progress_bar()
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it misses kernels of no use here

SPECIAL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
)
CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")
TEMPLATES = {"plain": Path(__file__).with_name("plain_template.jinja")}


def set_threads(compute: Arithmetic) -> torch.device:
    """Fix what floating-point results depend on, and give the device.

    Raises:
        UserError: the config asks for a GPU that is not here, or for what it does not have.
    """
    if compute.device == "cuda":
        gpus.claim()
        gpus.require(compute)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(compute.threads)
    torch.use_deterministic_algorithms(compute.deterministic)
    # Otherwise each new tensor is filled first, a tenth of the time of small models.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return torch.device(compute.device)


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


def scratch_model(sizes: Architecture, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A small Llama with random weights, drawn by the seed."""
    torch.manual_seed(sizes.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=sizes.hidden_size,
            intermediate_size=sizes.intermediate_size,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            num_key_value_heads=sizes.key_value_heads,
            max_position_embeddings=sizes.positions,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def load_tokenizer(
    folder: Path | str, template: str | None = None, **hub: Any
) -> PreTrainedTokenizerFast:
    """The tokenizer of a model folder or hub id.

    One that names no end token has that of the model's generation config.

    Args:
        template: a name in `TEMPLATES`; None: the tokenizer's own chat template.

    Raises:
        UserError: there is none, or it has no end token or no chat template.
    """
    if "gguf_file" not in hub and _lacks(folder, "tokenizer.json"):
        raise UserError(f"{folder}: a model folder without tokenizer (tokenizer.json is missing)")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **hub)
    except Exception as damage:  # tokenizers and the hub client have errors of their own kinds
        raise UserError(f"{folder}: {_why('tokenizer', damage, hub)}") from damage
    if template is not None:
        tokenizer.chat_template = TEMPLATES[template].read_text(encoding="utf-8")
    if tokenizer.eos_token_id is None:
        tokenizer.eos_token = next(map(tokenizer.convert_ids_to_tokens, ends(folder, **hub)), None)
    helps = {"chat_template": "; base.chat_template: plain gives it one"}
    for part in ("chat_template", "eos_token_id"):
        if getattr(tokenizer, part) is None:
            raise UserError(f"{folder}: the tokenizer has no {part}{helps.get(part, '')}")
    return tokenizer


def _lacks(folder: Path | str, file: str) -> bool:
    """Whether a folder of this machine does not have the file; a hub id may have it."""
    return Path(folder).is_dir() and not (Path(folder) / file).is_file()


def require_gguf(file: Path) -> None:
    """See that a file is GGUF, and that what reads it is installed.

    Raises:
        UserError: it is not.
    """
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise UserError(f"{file}: not a GGUF file (it does not begin with GGUF)")
    if importlib.util.find_spec("gguf") is None:
        raise UserError(
            "base.kind: gguf needs a package: pip install -r envs/smollm2.txt --no-deps"
        )


def ends(folder: Path | str, **hub: Any) -> list[int]:
    """The tokens at which the model of a folder or hub id stops, as its generation config says."""
    try:
        tokens = GenerationConfig.from_pretrained(folder, **hub).eos_token_id
    except Exception:  # it need not have one
        return []
    return [tokens] if isinstance(tokens, int) else list(tokens or ())


def load_model(folder: Path | str, **how: Any) -> PreTrainedModel:
    """The causal language model of a folder or hub id, in float32, from safetensors only.

    Args:
        how: the revision of a hub id; the `gguf_file` in the folder; what `in_4_bits` gives; the
            `device_map`: "meta" for a model without weights.

    Raises:
        UserError: the folder holds no usable weights, or lacks some of them.
    """
    if "gguf_file" not in how:
        return _load(AutoModelForCausalLM, folder, **how)
    with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that can't be switched off
        model = _load(AutoModelForCausalLM, folder, **how)
    model.hf_quantizer.remove_quantization_config(model)  # its weights are ordinary now
    return model


def load_head(folder: Path | str, **how: Any) -> PreTrainedModel:
    """The same for a model with a linear head in place of its vocabulary."""
    return _load(AutoModelForSequenceClassification, folder, **how)


def new_head(folder: Path | str, labels: int, seed: int, **how: Any) -> PreTrainedModel:
    """A language model's backbone with a linear head for so many labels, drawn by the seed.

    Args:
        how: as of `load_model`.
    """
    torch.manual_seed(seed)
    new = {"score.weight"}
    return _load(AutoModelForSequenceClassification, folder, new, num_labels=labels, **how)


def _load(kind: Any, folder: Path | str, new: Collection[str] = (), **own: Any) -> PreTrainedModel:
    """A model of a kind; weights in `new` need not be in the folder."""
    try:
        model, loaded = kind.from_pretrained(
            folder, use_safetensors=True, attn_implementation="sdpa", output_loading_info=True,
            ignore_mismatched_sizes=True, **({"dtype": torch.float32} | own),
        )  # fmt: skip
    except Exception as damage:  # safetensors and the hub client have errors of their own kinds
        raise UserError(f"{folder}: {_why('model', damage, own)}") from damage
    if getattr(model.config.get_text_config(), "attn_logit_softcapping", None):
        model.set_attn_implementation("eager")  # no other kernel of transformers' heeds the cap
    _still(model)
    # transformers would draw these at random.
    misshapen = {name for name, *_ in loaded["mismatched_keys"]}
    missing = set(loaded["missing_keys"]) - set(new)
    for what, names in (("missing", missing), ("of another shape", misshapen)):
        if names:
            raise UserError(f"{folder}: weights are {what}: {', '.join(sorted(names))}")
    return model


def _still(model: torch.nn.Module) -> None:
    """Switch off the dropout that some models bring along: a step's loss would be another in each
    layout, and with each number of passes. That of adapters is a recipe's, and is kept.
    """
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
        for name, value in vars(part).items():
            if "drop" in name and isinstance(value, float):
                setattr(part, name, 0.0)


def _why(what: str, error: Exception, asked: Mapping[str, Any]) -> str:
    """What the hub has against it, or else what the library says of it."""
    reason = f"no usable {what} ({type(error).__name__}: {first_line(error)})"
    return complaint(error, asked.get("revision", "main")) or reason


def in_4_bits(recipe: Recipe, compute: Compute) -> dict[str, Any]:
    """How a model is loaded for a recipe that keeps its frozen weights in 4 bits; else nothing.

    The weights of the layers are NF4 with constants of 8 bits (arXiv 2305.14314), on the device
    that trains; embeddings, norms and head are in the recipe's precision.

    Raises:
        UserError: bitsandbytes can't do that on the device.
    """
    if recipe.bits is None:
        return {}
    device = compute.device
    try:
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit

        dequantize_4bit(*quantize_4bit(torch.zeros(64, device=device), quant_type="nf4"))
    except ModuleNotFoundError:
        raise
    except Exception as failure:  # a missing kernel or driver: each has its own kind
        reason = f"bitsandbytes can't do that on {device} ({first_line(failure)})"
        raise UserError(f"recipe.tuning.bits: 4, but {reason}") from failure
    form = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute.dtype,
    )
    dtype = getattr(torch, recipe.weights)
    return {"quantization_config": form, "dtype": dtype, "device_map": {"": device}}


def tune(model: PreTrainedModel, recipe: Recipe, seed: int) -> PreTrainedModel:
    """The model with its weights in the recipe's precision, those set to be trained that are.

    For 4 bits it must have been loaded as `in_4_bits` says.
    """
    tuning = recipe.tuning
    if recipe.bits is None:
        # Not what is computed from the config, as the angles of positions: a model that is read
        # again has them exact.
        for weight in model.parameters():
            weight.data = weight.data.to(getattr(torch, recipe.weights))
    for _, layer in _coarse(model):
        # On some CPUs an evaluation would leave the weights in a form that has no gradients.
        layer.support_avx512bf16_for_cpu = False
    if tuning.kind == "full":
        return model
    from peft import LoraConfig, get_peft_model

    checks.modules(model, tuning.modules, "recipe.tuning.modules")
    torch.manual_seed(seed)
    adapters = LoraConfig(
        r=tuning.rank,
        lora_alpha=tuning.alpha,
        lora_dropout=tuning.dropout,
        target_modules=ALL_LINEAR if tuning.modules == [ALL_LINEAR] else tuning.modules,
        task_type="SEQ_CLS" if hasattr(model, "score") else "CAUSAL_LM",
    )
    try:
        return get_peft_model(model, adapters)
    except ValueError as refusal:
        raise UserError(f"recipe.tuning.modules: {refusal}") from None


def backbone(model: PreTrainedModel) -> tuple[torch.nn.Module, Head]:
    """The decoder without its head, and the head: that of a vocabulary, or of labels."""
    model = whole(model)
    return model.base_model, head_of(model)


def positions(model: PreTrainedModel | Path) -> int:
    """How many tokens a model, or that of a folder, reads at most; without a limit, no end."""
    config = AutoConfig.from_pretrained(model) if isinstance(model, Path) else model.config
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(most or sys.maxsize)


def whole(model: PreTrainedModel) -> PreTrainedModel:
    """The model without the adapters' wrapper."""
    inner: PreTrainedModel = getattr(model, "get_base_model", lambda: model)()
    return inner


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write config, tokenizer and safetensors weights; adapters are merged first.

    Weights in 4 bits are merged as the numbers that they stood for in training, and all is written
    in the precision of the products.

    Raises:
        UserError: a weight is not finite.
    """
    _refine(model)
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    finite(model)
    if hasattr(model, "generation_config"):  # with a linear head there is none
        model.generation_config = _writable(model.generation_config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _writable(config: GenerationConfig) -> GenerationConfig:
    """A generation config; of one that transformers would not write, the tokens alone.

    Some models on the hub have settings of sampling without sampling. Here none of them is read.
    """
    try:
        config.validate(strict=True)
    except ValueError:
        tokens = ("bos_token_id", "eos_token_id", "pad_token_id")
        return GenerationConfig(**{name: getattr(config, name) for name in tokens})
    return config


def finite(model: PreTrainedModel) -> None:
    """Refuse a model with a weight that is not finite."""
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise UserError(f"the weight {name} is not finite; the model is not saved")


def _coarse(model: torch.nn.Module) -> list[tuple[str, Any]]:
    """The layers whose weights are in 4 bits, by name."""
    parts = model.named_modules()
    return [(name, part) for name, part in parts if getattr(part, "quant_state", None) is not None]


def _refine(model: PreTrainedModel) -> None:
    """Put ordinary layers in the place of those in 4 bits, with their adapters merged."""
    layers = _coarse(model)
    if not layers:
        return
    from bitsandbytes.functional import dequantize_4bit

    config = whole(model).config.quantization_config
    dtype = config.bnb_4bit_compute_dtype
    for name, layer in layers:
        weight = dequantize_4bit(layer.weight.data, layer.quant_state).float()
        place = name.removesuffix(".base_layer")
        if place != name:
            weight += model.get_submodule(place).get_delta_weight("default")
        outputs, inputs = weight.shape
        merged = torch.nn.Linear(inputs, outputs, bias=False, device="meta")
        merged.weight = torch.nn.Parameter(weight.to(dtype))
        merged.bias = layer.bias
        model.set_submodule(place, merged)
    whole(model).hf_quantizer.remove_quantization_config(whole(model))
    model.to(dtype=dtype)
