"""Model folders: what comes in goes out unchanged, or is refused before anything is trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny
from infuse.models.loading import (
    load_model,
    load_tokenizer,
    save,
    scratch_model,
    scratch_tokenizer,
    tune,
)
from stage_runner import Outcome, RunStage

SIZES = tiny.architecture(
    hidden_size=8, intermediate_size=8, heads=2, key_value_heads=1, positions=16
)
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as the workflow saves it."""
    folder = tmp_path_factory.mktemp("models") / "whole"
    tokenizer = scratch_tokenizer(["a text of a few words"], 300)
    save(scratch_model(SIZES, tokenizer), tokenizer, folder)
    return folder


def imported(
    run_stage: RunStage, folder: Path, pad: str | None = None, template: str | None = None
) -> Outcome:
    """What the base stage makes of a folder."""
    params = {
        "kind": "folder", "content": "a hash", "pad_token": pad, "chat_template": template
    }  # fmt: skip
    return run_stage("base", params, settings={"path": str(folder)})


def test_a_whole_folder_comes_out_as_it_went_in(run_stage: RunStage, whole: Path) -> None:
    done = imported(run_stage, whole)
    assert done.facts["parameters"] == load_model(whole).num_parameters()
    before, after = load_file(whole / WEIGHTS), load_file(done.output / WEIGHTS)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    tokenizers = [load_tokenizer(folder) for folder in (whole, done.output)]
    assert tokenizers[0].get_vocab() == tokenizers[1].get_vocab()
    assert tokenizers[0].chat_template == tokenizers[1].chat_template


def test_a_padding_token_is_one_that_the_tokenizer_knows(run_stage: RunStage, whole: Path) -> None:
    done = imported(run_stage, whole, "<|eot_id|>")
    assert done.facts["parameters"]
    tokenizers = [load_tokenizer(folder) for folder in (whole, done.output)]
    assert [tokenizer.pad_token for tokenizer in tokenizers] == ["<|end_of_text|>", "<|eot_id|>"]
    assert len(tokenizers[0]) == len(tokenizers[1])
    refused = imported(run_stage, whole, "<pad>")
    assert refused.reason == f"base.pad_token: the tokenizer of {whole} has no token '<pad>'"


def test_a_head_of_its_own_is_no_missing_weight(whole: Path, tmp_path: Path) -> None:
    model = load_model(whole)
    head = model.get_output_embeddings().weight.detach() + 1
    model.config.tie_word_embeddings = False
    model.get_output_embeddings().weight = torch.nn.Parameter(head)
    save(model, load_tokenizer(whole), tmp_path)
    assert torch.equal(load_model(tmp_path).get_output_embeddings().weight, head)


def drop(name: str) -> Callable[[Path], None]:
    """Damage: a file that is gone."""
    return lambda folder: (folder / name).unlink()


def cut(name: str, length: int) -> Callable[[Path], None]:
    """Damage: a file of which only the beginning is there."""

    def damage(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:length])

    return damage


def rewrite(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    """Damage: other weights."""

    def damage(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        change(weights)
        save_file(weights, folder / WEIGHTS, {"format": "pt"})

    return damage


def template(text: str) -> Callable[[Path], None]:
    """Damage: another chat template."""

    def damage(folder: Path) -> None:
        (folder / "chat_template.jinja").write_text(text)

    return damage


def no_end(folder: Path) -> None:
    """Damage: a tokenizer that knows no end token, beside a generation config that knows none."""
    file = folder / "tokenizer_config.json"
    tokenizer_config = json.loads(file.read_text())
    del tokenizer_config["eos_token"]
    file.write_text(json.dumps(tokenizer_config))
    (folder / "generation_config.json").write_text("{}")


def pickled(folder: Path) -> None:
    """Damage: weights that could run code."""
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


NORM = "model.layers.1.input_layernorm.weight"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (drop("tokenizer.json"), "a model folder without tokenizer (tokenizer.json is missing)"),
        (cut("tokenizer.json", 500), "no usable tokenizer ("),
        (no_end, "the tokenizer has no eos_token_id"),
        (drop("chat_template.jinja"),
         "the tokenizer has no chat_template; base.chat_template: plain gives it one"),
        (template("{% for m in messages %}{{ m['content'] }}{% endfor %}"),
         "the chat template has no generation prompt to open an answer"),
        (template("{% for m in messages %}"), "no usable chat template (TemplateSyntaxError: "),
        (template("{{ raise_exception('no') }}"), "no usable chat template (TemplateError: no)"),
        (drop(WEIGHTS), "no usable model (OSError: "),
        (pickled, "no usable model (OSError: "),
        (cut(WEIGHTS, 0), "no usable model (SafetensorError: "),
        (cut(WEIGHTS, 100), "no usable model (SafetensorError: "),
        (cut(WEIGHTS, -1), "no usable model (SafetensorError: "),
        (rewrite(lambda weights: weights.pop(NORM)), f"weights are missing: {NORM}"),
        (rewrite(lambda weights: weights.update({NORM: torch.ones(9)})),
         f"weights are of another shape: {NORM}"),
        (cut("config.json", 30), "no usable "),
        (drop("config.json"), "no usable "),
    ],
    ids=[
        "no tokenizer", "a tokenizer that was cut", "no end", "no template",
        "a template without generation", "a broken template", "a template that refuses",
        "no weights", "pickled weights", "empty weights", "a header that was cut",
        "weights that were cut", "a weight less", "a weight of another shape",
        "a config that was cut", "no config",
    ],
)  # fmt: skip
def test_a_damaged_folder_is_refused(
    damage: Callable[[Path], None], reason: str, run_stage: RunStage, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    damage(folder)
    assert imported(run_stage, folder).reason.startswith(f"{folder}: {reason}")


def test_a_weight_that_is_no_number_is_refused(
    run_stage: RunStage, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    rewrite(lambda weights: weights[NORM].fill_(float("nan")))(folder)
    done = imported(run_stage, folder)
    assert done.reason == f"{folder}: the weight {NORM} is not finite; the model is not saved"


def test_an_end_token_may_stand_in_the_generation_config(
    run_stage: RunStage, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    no_end(folder)
    (folder / "generation_config.json").write_text('{"eos_token_id": [4, 1]}')
    tokenizer = load_tokenizer(imported(run_stage, folder).output)
    assert tokenizer.eos_token == "<|eot_id|>"


def test_settings_of_sampling_without_sampling_are_left_out(
    run_stage: RunStage, whole: Path, tmp_path: Path
) -> None:
    """transformers reads such a model, and would not write it."""
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    config = {"temperature": 0.9, "top_p": 0.6, "eos_token_id": [4, 1], "bos_token_id": 0}
    (folder / "generation_config.json").write_text(json.dumps(config))
    done = imported(run_stage, folder)
    assert done.code == 0, done.reason
    saved = json.loads((done.output / "generation_config.json").read_text())
    assert saved["eos_token_id"] == [4, 1] and "temperature" not in saved


def test_positions_are_exact_whatever_the_weights(whole: Path) -> None:
    """Of weights in bfloat16 too: a model that is read again computes them anew."""
    exact = dict(load_model(whole).named_buffers())
    tuned = tune(load_model(whole), tiny.RECIPE | {"weights": "bfloat16"}, 0)
    assert {weight.dtype for weight in tuned.parameters()} == {torch.bfloat16}
    assert exact and all(torch.equal(exact[name], now) for name, now in tuned.named_buffers())


def test_an_empty_folder_is_refused(run_stage: RunStage, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    done = imported(run_stage, tmp_path / "none")
    assert done.reason.startswith(f"{tmp_path}/none: a model folder without tokenizer")
