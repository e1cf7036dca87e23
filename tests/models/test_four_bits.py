"""Adapters on weights in 4 bits: what was trained is what is saved, and a kill changes no byte."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bitsandbytes.functional
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers.modeling_utils import PreTrainedModel

import tiny
from infuse.config.recipe import Lora, RowBatching
from infuse.core.errors import UserError
from infuse.models import loading
from infuse.training import attention, batching, loop
from infuse.training.batching import Rows
from infuse.training.checkpoints import History
from infuse.training.step import Engine

COARSE = tiny.LORA | {"modules": ["all-linear"], "bits": 4}
DOCUMENTS = tiny.random_documents(60, 2)
STEPS = batching.steps(DOCUMENTS.lengths, RowBatching(kind="rows", rows=4), 2, 1)
TOKENS = torch.from_numpy(np.random.default_rng(0).integers(5, 300, (4, 20)))
WEIGHTS = "model.safetensors"
KINDS: dict[str, Callable[[], PreTrainedModel]] = {"llama": tiny.model, "mistral": tiny.mistral}


@pytest.fixture(scope="module", params=sorted(KINDS))
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model's folder."""
    folder = tmp_path_factory.mktemp("base")
    loading.save(KINDS[request.param](), tiny.tokenizer(), folder)
    return folder


def tuned(base: Path, tuning: Lora = COARSE, **compute: Any) -> Engine:
    """The base model as a recipe with weights in the precision of the products trains it."""
    arithmetic = tiny.COMPUTE | {"layout": "packed", "micro_tokens": 48} | compute
    recipe = tiny.tuned(tuning) | {"weights": arithmetic.dtype}
    model = loading.load_model(base, **loading.in_4_bits(recipe, arithmetic))
    return Engine(loading.tune(model, recipe, 5), arithmetic)


def run(engine: Engine, work: Path, steps: list[Rows] = STEPS, evaluations: int = 2) -> History:
    recipe = tiny.RECIPE | {"evaluations_per_epoch": evaluations}
    validation = tiny.random_documents(5, 9)
    return loop.train(engine, DOCUMENTS, validation, steps, recipe, 5, work, 8)


def saved(engine: Engine, folder: Path) -> bytes:
    loading.save(engine.model, tiny.tokenizer(), folder)
    return (folder / WEIGHTS).read_bytes()


@torch.no_grad()
def logits(model: PreTrainedModel) -> torch.Tensor:
    whole = loading.whole(model)
    before = whole.config._attn_implementation
    whole.set_attn_implementation("sdpa")
    float_logits = model.eval()(TOKENS).logits.float()
    whole.set_attn_implementation(before)
    return float_logits


@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-5), ("bfloat16", 0.06)])
def test_what_was_trained_is_what_is_saved(
    base: Path, tmp_path: Path, dtype: str, most: float
) -> None:
    before = (base / WEIGHTS).read_bytes()
    engine = tuned(base, dtype=dtype)
    start, loss = logits(engine.model), engine.evaluate(DOCUMENTS)
    run(engine, tmp_path / "work")
    learned = engine.evaluate(DOCUMENTS)
    assert loss and learned and learned < loss - 0.1
    trained = logits(engine.model)
    saved(engine, tmp_path / "out")
    assert (base / WEIGHTS).read_bytes() == before
    weights = load_file(tmp_path / "out" / WEIGHTS)
    assert {weight.dtype for weight in weights.values()} == {getattr(torch, dtype)}
    assert weights.keys() == load_file(base / WEIGHTS).keys()
    merged = logits(loading.load_model(tmp_path / "out"))
    apart = (merged - trained).abs().mean() / trained.abs().mean()
    assert apart < most
    # Neither the adapters nor the rounding to 4 bits may be lost on the way.
    for other in (start, logits(loading.load_model(base))):
        assert (merged - other).abs().mean() / trained.abs().mean() > 10 * apart


def test_adapters_alone_are_trained_and_in_float32(base: Path) -> None:
    model = tuned(base, dtype="bfloat16").model
    kinds = {
        trained: {weight.dtype for weight in model.parameters() if weight.requires_grad == trained}
        for trained in (True, False)
    }
    assert kinds == {True: {torch.float32}, False: {torch.uint8, torch.bfloat16}}
    # Of each of 7 products in 2 layers; the head is neither coarse nor tuned.
    coarse = [weight for weight in model.parameters() if weight.dtype == torch.uint8]
    assert len(coarse) == 14 and sum(weight.requires_grad for weight in model.parameters()) == 28


def test_attention_is_in_the_precision_of_the_products(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever that of the weights: on a GPU the fast kernel takes nothing else."""
    seen = set()
    inner = attention._one_by_one

    def watched(*parts: Any) -> torch.Tensor:
        seen.update(part.dtype for part in parts[:3])
        return inner(*parts)

    monkeypatch.setattr(attention, "_one_by_one", watched)
    compute = tiny.COMPUTE | {"layout": "packed", "dtype": "bfloat16"}
    recipe = tiny.tuned(COARSE) | {"weights": "float32"}
    model = loading.load_model(base, **loading.in_4_bits(recipe, compute))
    Engine(loading.tune(model, recipe, 5), compute).step(DOCUMENTS, STEPS[0], 1.0, 0)
    assert seen == {torch.bfloat16}


def test_a_resumed_run_ends_with_the_same_bytes(base: Path, tmp_path: Path) -> None:
    class Broken(list[Rows]):
        def __getitem__(self, at: Any) -> Any:
            if at == 21:
                raise RuntimeError("the 22nd step")
            return super().__getitem__(at)

    undisturbed = tuned(base)
    history = run(undisturbed, tmp_path / "undisturbed")
    with pytest.raises(RuntimeError):
        run(tuned(base), tmp_path / "work", Broken(STEPS))
    kept = load_file(tmp_path / "work/checkpoint-16/state.safetensors")
    assert all("lora_" in name for name in kept)
    resumed = tuned(base)
    assert run(resumed, tmp_path / "work") == history
    assert saved(resumed, tmp_path / "a") == saved(undisturbed, tmp_path / "b")


def test_evaluations_and_recomputed_activations_change_nothing(base: Path, tmp_path: Path) -> None:
    """An evaluation may bring weights into another form on some CPUs."""
    runs: dict[str, tuple[int, str]] = {"a": (2, "never"), "b": (0, "never"), "c": (0, "always")}
    weight_files = []
    for name, (evaluations, again) in runs.items():
        engine = tuned(base, gradient_checkpointing=again)
        run(engine, tmp_path / name, STEPS[:10], evaluations)
        weight_files.append(saved(engine, tmp_path / name / "out"))
    assert len(set(weight_files)) == 1


def test_layers_without_adapters_are_saved_as_they_were_read(base: Path, tmp_path: Path) -> None:
    engine = tuned(base, COARSE | {"modules": ["q_proj"]})
    trained = logits(engine.model)
    saved(engine, tmp_path)
    torch.testing.assert_close(logits(loading.load_model(tmp_path)), trained)


def test_a_linear_head_is_trained_beside_them(base: Path, tmp_path: Path) -> None:
    recipe = tiny.tuned(COARSE)
    model = loading.new_head(base, 3, 5, **loading.in_4_bits(recipe, tiny.COMPUTE))
    model = loading.tune(model, recipe, 5)
    model.score.weight.data.add_(1)
    head = model.score.weight.detach().clone()
    loading.save(model, tiny.tokenizer(), tmp_path)
    assert torch.equal(loading.load_head(tmp_path).score.weight, head)


def test_a_device_that_is_not_up_to_it_is_named(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: Any, **__: Any) -> None:
        raise RuntimeError("no kernel\nmore of it")

    monkeypatch.setattr(bitsandbytes.functional, "quantize_4bit", lacking)
    said = "recipe.tuning.bits: 4, but bitsandbytes can't do that on cpu (no kernel)"
    with pytest.raises(UserError, match=f"^{re.escape(said)}$"):
        tuned(base)
    assert tuned(base, tiny.LORA).model is not None
