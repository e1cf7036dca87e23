"""The training loop: the same in every layout, and unmoved by kills."""

from __future__ import annotations

import logging
import math
import os
import signal
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import get_scheduler
from transformers.modeling_utils import PreTrainedModel

import tiny
from infuse.config.recipe import Full, Lora, RowBatching
from infuse.core import signals
from infuse.core.errors import UserError
from infuse.core.manifest import seal
from infuse.models import loading
from infuse.training import batching, loop, tracking
from infuse.training.batching import Rows
from infuse.training.checkpoints import History
from infuse.training.step import Engine

Gradients = dict[str, torch.Tensor]


# --- learning rates and budgets


@given(
    total=st.integers(1, 80), warmup=st.integers(0, 100),
    schedule=st.sampled_from(["cosine", "linear", "constant"]),
)  # fmt: skip
def test_rates_equal_those_of_transformers(total: int, warmup: int, schedule: str) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.01)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    scheduler = get_scheduler(name, optimizer, warmup, total)
    changed = {"learning_rate": 0.01, "warmup_steps": warmup, "schedule": schedule}
    recipe = tiny.RECIPE | changed
    for step in range(total):
        assert loop.learning_rate(step, total, recipe) == pytest.approx(
            scheduler.get_last_lr()[0], rel=1e-9, abs=1e-15
        )
        optimizer.step()
        scheduler.step()


def test_account() -> None:
    documents = replace(
        tiny.documents([4, 6, 10], [1, 4, 5]), label_tokens=np.array([1, 2, 3], np.int32)
    )
    steps = [np.array([0, 1]), np.array([2]), np.array([1, 1])]
    recipe = tiny.RECIPE | {"learning_rate": 1.0, "warmup_steps": 2, "schedule": "constant"}
    assert loop.account(documents, steps, recipe) == {
        "documents": 3,
        "steps": 3,
        "sum_of_learning_rates": 0.0 + 0.5 + 1.0,
        "tokens": 4 + 6 + 10 + 6 + 6,
        "supervised_tokens": 3 + 2 + 5 + 2 + 2,
        "label_share_of_loss": (1 + 2 + 3 + 2 + 2) / 14,
    }


# --- whole runs

TUNINGS: list[Full | Lora] = [tiny.FULL, tiny.LORA]
DOCUMENTS = tiny.random_documents(60, 2)
STEPS = batching.steps(
    DOCUMENTS.lengths, RowBatching(kind="rows", rows=4), 2, 1
)  # 15 in each epoch


class Deadly(list[Rows]):
    """Steps of which one kills the process that takes it."""

    def __init__(self, steps: list[Rows], deadly: int) -> None:
        super().__init__(steps)
        self.deadly = deadly

    def __getitem__(self, at: Any) -> Any:
        if at == self.deadly:
            tiny.die()
        return super().__getitem__(at)


class Broken(list[Rows]):
    """Steps of which the 26th can't be read."""

    def __getitem__(self, at: Any) -> Any:
        if at == 25:
            raise RuntimeError("the 26th step")
        return super().__getitem__(at)


def run(
    work: Path,
    tuning: Full | Lora = tiny.FULL,
    steps: list[Rows] = STEPS,
    seed: int = 5,
    every: int = 8,
    model: Callable[[], PreTrainedModel] = tiny.model,
    watch: tracking.Watch = tracking.nobody,
    **changed: Any,
) -> tuple[History, bytes]:
    """Train in `work`; history, and the bytes of the final weights."""
    tuned = loading.tune(model(), tiny.tuned(tuning), seed)
    compute = tiny.COMPUTE | {"layout": "packed", "micro_tokens": 48}
    validation = tiny.random_documents(5, 9)
    history = loop.train(
        Engine(tuned, compute), DOCUMENTS, validation, steps,
        tiny.RECIPE | {"evaluations_per_epoch": 2} | changed, seed, work, every, watch,
    )  # fmt: skip
    loading.save(tuned, tiny.tokenizer(), work / "out")
    return history, (work / "out" / "model.safetensors").read_bytes()


def run_to_death(
    work: Path, tuning: dict[str, Any], deadly: int, event: tuple[str, str, int] | None
) -> None:
    """Train, and be killed when taking step `deadly` or when `event` comes."""
    if event:
        tiny.die_at(*event)
    run(work, tuning, Deadly(STEPS, deadly))


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[History, bytes]]:
    """Runs that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return {tuning.kind: run(folder / tuning.kind, tuning) for tuning in TUNINGS}


NEVER = 1000
# The step or the event that kills, and the checkpoints that are then left.
DEATHS: dict[str, tuple[int, tuple[str, str, int] | None, list[int]]] = {
    "before the first checkpoint": (5, None, []),
    "second epoch": (17, None, [8, 16]),
    "while the second checkpoint is written": (
        NEVER, ("open", "checkpoint.part/history.json.part", 3), [8],
    ),
    "before the second checkpoint gets its name": (NEVER, ("os.rename", "checkpoint-16", 1), [8]),
    "before the first checkpoint goes": (NEVER, ("shutil.rmtree", "checkpoint-8", 1), [8, 16, 24]),
    "last step": (29, None, [16, 24]),
}  # fmt: skip


@pytest.mark.parametrize("death", sorted(DEATHS))
@pytest.mark.parametrize("tuning", TUNINGS, ids=lambda tuning: str(tuning.kind))
def test_a_killed_run_ends_with_the_same_bytes(
    undisturbed: dict[str, tuple[History, bytes]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    tuning: dict[str, Any],
    death: str,
) -> None:
    deadly, event, left = DEATHS[death]
    tiny.killed(run_to_death, tmp_path, tuning, deadly, event)
    assert {path.name for path in tmp_path.glob("checkpoint-*")} == {
        f"checkpoint-{step}" for step in left
    }
    with caplog.at_level(logging.INFO, "infuse"):
        history, weights = run(tmp_path, tuning)
    assert [said for said in caplog.messages if "resumed" in said] == [
        f"resumed after step {step}" for step in left[-1:]
    ]
    expected, same = undisturbed[str(tuning.kind)]
    assert asdict(history) == asdict(expected)
    assert weights == same


def wide() -> PreTrainedModel:
    """A model whose layers have weights enough for 8 bits."""
    loading.set_threads(tiny.COMPUTE)
    sizes = tiny.architecture(hidden_size=64, intermediate_size=96, layers=1, key_value_heads=4)
    return loading.scratch_model(sizes, tiny.tokenizer())


def test_the_state_of_an_8_bit_optimizer_is_kept(tmp_path: Path) -> None:
    options = {"optimizer": "paged_adamw_8bit", "model": wide}
    undisturbed = run(tmp_path / "undisturbed", **options)
    with pytest.raises(RuntimeError):
        run(tmp_path / "broken", steps=Broken(STEPS), **options)
    kept = load_file(tmp_path / "broken/checkpoint-24/state.safetensors")
    coarse = {name for name, tensor in kept.items() if tensor.dtype == torch.uint8}
    assert len(coarse) == 2 * 7 and not any("embed" in name for name in coarse)
    assert run(tmp_path / "broken", **options) == undisturbed
    exact = run(tmp_path / "exact", model=wide)[0]
    losses = [[entry["loss"] for entry in history.steps] for history in (undisturbed[0], exact)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02) and losses[0] != losses[1]


def test_an_evaluation_that_is_given_up_is_made_up_for(
    undisturbed: dict[str, tuple[History, bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal ends it and keeps its step; its loss comes with the next run."""
    passes: list[int] = []
    loss_sum = Engine.loss_sum

    def watched(self: Engine, *arguments: Any) -> torch.Tensor:
        if not torch.is_grad_enabled():
            passes.append(1)
            if len(passes) == 1:
                os.kill(os.getpid(), signal.SIGTERM)
        return loss_sum(self, *arguments)

    monkeypatch.setattr(Engine, "loss_sum", watched)
    signals.listen()
    with pytest.raises(signals.Stopped):
        run(tmp_path)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-7"]
    assert len(passes) == 1
    history, weights = run(tmp_path)
    assert (history, weights) == undisturbed["full"]


def test_a_run_killed_again_and_again_ends_with_the_same_bytes(
    undisturbed: dict[str, tuple[History, bytes]], tmp_path: Path
) -> None:
    for death in ("second epoch", "before the first checkpoint goes", "last step"):
        deadly, event, _ = DEATHS[death]
        tiny.killed(run_to_death, tmp_path, tiny.LORA, deadly, event)
    assert run(tmp_path, tiny.LORA)[1] == undisturbed["lora"][1]


@pytest.mark.parametrize("lost", ["exp_avg", "exp_avg_sq", "step", "weight"])
def test_without_any_part_of_the_state_the_bytes_would_differ(
    undisturbed: dict[str, tuple[History, bytes]], tmp_path: Path, lost: str
) -> None:
    with pytest.raises(RuntimeError):
        run(tmp_path, steps=Broken(STEPS))
    file = tmp_path / "checkpoint-24" / "state.safetensors"
    tensors = load_file(file)
    save_file(
        {
            name: torch.ones_like(tensor) if name.startswith(f"{lost}.") else tensor.clone()
            for name, tensor in tensors.items()
        },
        file,
    )
    seal(file.parent, {"step": 24})
    assert run(tmp_path)[1] != undisturbed["full"][1]


def test_the_seed_of_a_step_matters_where_weights_drop_out(
    undisturbed: dict[str, tuple[History, bytes]], tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError):
        run(tmp_path, tiny.LORA, Broken(STEPS))
    assert run(tmp_path, tiny.LORA, seed=6)[1] != undisturbed["lora"][1]


@pytest.mark.parametrize("every", [1, 7, 30, 1000])
def test_how_often_a_run_saves_changes_nothing(
    undisturbed: dict[str, tuple[History, bytes]], tmp_path: Path, every: int
) -> None:
    history, weights = run(tmp_path, every=every)
    assert (history, weights) == undisturbed["full"]
    assert len(list(tmp_path.glob("checkpoint-*"))) == min(2, 29 // every)


def test_a_run_that_goes_on_tells_each_step_once_from_the_first(tmp_path: Path) -> None:
    for _ in range(2):  # the second goes on after step 24
        calls: list[tuple[int, Any]] = []
        history, _ = run(tmp_path, watch=lambda *call, calls=calls: calls.append(call))
        steps = [{"step": step} | values for step, values in calls if "loss" in values]
        held_out = [step for step, values in calls if "validation_loss" in values]
        assert steps == history.steps
        assert held_out == [entry["step"] for entry in history.evaluations]
        assert [step for step, _ in calls] == sorted(step for step, _ in calls)


@pytest.mark.parametrize(("warmup", "warned"), [(29, 0), (30, 1), (0, 0)])
def test_a_warm_up_that_outlasts_the_training_is_told(
    warmup: int, warned: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(STEPS) == 30
    with caplog.at_level(logging.WARNING, "infuse"):
        run(tmp_path, warmup_steps=warmup)
    messages = [
        record.getMessage() for record in caplog.records if "warm-up" in record.getMessage()
    ]
    assert len(messages) == warned
    if warned:
        assert messages[0].startswith("all 30 steps lie within the 30 of the warm-up")


def test_history_tells_what_was_done(undisturbed: dict[str, tuple[History, bytes]]) -> None:
    history, _ = undisturbed["full"]
    assert [entry["step"] for entry in history.steps] == list(range(1, 31))
    assert [entry["step"] for entry in history.evaluations] == [7, 15, 22, 30]
    for entry, rows in zip(history.steps, STEPS, strict=True):
        assert entry["rows"] == len(rows) == 4
        assert entry["tokens"] == DOCUMENTS.lengths[rows].sum()
        assert entry["supervised_tokens"] == DOCUMENTS.supervised[rows].sum()
    assert [entry["learning_rate"] for entry in history.steps] == [
        loop.learning_rate(step, 30, tiny.RECIPE) for step in range(30)
    ]
    assert history.steps[-1]["loss"] < history.steps[0]["loss"]


GOLDEN = [
    6.391833, 6.126885, 6.125134, 6.226701, 6.275982, 6.237761, 6.054921, 6.533407, 6.406319,
    6.184939, 6.553562, 6.424768, 6.442992, 6.402753, 6.423666, 5.993991, 5.511093, 5.618789,
    5.851291, 5.237696,
]  # fmt: skip


def test_losses_are_those_of_long_ago(tmp_path: Path) -> None:
    engine = Engine(tiny.model(), tiny.COMPUTE)
    history = loop.train(engine, DOCUMENTS, None, STEPS[:20], tiny.RECIPE, 1, tmp_path, 100)
    assert [entry["loss"] for entry in history.steps] == pytest.approx(GOLDEN, rel=1e-4)


def test_layouts_train_alike(tmp_path: Path) -> None:
    losses = []
    for layout in ("padded", "packed"):
        engine = Engine(tiny.model(), tiny.COMPUTE | {"layout": layout})
        history = loop.train(
            engine, DOCUMENTS, None, STEPS[:10], tiny.RECIPE, 1, tmp_path / layout, 100
        )
        losses.append([entry["loss"] for entry in history.steps])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# --- refusals


def test_a_step_without_targets_is_named(tmp_path: Path) -> None:
    documents = tiny.documents([5, 6, 7, 4], [2, 6, 7, 1])
    steps = [np.array([0, 3]), np.array([2, 1])]
    with pytest.raises(UserError, match=r"step 2 \(rows 101, 102\): no token bears loss"):
        loop.train(
            Engine(tiny.model(), tiny.COMPUTE), documents, None, steps, tiny.RECIPE, 0, tmp_path, 9
        )


def test_a_loss_that_is_not_finite_is_named(tmp_path: Path) -> None:
    model = tiny.model()
    with torch.no_grad():
        next(model.parameters())[int(DOCUMENTS[3][0])] = math.nan
    steps = [np.array([3, 8]), np.array([1])]
    with pytest.raises(UserError, match=r"step 1 \(rows 103, 108\): loss nan.*learning rate"):
        loop.train(Engine(model, tiny.COMPUTE), DOCUMENTS, None, steps, tiny.RECIPE, 0, tmp_path, 9)


def test_a_run_that_diverges_stops(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"step [2-6] \(rows [\d, ]+\): loss .*learning rate"):
        run(tmp_path, learning_rate=1e30)


def test_many_rows_are_named_in_part(tmp_path: Path) -> None:
    documents = tiny.documents([3] * 12, [3] * 12)
    with pytest.raises(UserError, match=r"\(rows 100, .*, 107, \.\.\. 12 in all\)"):
        loop.train(
            Engine(tiny.model(), tiny.COMPUTE), documents, None, [np.arange(12)],
            tiny.RECIPE, 0, tmp_path, 9,
        )  # fmt: skip


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("tuning", TUNINGS, ids=lambda tuning: str(tuning.kind))
def test_weights_that_are_not_finite_are_not_saved(
    tmp_path: Path, value: float, tuning: dict[str, Any]
) -> None:
    model = loading.tune(tiny.model(), tiny.tuned(tuning), 0)
    with torch.no_grad():
        list(model.parameters())[-1].flatten()[0] = value
    with pytest.raises(UserError, match=r"the weight .* is not finite; the model is not saved"):
        loading.save(model, tiny.tokenizer(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- adapters, saving and loading


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(5, 300, (4, 20)))


def test_untrained_adapters_change_nothing(tokens: torch.Tensor) -> None:
    base, tuned = tiny.model(), loading.tune(tiny.model(), tiny.tuned(tiny.LORA), 3).eval()
    torch.testing.assert_close(tuned(tokens).logits, base(tokens).logits)
    trained = [name for name, weight in tuned.named_parameters() if weight.requires_grad]
    assert len(trained) == 2 * 2 * 2
    assert all("lora_" in name for name in trained)


def test_merged_adapters_equal_unmerged(tokens: torch.Tensor, tmp_path: Path) -> None:
    model = loading.tune(tiny.model(), tiny.tuned(tiny.LORA), 3)
    engine = Engine(model, tiny.COMPUTE)
    loop.train(engine, DOCUMENTS, None, STEPS, tiny.RECIPE, 1, tmp_path / "work", 100)
    with torch.no_grad():
        unmerged, base = model(tokens).logits, tiny.model()(tokens).logits
    loading.save(model, tiny.tokenizer(), tmp_path / "out")
    merged = loading.load_model(tmp_path / "out").eval()
    assert not hasattr(merged, "merge_and_unload")
    torch.testing.assert_close(merged(tokens).logits, unmerged, rtol=1e-4, atol=1e-4)
    assert (unmerged - base).abs().max() > 0.1


def test_unknown_modules_are_refused() -> None:
    with pytest.raises(UserError, match=r"recipe\.tuning\.modules"):
        loading.tune(tiny.model(), tiny.tuned(tiny.LORA | {"modules": ["nowhere"]}), 0)


def test_save_and_load_is_identity(tokens: torch.Tensor, tmp_path: Path) -> None:
    model = tiny.model(4)
    loading.save(model, tiny.tokenizer(), tmp_path / "once")
    loaded = loading.load_model(tmp_path / "once").eval()
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    torch.testing.assert_close(loaded(tokens).logits, model(tokens).logits)
    tokenizer = loading.load_tokenizer(tmp_path / "once")
    text = "i feel joy<|eot_id|> 日本\n\n"
    assert tokenizer(text).input_ids == tiny.tokenizer()(text).input_ids
    assert tokenizer.chat_template == tiny.tokenizer().chat_template
    loading.save(loaded, tokenizer, tmp_path / "twice")
    for file in (tmp_path / "once").iterdir():
        if file.name == "tokenizer_config.json":
            continue  # transformers notes there that it was loaded from a folder
        assert file.read_bytes() == (tmp_path / "twice" / file.name).read_bytes(), file.name
