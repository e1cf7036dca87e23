"""The forecast counts what trainings then report, and its formulas what they compute."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

import forecast as stage
import tiny
from infuse.config import experiment
from infuse.config.recipe import Full, Lora, RowBatching
from infuse.config.settings import Settings
from infuse.core.files import read_json, read_rows
from infuse.core.gpu_models import KNOWN
from infuse.core.schemas import REASONINGS
from infuse.data.examples import Documents
from infuse.models import loading, shapes
from infuse.training import batching, cost_model
from infuse.training.step import Engine
from infuse.workflow import forecast_node, plan
from infuse.workflow.job import Job
from trees import Tree, nodes, tiny_plan
from trees import tiny as tiny_change

PACKED = tiny.COMPUTE | {"layout": "packed", "micro_tokens": 512}
EVERY_LAYER = tiny.LORA | {"modules": ["all-linear"]}
SMALL = tiny.LORA | {"rank": 1, "modules": ["q_proj", "k_proj", "v_proj"]}
COARSE = EVERY_LAYER | {"bits": 4}
TWO_FAMILIES = (
    LlamaConfig(hidden_size=16, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2),
    GPT2Config(n_embd=16, n_layer=2, n_head=2),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, saved."""
    folders = tmp_path_factory.mktemp("model")
    loading.save(tiny.model(), tiny.tokenizer(), folders)
    return folders


@pytest.mark.parametrize("tied", [True, False])
def test_sizes_are_those_of_the_model(tmp_path: Path, tied: bool) -> None:
    config = LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=12, vocab_size=70, tie_word_embeddings=tied,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    config.save_pretrained(tmp_path)
    size = shapes.shape(tmp_path, tiny.FULL)
    assert size.weights == size.trained == model.num_parameters()
    assert size.attention == 3 * 4 * 12
    tuned = loading.tune(model, tiny.tuned(tiny.LORA), 0)
    trained = sum(weight.numel() for weight in tuned.parameters() if weight.requires_grad)
    assert shapes.shape(tmp_path, tiny.LORA).trained == trained


@pytest.mark.parametrize("tuning", [tiny.FULL, EVERY_LAYER])
@pytest.mark.parametrize("config", TWO_FAMILIES)
def test_sizes_of_a_linear_head_are_those_of_its_model(
    tmp_path: Path, config: Any, tuning: Any
) -> None:
    """It has no output layer, and embeddings that only look up."""
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tuned = loading.tune(loading.new_head(tmp_path, 3, 0), tiny.tuned(tuning), 0)
    trained = sum(weight.numel() for weight in tuned.parameters() if weight.requires_grad)
    size = shapes.shape(tmp_path, tuning, 3)
    assert size.trained == trained and size.head == 3 * 16
    if tuning == tiny.FULL:
        assert size.weights == trained


@settings(max_examples=10)
@given(seed=st.integers(0, 99), count=st.integers(1, 8))
def test_operations_are_those_that_torch_counts(folder: Path, seed: int, count: int) -> None:
    """But for norms, which are few, and attention on CPU, which torch does not count."""
    documents = tiny.random_documents(count, seed)
    engine = Engine(tiny.model(), PACKED)
    engine.model.train()
    with FlopCounterMode(display=False) as counter:
        for part in engine.passes(documents, np.arange(count)):
            engine.loss_sum(documents, part).backward()  # type: ignore[no-untyped-call]
    size = replace(shapes.shape(folder, tiny.FULL), attention=0)
    products = cost_model.training_flops(size, tiny.FULL, documents, [np.arange(count)])
    norms = sum(
        weight.numel() for weight in engine.model.parameters() if weight.dim() == 1
    ) * int(documents.lengths.sum())  # fmt: skip
    assert products - 6 * norms == counter.get_total_flops()


def test_adapters_spare_the_gradients_of_weights(folder: Path) -> None:
    """Torch counts those of the adapters too, and none before the first of them."""
    documents, steps = tiny.random_documents(9, 1, longest=40), [np.arange(9)]
    tuning = SMALL
    model = loading.tune(tiny.model(), tiny.tuned(tuning), 0)
    engine = Engine(model, PACKED)
    model.train()
    with FlopCounterMode(display=False) as counter:
        engine.step(documents, steps[0], 1.0, 0)
    size = replace(shapes.shape(folder, tuning), attention=0)
    flops = cost_model.training_flops(size, tuning, documents, steps)
    assert flops == pytest.approx(counter.get_total_flops(), rel=0.08)
    assert cost_model.training_flops(size, tiny.FULL, documents, steps) > 1.3 * flops


@pytest.mark.parametrize("tuning", [tiny.FULL, SMALL], ids=["full", "adapters"])
def test_validations_and_what_is_computed_again_go_forward_alone(
    folder: Path, tuning: Full | Lora
) -> None:
    """Attention that torch counts multiplies all pairs of tokens, so twice the causal ones."""
    documents, steps = tiny.documents([120] * 4, [119] * 4), [np.arange(4)]
    size = shapes.shape(folder, tuning)
    size = replace(size, attention=2 * size.attention)
    learned, read = {}, {}
    for again in ("never", "always"):
        model = loading.tune(tiny.model(), tiny.tuned(tuning), 0)
        engine = Engine(model, tiny.COMPUTE | {"gradient_checkpointing": again})
        loading.whole(model).set_attn_implementation("eager")
        model.train()
        with FlopCounterMode(display=False) as counter:
            engine.step(documents, steps[0], 1.0, 0)
        learned[again] = counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            engine.evaluate(documents)
        read[again] = counter.get_total_flops()
    flops = cost_model.training_flops(size, tuning, documents, steps)
    assert learned["never"] == pytest.approx(flops, rel=0.06)
    told = cost_model.forward_flops(size, documents, steps)
    assert [*read.values()] == [pytest.approx(told, rel=0.02)] * 2
    # Torch leaves out a layer's last product, whose result it doesn't need.
    recomputed = cost_model.recomputed_flops(size, documents, steps)
    assert 0.75 < (learned["always"] - learned["never"]) / recomputed < 1


def test_weights_in_4_bits_take_the_memory_that_is_told(tmp_path: Path) -> None:
    """The rest of a step takes what it takes with weights in 16 bits."""
    config = MistralConfig(
        hidden_size=512, intermediate_size=1024, num_hidden_layers=2, num_attention_heads=8,
        num_key_value_heads=4, vocab_size=300,
    )  # fmt: skip
    loading.save(MistralForCausalLM(config), tiny.tokenizer(), tmp_path)
    compute = PACKED | {"dtype": "bfloat16"}
    held, predicted = {}, {}
    for bits in (None, 4):
        recipe = tiny.tuned(COARSE | {"bits": bits}) | {"weights": "bfloat16"}
        model = loading.load_model(tmp_path, **loading.in_4_bits(recipe, compute))
        model = loading.tune(model, recipe, 0)
        held[bits] = sum(weight.nbytes for weight in model.parameters())
        for part in model.modules():
            if state := getattr(part, "quant_state", None):
                held[bits] += state.absmax.nbytes + state.state2.absmax.nbytes
        size = shapes.shape(tmp_path, recipe.tuning)
        trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
        assert size.trained == trained
        predicted[bits] = cost_model.memory(size, tmp_path, compute, recipe, False, 8)
    assert size.coarse == 2 * 512 * (2 * 512 + 2 * 256 + 3 * 1024)
    assert predicted[None] - predicted[4] == pytest.approx(held[None] - held[4], rel=1e-4)
    # Of weights and adapters; moments, gradients, logits and activations come on top.
    assert predicted[4] > held[4]


def test_padding_is_computed_too() -> None:
    documents = tiny.documents([10, 20, 7, 30], [9, 1, 6, 29])
    steps = [np.array([0, 1]), np.array([2, 3])]
    costs = {
        layout: cost_model.padding_and_targets(documents, steps, PACKED | {"layout": layout})
        for layout in ("padded", "packed")
    }
    assert costs == {"padded": (100 / 67, 20), "packed": (1.0, 20)}
    compiled = PACKED | {"compile": True, "micro_tokens": 48}
    assert cost_model.padding_and_targets(documents, steps, compiled) == ((32 + 48) / 67, 20)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("tuning", [tiny.FULL, COARSE], ids=["full", "4 bits"])
def test_activations_are_those_that_are_kept(folder: Path, dtype: str, tuning: Full | Lora) -> None:
    """Counted in one layer, against what a pass of the whole model keeps."""
    compute, recipe = PACKED | {"dtype": dtype}, tiny.tuned(tuning)
    if tuning.kind == "lora":
        recipe = recipe | {"weights": dtype}
    model = loading.load_model(folder, **loading.in_4_bits(recipe, compute))
    engine = Engine(loading.tune(model, recipe, 0), compute)
    engine.model.train()
    constant = {weight.untyped_storage().data_ptr() for weight in engine.model.parameters()}

    def kept(documents: Documents) -> int:
        sizes: dict[int, int] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.untyped_storage().data_ptr() not in constant:
                sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = engine.loss_sum(documents, np.arange(len(documents)))
        assert loss.requires_grad
        return sum(sizes.values())

    # One target a document, so that logits do not count.
    short, long = (tiny.documents([size] * 4, [size - 1] * 4) for size in (20, 60))
    counted = (kept(long) - kept(short)) / (4 * 40)
    predicted = {
        again: cost_model._activations(folder, getattr(torch, dtype), recipe, again)
        for again in (False, True)
    }
    assert predicted[False] == pytest.approx(counted, rel=0.02)
    assert predicted[True] < 0.8 * counted


def test_memory_follows_from_its_settings(folder: Path) -> None:
    def needed(
        recomputed: bool = False, optimizer: str = "adamw", targets: int = 9, **changed: Any
    ) -> float:
        recipe = tiny.tuned(tiny.FULL) | {"optimizer": optimizer}
        size = shapes.shape(folder, tiny.FULL)
        return cost_model.memory(size, folder, PACKED | changed, recipe, recomputed, targets)

    size = shapes.shape(folder, tiny.FULL)
    assert needed() > 16 * size.weights
    assert needed(recomputed=True) < needed()
    assert needed(micro_tokens=64) < needed()
    assert needed(targets=300) - needed() == 291 * len(tiny.tokenizer()) * (2 * 4 + 3 * 4)
    spared = needed() - needed(optimizer="paged_adamw_8bit")
    assert spared == 6 * (size.weights - size.head)  # moments of the embedding stay as they are


def test_a_measured_pace_leaves_the_weights_alone() -> None:
    documents = tiny.random_documents(40, 3)
    steps = batching.steps(documents.lengths, RowBatching(kind="rows", rows=8), 1, 0)
    engine = Engine(tiny.model(), tiny.COMPUTE)
    for_token, once = cost_model.pace(engine, documents, steps, tiny.RECIPE)
    assert for_token > 0 and once > 0
    now, before = engine.model.state_dict(), tiny.model().state_dict()
    assert all(torch.equal(now[name], value) for name, value in before.items())


def test_what_is_counted_is_what_trainings_report(built: Tree) -> None:
    said = built.run("costs")
    assert said.returncode == 0, said.stderr
    (file,) = built.root.glob("results/tiny/forecast/*/forecast.csv")
    with file.open() as stream:
        lines = {line["what"]: line for line in csv.DictReader(stream)}
    folders = {f"reasoner {name}": folder for name, folder in nodes(built, "reasoner").items()}
    for name, folder in nodes(built, "classifier").items():
        folders.setdefault(f"classifier {name.partition('-')[0]}", folder)
    trainings = {name: line for name, line in lines.items() if line["steps"]}
    assert trainings.keys() == folders.keys()
    for name, line in trainings.items():
        facts = read_json(folders[name] / "provenance.json")["facts"]
        for part in ("documents", "tokens", "steps"):
            assert int(line[part]) == facts[part], (name, part)
        assert line["sum of rates"] == f"{facts['sum_of_learning_rates']:.3g}"
        assert line["counted"] == "exactly"
        assert int(line["dropped"]) == sum(part["rows"] for part in facts["dropped"].values())
        assert re.fullmatch(r"\d+:\d\d:\d\d", line["h:mm:ss"]) and float(line["GiB"]) > 0
        assert name in said.stdout
    writings = {name: line for name, line in lines.items() if name not in trainings}
    folders = {"reasonings reasonings": nodes(built, "reasonings")["scratch"]}
    for name, folder in nodes(built, "predictions").items():
        folders[f"predictions {name.partition('-')[0]}"] = folder
    assert writings.keys() == folders.keys()
    for name, line in writings.items():
        stage, arm = name.split()
        label = stage == "predictions" and arm != "reason_label"
        assert line["counted"] == ("longest label" if label else "at most")
        assert re.fullmatch(r"\d+:\d\d:\d\d", line["h:mm:ss"]) and float(line["GiB"]) > 0
        assert line["ranks"] == "1" and float(line["FLOP"]) > 0
    rows = read_rows(folders["reasonings reasonings"] / "reasonings.parquet", REASONINGS)
    assert int(writings["reasonings reasonings"]["documents"]) == len(rows)


def test_before_any_training_a_forecast_waits_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    node = forecast_node.node(tiny_plan(), experiment.load(tiny_change()))
    stages = {source.stage for source in node.inputs.values()}
    assert stages == {"base", "task", "tokens"}
    assert {source.stage for source in plan.reached(node).values()} <= {
        "base", "task", "tokens", "triples", "forecast"
    }  # fmt: skip


def test_sources_are_told_apart_by_their_sections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arms = {
        name: {"target": "reason_label"} | ({"reasons": name} if name != "first" else {})
        for name in ("first", "drawn", "same", "base")
    }
    own = {"kind": "reasoner", "max_new_tokens": 12, "batch_rows": 32}
    own |= {"temperature": 0.0, "top_p": 1.0, "seed": 0}
    other = {"drawn": own | {"temperature": 0.5}, "same": own, "base": own | {"kind": "base"}}
    other["base"]["prompt"] = "Why is {text} called {label}?"
    change = {"arms": arms, "other_reasonings": other, "reasonings": own, "shards": 3}
    config = experiment.load(tiny_change() | change)
    told = forecast_node.node(plan.build(config), config).params["writings"]
    sources = {one["name"]: one["params"] for one in told if one["stage"] == "reasonings"}
    assert len(sources) == sum(one["stage"] == "reasonings" for one in told)
    assert [*sources] == ["reasonings", "drawn", "base"]  # "same" is what "reasonings" is
    assert [one["temperature"] for one in sources.values()] == [0.0, 0.5, 0.0]
    assert all(one["shard"] == [1, 3] for one in sources.values())


@pytest.fixture
def lines(built: Tree, tmp_path: Path) -> Callable[..., tuple[list[dict[str, str]], str]]:
    """The forecast of one classifier of the tiny experiment, with another recipe."""

    def forecast_of(
        gpu: str | None = "a40",
        ranks: int = 1,
        price: float | None = None,
        writings: Sequence[dict[str, Any]] = (),
        **recipe: Any,
    ) -> tuple[list[dict[str, str]], str]:
        folder = nodes(built, "classifier")["label-seed1"]
        provenance = read_json(folder / "provenance.json")
        sets = {"training_set": "set"}
        params = provenance["params"] | {"recipe": provenance["params"]["recipe"] | recipe}
        training = {
            "stage": "classifier", "name": "label", "runs": 2, "params": params, "sets": sets,
            "limits": {"training_set": 0},
        }  # fmt: skip
        inputs = {role: built.root / provenance["inputs"][role] for role in ("base", "task")}
        inputs["set"] = built.root / provenance["inputs"]["training_set"]
        work, out = tmp_path / "work", tmp_path / "out"
        out.mkdir(exist_ok=True)
        params = {
            "gpu": gpu, "gpu_price": price, "distributed": {"ranks": ranks},
            "trainings": [training], "writings": [*writings],
        }  # fmt: skip
        stage.forecast(Job("forecast", params, Settings(), inputs, work, out))
        with (out / "forecast.csv").open() as stream:
            return list(csv.DictReader(stream)), (out / "notes.txt").read_text()

    return forecast_of


def test_a_warm_up_that_never_ends_is_named(lines: Any) -> None:
    (line,), notes = lines(warmup_steps=10_000, learning_rate=1.0)
    assert float(line["sum of rates"]) < 0.1
    assert f"Note: classifier label: all {line['steps']} steps lie within the 10000" in notes


def test_ranks_take_less_time_and_as_much_money(
    lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KNOWN, "a40", replace(KNOWN["a40"], float32_flops=1e-5))
    ((alone,), _), ((shared,), notes) = (lines(ranks=ranks, price=3600.0) for ranks in (1, 4))
    seconds = [
        int(hours) * 3600 + int(minutes) * 60 + int(rest)
        for line in (alone, shared)
        for hours, minutes, rest in [line["h:mm:ss"].split(":")]
    ]
    assert seconds[0] > 100
    assert seconds == [round(float(alone["price"]) / ranks) for ranks in (1, 4)]
    assert [alone["ranks"], shared["ranks"]] == ["1", "4"]
    assert shared | {part: alone[part] for part in ("h:mm:ss", "ranks")} == alone
    assert "Note: 4 ranks: time as if sharing cost nothing; memory of each rank" in notes


@given(seconds=st.floats(0, 1e7))
def test_a_clock_has_hours_minutes_and_seconds(seconds: float) -> None:
    hours, minutes, rest = map(int, stage._clock(seconds).split(":"))
    assert minutes < 60 and rest < 60 and 3600 * hours + 60 * minutes + rest == round(seconds)


def test_only_gpus_have_a_price(lines: Any) -> None:
    for gpu in (None, "a40"):
        ((line,), _) = lines(gpu=gpu, price=2.5)
        assert bool(line.get("price")) == (gpu is not None)


def test_a_memory_that_is_too_small_is_named(lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(KNOWN["a40"], memory=1e-3)
    monkeypatch.setitem(KNOWN, "a40", small)
    _, notes = lines()
    assert re.search(r"label: 0\.0 GiB do not fit in 0\.0 GiB: lower compute\.micro_tokens", notes)


def test_documents_left_out_are_listed(lines: Any, tmp_path: Path) -> None:
    (line,), _ = lines(max_length=55)
    assert int(line["dropped"]) > 0
    left_out = (tmp_path / "out/left_out.csv").read_text().splitlines()
    assert left_out == [
        "what,reason,domain,documents",
        f"classifier label,longer than 55 tokens,all,{line['dropped']}",
    ]


def test_a_measured_training_may_be_too_large(lines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(stage, "pace", full)
    (line,), _ = lines(gpu=None)
    assert line["h:mm:ss"] == "" and int(line["steps"]) > 0


def test_time_is_measured_where_no_chip_is_named(lines: Any) -> None:
    (line,), notes = lines(gpu=None)
    assert line["kWh"] == "" and "Note: time: measured on 1 thread(s) of the processor" in notes


def answers(**own: Any) -> dict[str, Any]:
    """The answers of an arm that learns the label alone."""
    config = experiment.load(tiny_change())
    asked, *_ = (
        one
        for one in forecast_node.node(tiny_plan(), config).params["writings"]
        if one["stage"] == "predictions"
    )
    return asked | {"params": asked["params"] | own}


def reasonings(name: str = "reasonings", **own: Any) -> dict[str, Any]:
    """The writing of reasonings, under the name of a section."""
    config = experiment.load(tiny_change())
    first, *_ = forecast_node.node(tiny_plan(), config).params["writings"]
    return first | {"name": name, "params": first["params"] | own}


def test_what_vllm_writes_is_not_measured(lines: Any) -> None:
    """vLLM need not be here, and one process can't hold several."""
    writings = [answers(backend="vllm"), reasonings(backend="vllm"), reasonings()]
    (training, *told, measured), notes = lines(gpu=None, writings=writings)
    assert training["h:mm:ss"] and measured["h:mm:ss"]
    for line in told:
        assert line["h:mm:ss"] == "" and int(line["tokens"]) > 0 and float(line["FLOP"]) > 0
        assert f"Note: {line['what']}: time is not told: vLLM is not measured here" in notes
    (_, *told), notes = lines(writings=writings)
    assert all(line["h:mm:ss"] for line in told) and "not told" not in notes


def test_writing_that_is_too_large_names_the_key_that_helps(
    lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    writings = [answers(), reasonings(), reasonings("drawn")]
    (_, *told), _ = lines(writings=writings)
    takes = min(float(line["GiB"]) for line in told)
    for memory, helps in (
        (0.99 * takes, ["prediction", "reasonings", "other_reasonings.drawn"]),
        (0.01 * takes, []),
    ):
        monkeypatch.setitem(KNOWN, "a40", replace(KNOWN["a40"], memory=memory))
        _, notes = lines(writings=writings)
        assert re.findall(r"GiB: lower (\S+)\.batch_rows \(", notes) == helps
        alone = "the weights alone take 0.0 GiB: take a larger GPU or a smaller base"
        assert notes.count(alone) == 3 - len(helps)


def test_documents_and_processes_of_writings_are_explained(lines: Any) -> None:
    plain = [answers(), reasonings()]
    shared = [answers(vote={"answers": 3}), reasonings(candidates=2, shard=(1, 4), temperature=0.5)]
    ((_, *once), before), ((_, *more), notes) = (lines(writings=each) for each in (plain, shared))
    assert int(more[0]["documents"]) == 3 * int(once[0]["documents"])
    assert "documents are" not in before and "process;" not in before
    assert f"Note: {more[0]['what']}: documents are texts x 3 answers" in notes
    assert f"{more[1]['what']}: documents are training texts x 2 candidates" in notes
    assert f"{more[1]['what']}: time is as of one process; 4 share the work (shards)" in notes


def test_texts_without_place_for_a_label_are_listed(
    lines: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.loading, "positions", lambda _: 8)
    (_, line), _ = lines(gpu=None, writings=[answers()])
    assert line["documents"] == "0" and line["h:mm:ss"] == "0:00:00" and int(line["dropped"]) > 0
    listed = (tmp_path / "out/left_out.csv").read_text().splitlines()
    assert listed[-1] == f"{line['what']},leaves no place for a label,all,{line['dropped']}"
