"""The training engine: exact in every layout, and unmoved by kills."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import get_scheduler

import tiny
from infuse import batching, generation, models, training
from infuse.batching import Rows
from infuse.documents import Documents, Encoder, collect, head_pieces
from infuse.errors import UserError
from infuse.integrity import seal
from infuse.training import Engine, History

Gradients = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def padded() -> Engine:
    return Engine(tiny.model(), tiny.COMPUTE)


@pytest.fixture(scope="module")
def packed(padded: Engine) -> Engine:
    """The same model in the other layout."""
    return replace(padded, compute=tiny.COMPUTE | {"layout": "packed"})


def gradients(engine: Engine, loss: torch.Tensor) -> Gradients:
    engine.model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {
        name: weight.grad.clone()
        for name, weight in engine.model.named_parameters()
        if weight.grad is not None
    }


def summed(engine: Engine, documents: Documents, parts: list[Rows]) -> tuple[float, Gradients]:
    """Loss and gradients of these passes together."""
    loss = torch.stack([engine.loss_sum(documents, part) for part in parts]).sum()
    return loss.item(), gradients(engine, loss)


def assert_equal_up_to_rounding(
    left: tuple[float, Gradients], right: tuple[float, Gradients]
) -> None:
    assert left[0] == pytest.approx(right[0], rel=2e-6)
    assert left[1].keys() == right[1].keys()
    for name, gradient in right[1].items():
        error = (left[1][name] - gradient).abs().max() / gradient.abs().max()
        assert error < 2e-5, name


def partition(rows: Rows, generator: np.random.Generator) -> list[Rows]:
    """The rows in random order, cut at random places."""
    order = generator.permutation(rows)
    cuts = np.flatnonzero(generator.random(len(order) - 1) < generator.random()) + 1
    return np.split(order, cuts)


def with_extremes(seed: int) -> Documents:
    """Random documents, the shortest possible ones, and one as long as the model's window."""
    some = tiny.random_documents(4, seed)
    lengths = [2, *some.lengths.tolist(), 2, tiny.WINDOW]
    return tiny.documents(lengths, [1, *some.starts.tolist(), 1, 5], seed)


# --- losses and gradients


@pytest.mark.parametrize("seed", range(10))
def test_packed_equals_unpacked(padded: Engine, packed: Engine, seed: int) -> None:
    documents, generator = with_extremes(seed), np.random.default_rng(seed)
    rows = np.arange(len(documents))
    alone = summed(padded, documents, list(rows[:, None]))
    for _ in range(20):
        assert_equal_up_to_rounding(summed(packed, documents, partition(rows, generator)), alone)
    assert_equal_up_to_rounding(summed(padded, documents, partition(rows, generator)), alone)


def test_under_one_mask_packed_documents_would_see_each_other(
    padded: Engine, packed: Engine
) -> None:
    documents = tiny.random_documents(6, 1)
    decoder, head = models.backbone(padded.model)
    tokens = torch.from_numpy(documents.tokens.astype(np.int64))[None]
    positions = torch.from_numpy(np.concatenate([np.arange(n) for n in documents.lengths]))[None]
    wanted = np.concatenate(
        [
            np.arange(begin + start, begin + length)
            for begin, start, length in zip(
                documents.offsets, documents.starts, documents.lengths, strict=False
            )
        ]
    )
    losses = []
    for mask in (None, torch.ones_like(tokens)):
        states = decoder(
            input_ids=tokens, position_ids=positions, attention_mask=mask, use_cache=False
        ).last_hidden_state[0]
        logits = head(states[wanted - 1])
        losses.append(functional.cross_entropy(logits, tokens[0][wanted], reduction="sum").item())
    right = packed.loss_sum(documents, np.arange(6)).item()
    assert losses[0] == pytest.approx(right, rel=2e-6)
    assert abs(losses[1] / right - 1) > 1e-2  # some 10,000 times the tolerance


@pytest.mark.parametrize("layout", ["padded", "packed"])
@pytest.mark.parametrize("seed", range(5))
def test_loss_is_the_cross_entropy_of_the_targets_alone(
    padded: Engine, layout: str, seed: int
) -> None:
    documents = tiny.random_documents(5, seed)
    engine = replace(padded, compute=tiny.COMPUTE | {"layout": layout})
    expected = []
    for row, start in enumerate(documents.starts):
        tokens = torch.from_numpy(documents[row].astype(np.int64))[None]
        wanted = tokens.clone()
        wanted[:, :start] = -100
        logits = padded.model(input_ids=tokens).logits[0, :-1]
        expected.append(functional.cross_entropy(logits, wanted[0, 1:], reduction="sum"))
    want = torch.stack(expected).sum()
    got = engine.loss_sum(documents, np.arange(5))
    assert_equal_up_to_rounding(
        (got.item(), gradients(engine, got)), (want.item(), gradients(padded, want))
    )


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_what_is_no_target_bears_no_loss(padded: Engine, layout: str) -> None:
    engine = replace(padded, compute=tiny.COMPUTE | {"layout": layout})
    whole = tiny.documents([12] * 3, [1] * 3)
    later = replace(whole, starts=np.array([9] * 3, np.int32))
    first = replace(
        tiny.documents([9] * 3, [1] * 3),
        tokens=whole.tokens.reshape(3, 12)[:, :9].flatten(),
    )
    rows = np.arange(3)
    losses = [engine.loss_sum(documents, rows).item() for documents in (whole, later, first)]
    assert losses[0] == pytest.approx(losses[1] + losses[2], rel=2e-6)


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_accumulated_passes_equal_one(padded: Engine, layout: str) -> None:
    documents = tiny.documents([16] * 8, [1, 15, 4, 15, 8, 2, 14, 15])
    trained = dict(padded.model.named_parameters())
    results = []
    for count in (1, 2, 4, 8):
        compute = tiny.COMPUTE | {"layout": layout, "micro_tokens": 128 // count}
        engine = replace(padded, compute=compute)
        assert len(engine.passes(documents, np.arange(8))) == count
        engine.model.zero_grad()
        loss, norm = training._step(engine, documents, np.arange(8), 1e9, trained, 0)
        found = {name: weight.grad.clone() for name, weight in trained.items()}
        assert norm == pytest.approx(
            math.sqrt(sum(float(gradient.square().sum()) for gradient in found.values())), rel=1e-4
        )
        results.append((loss, found))
    for result in results[1:]:
        assert_equal_up_to_rounding(result, results[0])
    means = [
        padded.loss_sum(documents, np.array([row])).item() / documents.supervised[row]
        for row in range(8)
    ]
    # The inverse: a mean of the passes' means is another number.
    assert abs(np.mean(means) / results[0][0] - 1) > 1e-3


def test_evaluation_is_the_mean_over_targets(padded: Engine, packed: Engine) -> None:
    documents = tiny.random_documents(30, 4)
    total = sum(padded.loss_sum(documents, np.array([row])).item() for row in range(30))
    for engine in (padded, packed):
        assert len(engine.passes(documents, np.arange(30))) > 1
        found = engine.evaluate(documents)
        assert found == pytest.approx(total / documents.supervised.sum(), rel=1e-5)
        assert engine.model.training
        engine.model.eval()


# --- learning rates and budgets


@settings(deadline=None)
@given(
    total=st.integers(1, 80), warmup=st.integers(0, 100),
    schedule=st.sampled_from(["cosine", "linear", "constant"]),
)  # fmt: skip
def test_rates_equal_those_of_transformers(total: int, warmup: int, schedule: str) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.01)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    scheduler = get_scheduler(name, optimizer, warmup, total)
    recipe = {"learning_rate": 0.01, "warmup_steps": warmup, "schedule": schedule}
    for step in range(total):
        assert training.learning_rate(step, total, recipe) == pytest.approx(
            scheduler.get_last_lr()[0], rel=1e-9, abs=1e-15
        )
        optimizer.step()
        scheduler.step()


def labelled(seed: int) -> Documents:
    """Documents of which each target has a label's tokens among others."""
    found = tiny.random_documents(12, seed)
    longer = found.with_loss_on_prompts(found.lengths)  # all but the first token
    some = np.maximum(1, longer.supervised // 3)
    starts = longer.starts + longer.supervised // 2
    return replace(longer, label_tokens=some.astype(np.int32), label_starts=starts.astype(np.int32))


@pytest.mark.parametrize("layout", ["padded", "packed"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_labels_have_their_share_of_the_loss(padded: Engine, layout: str, share: float) -> None:
    """The loss is `share` of the labels' mean and the rest of the others', however it is cut."""
    documents = labelled(3)
    rows = np.flatnonzero(documents.supervised > documents.label_tokens)
    engine = replace(padded, compute=tiny.COMPUTE | {"layout": layout}, label_weight=share)
    weights = engine.weights(documents, rows)
    assert weights is not None
    supervised = int(documents.supervised[rows].sum())
    parts = [engine.loss_sum(documents, part, weights) for part in np.array_split(rows, 3)]
    loss = torch.stack(parts).sum().item() / supervised
    mask = np.concatenate([documents.is_label(row) for row in rows])
    each = np.concatenate([_losses_of(padded, documents, row) for row in rows])
    assert mask.sum() == documents.label_tokens[rows].sum()
    expected = share * each[mask].mean() + (1 - share) * each[~mask].mean()
    assert loss == pytest.approx(expected, rel=1e-5)


def _losses_of(engine: Engine, documents: Documents, row: int) -> np.ndarray[Any, Any]:
    """The cross-entropy of each target token of one document, by transformers' own logits."""
    ids = torch.from_numpy(documents[row].astype(np.int64))[None]
    with torch.no_grad():
        logits = engine.model(ids).logits[0, documents.starts[row] - 1 : -1]
    wanted = ids[0, documents.starts[row] :]
    return functional.cross_entropy(logits, wanted, reduction="none").numpy()


def test_the_tokens_own_share_as_weight_is_the_plain_loss(padded: Engine) -> None:
    documents = labelled(4)
    rows = np.flatnonzero(documents.supervised > documents.label_tokens)
    own = documents.label_tokens[rows].sum() / documents.supervised[rows].sum()
    weights = replace(padded, label_weight=float(own)).weights(documents, rows)
    assert weights == pytest.approx((1, 1))


def test_a_loss_on_prompts_leaves_targets_and_first_tokens_as_they_are() -> None:
    documents = tiny.random_documents(30, 5)
    wanted = np.random.default_rng(0).integers(0, 40, 30)
    made = documents.with_loss_on_prompts(wanted)
    assert (made.tokens == documents.tokens).all() and (made.starts >= 1).all()
    assert (made.supervised >= documents.supervised).all()
    room = np.minimum(wanted, documents.lengths - 1)
    assert (made.supervised == np.maximum(room, documents.supervised)).all()


def test_a_head_is_trained_and_read_alike(tmp_path: Path) -> None:
    """The loss of training is that of the scores which the saved head gives the same prompts."""
    models.save(tiny.model(), tiny.tokenizer(), tmp_path / "base")
    model = models.new_head(tmp_path / "base", 3, seed=1)
    again, other = (models.new_head(tmp_path / "base", 3, seed=s).score.weight for s in (1, 2))
    assert torch.equal(model.score.weight, again) and not torch.equal(again, other)
    encoder = Encoder(tiny.tokenizer())
    texts, places = ["so happy", "i fear the words, and the day", "no"], [2, 0, 1]
    documents, _ = collect(head_pieces(encoder, texts, places), 1000)
    every = np.arange(3)
    for layout in ("padded", "packed"):
        engine = Engine(model, tiny.COMPUTE | {"layout": layout, "micro_tokens": 9999})
        loss = engine.loss_sum(documents, every).item()
        models.save(model, tiny.tokenizer(), tmp_path / layout)
        scores = generation.score_classes(
            models.load_head(tmp_path / layout).eval(), encoder.chats(texts)
        )
        assert np.exp(scores).sum(1) == pytest.approx(1)
        assert loss == pytest.approx(-scores[every, places].sum(), rel=1e-5)


def test_account() -> None:
    documents = replace(
        tiny.documents([4, 6, 10], [1, 4, 5]), label_tokens=np.array([1, 2, 3], np.int32)
    )
    steps = [np.array([0, 1]), np.array([2]), np.array([1, 1])]
    recipe = {"learning_rate": 1.0, "warmup_steps": 2, "schedule": "constant"}
    assert training.account(documents, steps, recipe) == {
        "documents": 3,
        "steps": 3,
        "sum_of_learning_rates": 0.0 + 0.5 + 1.0,
        "tokens": 4 + 6 + 10 + 6 + 6,
        "supervised_tokens": 3 + 2 + 5 + 2 + 2,
        "label_share_of_loss": (1 + 2 + 3 + 2 + 2) / 14,
    }


# --- whole runs

TUNINGS: list[dict[str, Any]] = [tiny.FULL, tiny.LORA]
DOCUMENTS = tiny.random_documents(60, 2)
STEPS = batching.steps(DOCUMENTS.lengths, {"kind": "rows", "rows": 4}, 2, 1)  # 15 in each epoch


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
    tuning: dict[str, Any] = tiny.FULL,
    steps: list[Rows] = STEPS,
    seed: int = 5,
    every: int = 8,
    **changed: Any,
) -> tuple[History, bytes]:
    """Train in `work`; history, and the bytes of the final weights."""
    model = models.tune(tiny.model(), tuning, seed)
    compute = tiny.COMPUTE | {"layout": "packed", "micro_tokens": 48}
    validation = tiny.random_documents(5, 9)
    history = training.train(
        Engine(model, compute), DOCUMENTS, validation, steps,
        tiny.RECIPE | {"evaluations_per_epoch": 2} | changed, seed, work, every,
    )  # fmt: skip
    models.save(model, tiny.tokenizer(), work / "out")
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
    return {tuning["kind"]: run(folder / tuning["kind"], tuning) for tuning in TUNINGS}


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
@pytest.mark.parametrize("tuning", TUNINGS, ids=lambda tuning: str(tuning["kind"]))
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
    expected, same = undisturbed[str(tuning["kind"])]
    assert asdict(history) == asdict(expected)
    assert weights == same


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


def test_history_tells_what_was_done(undisturbed: dict[str, tuple[History, bytes]]) -> None:
    history, _ = undisturbed["full"]
    assert [entry["step"] for entry in history.steps] == list(range(1, 31))
    assert [entry["step"] for entry in history.evaluations] == [7, 15, 22, 30]
    for entry, rows in zip(history.steps, STEPS, strict=True):
        assert entry["rows"] == len(rows) == 4
        assert entry["tokens"] == DOCUMENTS.lengths[rows].sum()
        assert entry["supervised_tokens"] == DOCUMENTS.supervised[rows].sum()
    assert [entry["learning_rate"] for entry in history.steps] == [
        training.learning_rate(step, 30, tiny.RECIPE) for step in range(30)
    ]
    assert history.steps[-1]["loss"] < history.steps[0]["loss"]


GOLDEN = [
    6.391833, 6.126885, 6.125134, 6.226701, 6.275982, 6.237761, 6.054921, 6.533407, 6.406319,
    6.184939, 6.553562, 6.424768, 6.442992, 6.402753, 6.423666, 5.993991, 5.511093, 5.618789,
    5.851291, 5.237696,
]  # fmt: skip


def test_losses_are_those_of_long_ago(tmp_path: Path) -> None:
    engine = Engine(tiny.model(), tiny.COMPUTE)
    history = training.train(engine, DOCUMENTS, None, STEPS[:20], tiny.RECIPE, 1, tmp_path, 100)
    assert [entry["loss"] for entry in history.steps] == pytest.approx(GOLDEN, rel=1e-4)


def test_layouts_train_alike(tmp_path: Path) -> None:
    losses = []
    for layout in ("padded", "packed"):
        engine = Engine(tiny.model(), tiny.COMPUTE | {"layout": layout})
        history = training.train(
            engine, DOCUMENTS, None, STEPS[:10], tiny.RECIPE, 1, tmp_path / layout, 100
        )
        losses.append([entry["loss"] for entry in history.steps])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# --- refusals


def test_a_step_without_targets_is_named(tmp_path: Path) -> None:
    documents = tiny.documents([5, 6, 7, 4], [2, 6, 7, 1])
    steps = [np.array([0, 3]), np.array([2, 1])]
    with pytest.raises(UserError, match=r"step 2 \(rows 101, 102\): no token bears loss"):
        training.train(
            Engine(tiny.model(), tiny.COMPUTE), documents, None, steps, tiny.RECIPE, 0, tmp_path, 9
        )


def test_a_loss_that_is_not_finite_is_named(tmp_path: Path) -> None:
    model = tiny.model()
    with torch.no_grad():
        next(model.parameters())[int(DOCUMENTS[3][0])] = math.nan
    steps = [np.array([3, 8]), np.array([1])]
    with pytest.raises(UserError, match=r"step 1 \(rows 103, 108\): loss nan.*learning rate"):
        training.train(
            Engine(model, tiny.COMPUTE), DOCUMENTS, None, steps, tiny.RECIPE, 0, tmp_path, 9
        )


def test_a_run_that_diverges_stops(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"step [2-6] \(rows [\d, ]+\): loss .*learning rate"):
        run(tmp_path, learning_rate=1e30)


def test_many_rows_are_named_in_part(tmp_path: Path) -> None:
    documents = tiny.documents([3] * 12, [3] * 12)
    with pytest.raises(UserError, match=r"\(rows 100, .*, 107, \.\.\. 12 in all\)"):
        training.train(
            Engine(tiny.model(), tiny.COMPUTE), documents, None, [np.arange(12)],
            tiny.RECIPE, 0, tmp_path, 9,
        )  # fmt: skip


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("tuning", TUNINGS, ids=lambda tuning: str(tuning["kind"]))
def test_weights_that_are_not_finite_are_not_saved(
    tmp_path: Path, value: float, tuning: dict[str, Any]
) -> None:
    model = models.tune(tiny.model(), tuning, 0)
    with torch.no_grad():
        list(model.parameters())[-1].flatten()[0] = value
    with pytest.raises(UserError, match=r"the weight .* is not finite; the model is not saved"):
        models.save(model, tiny.tokenizer(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- adapters, saving and loading


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(5, 300, (4, 20)))


def test_untrained_adapters_change_nothing(tokens: torch.Tensor) -> None:
    base, tuned = tiny.model(), models.tune(tiny.model(), tiny.LORA, 3).eval()
    assert torch.equal(base(tokens).logits, tuned(tokens).logits)
    trained = [name for name, weight in tuned.named_parameters() if weight.requires_grad]
    assert len(trained) == 2 * 2 * 2
    assert all("lora_" in name for name in trained)


def test_merged_adapters_equal_unmerged(tokens: torch.Tensor, tmp_path: Path) -> None:
    model = models.tune(tiny.model(), tiny.LORA, 3)
    engine = Engine(model, tiny.COMPUTE)
    training.train(engine, DOCUMENTS, None, STEPS, tiny.RECIPE, 1, tmp_path / "work", 100)
    with torch.no_grad():
        unmerged, base = model(tokens).logits, tiny.model()(tokens).logits
    models.save(model, tiny.tokenizer(), tmp_path / "out")
    merged = models.load_model(tmp_path / "out").eval()
    assert not hasattr(merged, "merge_and_unload")
    torch.testing.assert_close(merged(tokens).logits, unmerged, rtol=1e-4, atol=1e-4)
    assert (unmerged - base).abs().max() > 0.1


def test_unknown_modules_are_refused() -> None:
    with pytest.raises(UserError, match=r"recipe\.tuning\.modules"):
        models.tune(tiny.model(), tiny.LORA | {"modules": ["nowhere"]}, 0)


def test_save_and_load_is_identity(tokens: torch.Tensor, tmp_path: Path) -> None:
    model = tiny.model(4)
    models.save(model, tiny.tokenizer(), tmp_path / "once")
    loaded = models.load_model(tmp_path / "once").eval()
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    assert torch.equal(loaded(tokens).logits, model(tokens).logits)
    tokenizer = models.load_tokenizer(tmp_path / "once")
    text = "i feel joy<|eot_id|> 日本\n\n"
    assert tokenizer(text).input_ids == tiny.tokenizer()(text).input_ids
    assert tokenizer.chat_template == tiny.tokenizer().chat_template
    models.save(loaded, tokenizer, tmp_path / "twice")
    for file in (tmp_path / "once").iterdir():
        if file.name == "tokenizer_config.json":
            continue  # transformers notes there that it was loaded from a folder
        assert file.read_bytes() == (tmp_path / "twice" / file.name).read_bytes(), file.name
