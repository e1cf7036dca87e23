"""The engine: exact in every layout and mode."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import families
import tiny
from infuse.data.encoder import Encoder
from infuse.data.examples import Documents, collect, head_pieces
from infuse.inference import generation
from infuse.models import loading
from infuse.training.batching import Rows
from infuse.training.step import Engine, pass_size

Gradients = dict[str, torch.Tensor]


def new_engine(layout: str = "padded", **changed: Any) -> Engine:
    """An engine with the tiny model of seed 0."""
    return Engine(tiny.model(), tiny.COMPUTE | {"layout": layout} | changed)


@pytest.fixture(scope="module")
def padded() -> Engine:
    return new_engine()


@pytest.fixture(scope="module")
def packed() -> Engine:
    return new_engine("packed")


def gradients(engine: Engine, loss: torch.Tensor) -> Gradients:
    engine.model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return grads(engine)


def grads(engine: Engine) -> Gradients:
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


# --- losses and gradients


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
    decoder, head = loading.backbone(padded.model)
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
    engine = new_engine(layout)
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
def test_what_is_no_target_bears_no_loss(layout: str) -> None:
    engine = new_engine(layout)
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
    results = []
    for count in (1, 2, 4, 8):
        engine = new_engine(layout, micro_tokens=128 // count)
        assert len(engine.passes(documents, np.arange(8))) == count
        loss, norm = engine.step(documents, np.arange(8), 1e9, 0)
        accumulated = grads(engine)
        assert norm == pytest.approx(
            math.sqrt(sum(float(gradient.square().sum()) for gradient in accumulated.values())),
            rel=1e-4,
        )
        results.append((loss, accumulated))
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
        loss = engine.evaluate(documents)
        assert loss == pytest.approx(total / documents.supervised.sum(), rel=1e-5)
        assert engine.model.training
        engine.model.eval()


def labelled(seed: int) -> Documents:
    """Documents of which each target has a label's tokens among others."""
    documents = tiny.random_documents(12, seed)
    longer = documents.with_loss_on_prompts(documents.lengths)  # all but the first token
    some = np.maximum(1, longer.supervised // 3)
    starts = longer.starts + longer.supervised // 2
    return replace(longer, label_tokens=some.astype(np.int32), label_starts=starts.astype(np.int32))


@pytest.mark.parametrize("layout", ["padded", "packed"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_labels_have_their_share_of_the_loss(padded: Engine, layout: str, share: float) -> None:
    """The loss is `share` of the labels' mean and the rest of the others', however it is cut."""
    documents = labelled(3)
    rows = np.flatnonzero(documents.supervised > documents.label_tokens)
    engine = replace(new_engine(layout), label_weight=share)
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


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_a_step_is_smoothed_and_an_evaluation_is_not(padded: Engine, layout: str) -> None:
    documents = tiny.random_documents(12, 3)
    engine = replace(new_engine(layout), label_smoothing=0.2)
    every = [_losses_of(padded, documents, row, 0.2) for row in range(12)]
    loss, _ = engine.step(documents, np.arange(12), 1.0, seed=0)
    assert loss == pytest.approx(np.concatenate(every).mean(), rel=1e-5)
    assert engine.evaluate(documents) == pytest.approx(padded.evaluate(documents), rel=1e-5)


def _losses_of(
    engine: Engine, documents: Documents, row: int, smoothing: float = 0.0
) -> np.ndarray[Any, Any]:
    """The cross-entropy of each target token of one document, by transformers' own logits."""
    ids = torch.from_numpy(documents[row].astype(np.int64))[None]
    with torch.no_grad():
        logits = engine.model(ids).logits[0, documents.starts[row] - 1 : -1]
    wanted = ids[0, documents.starts[row] :]
    losses = functional.cross_entropy(logits, wanted, reduction="none", label_smoothing=smoothing)
    return losses.numpy()


def test_the_tokens_own_share_as_weight_is_the_plain_loss(padded: Engine) -> None:
    documents = labelled(4)
    rows = np.flatnonzero(documents.supervised > documents.label_tokens)
    own = documents.label_tokens[rows].sum() / documents.supervised[rows].sum()
    weights = replace(padded, label_weight=float(own)).weights(documents, rows)
    assert weights == pytest.approx((1, 1))


def test_a_loss_on_prompts_leaves_targets_and_first_tokens_as_they_are() -> None:
    documents = tiny.random_documents(30, 5)
    wanted = np.random.default_rng(0).integers(0, 40, 30)
    longer = documents.with_loss_on_prompts(wanted)
    assert (longer.tokens == documents.tokens).all() and (longer.starts >= 1).all()
    assert (longer.supervised >= documents.supervised).all()
    room = np.minimum(wanted, documents.lengths - 1)
    assert (longer.supervised == np.maximum(room, documents.supervised)).all()


def test_a_head_is_trained_and_read_alike(tmp_path: Path) -> None:
    """The loss of training is that of the scores which the saved head gives the same prompts."""
    loading.save(tiny.model(), tiny.tokenizer(), tmp_path / "base")
    model = loading.new_head(tmp_path / "base", 3, seed=1)
    again, other = (loading.new_head(tmp_path / "base", 3, seed=s).score.weight for s in (1, 2))
    assert torch.equal(model.score.weight, again) and not torch.equal(again, other)
    encoder = Encoder(tiny.tokenizer())
    texts, places = ["so happy", "i fear the words, and the day", "no"], [2, 0, 1]
    documents, _ = collect(head_pieces(encoder, texts, places), 1000)
    every = np.arange(3)
    for layout in ("padded", "packed"):
        engine = Engine(model, tiny.COMPUTE | {"layout": layout, "micro_tokens": 9999})
        loss = engine.loss_sum(documents, every).item()
        loading.save(model, tiny.tokenizer(), tmp_path / layout)
        scores = generation.score_classes(
            loading.load_head(tmp_path / layout).eval(), encoder.chats(texts)
        )
        assert np.exp(scores).sum(1) == pytest.approx(1)
        assert loss == pytest.approx(-scores[every, places].sum(), rel=1e-5)


# --- modes


DOCUMENTS = tiny.random_documents(30, 6)
EVERY = np.arange(30)


@pytest.mark.parametrize(
    "changed",
    [
        {"gradient_checkpointing": "always"},
        {"gradient_checkpointing": "always", "layout": "packed"},
        {"deterministic": False},
    ],
    ids=str,
)
def test_modes_that_change_no_bit(changed: dict[str, Any]) -> None:
    """On CPU recomputed activations, and the fast mode's kernels, are the same bits."""
    plain = new_engine(changed.get("layout", "padded"))
    expected = plain.step(DOCUMENTS, EVERY, 1.0, 0)
    other = new_engine(**changed)
    loading.set_threads(other.compute)
    assert other.step(DOCUMENTS, EVERY, 1.0, 0) == expected
    loading.set_threads(plain.compute)
    other_grads, same = grads(other), grads(plain)
    assert other_grads.keys() == same.keys()
    assert all(torch.equal(other_grads[name], same[name]) for name in same)


def test_compiled_layers_equal_eager_ones(packed: Engine) -> None:
    """Passes are filled up to powers of two, with a document that bears no loss."""
    packed.model.train()
    compiled = new_engine("packed", compile=True)
    compiled.model.train()
    parts = compiled.passes(DOCUMENTS, EVERY)
    assert len({int(DOCUMENTS.lengths[part].sum()) for part in parts}) > 1
    assert_equal_up_to_rounding(
        summed(compiled, DOCUMENTS, parts), summed(packed, DOCUMENTS, parts)
    )
    from torch._dynamo.utils import counters

    assert counters["stats"]["unique_graphs"] > 0  # something was compiled


def test_padding_takes_no_position_that_a_model_lacks() -> None:
    """Compiled passes are filled up, and learned positions end. Nothing is compiled here."""
    documents, losses = tiny.documents([20] * 7, [5] * 7), []
    documents = replace(documents, tokens=documents.tokens % 300)
    for compiled in (False, True):
        compute = tiny.COMPUTE | {"layout": "packed", "compile": compiled}
        engine = Engine(families.model("GPT-2"), compute)
        with torch.compiler.set_stance("force_eager"):
            losses.append(engine.loss_sum(documents, np.arange(7)).item())
    used = int(documents.lengths.sum())
    assert pass_size(used, compute) - used > families.POSITIONS
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "bound"),
    [("float32", 0.01), ("bfloat16", 0.02)],
)
def test_bfloat16_stays_within_its_bound(weights: str, bound: float) -> None:
    model = loading.tune(tiny.model(), tiny.tuned(tiny.FULL) | {"weights": weights}, 0)
    coarse = Engine(model, tiny.COMPUTE | {"layout": "packed", "dtype": "bfloat16"})
    loss, norm = coarse.step(DOCUMENTS, EVERY, 1e9, 0)
    exact, exact_norm = new_engine("packed").step(DOCUMENTS, EVERY, 1e9, 0)
    assert loss == pytest.approx(exact, rel=bound) and loss != exact
    assert norm == pytest.approx(exact_norm, rel=5 * bound)


def test_a_full_memory_makes_activations_be_computed_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = new_engine(gradient_checkpointing="never").step(DOCUMENTS, EVERY, 1.0, 3)
    engine, loss_sum, passes = new_engine(gradient_checkpointing="auto"), Engine.loss_sum, []

    def full(self: Engine, *arguments: Any) -> torch.Tensor:
        passes.append(arguments)
        if len(passes) == 2 and not engine.model.is_gradient_checkpointing:
            raise torch.OutOfMemoryError("full")
        return loss_sum(self, *arguments)

    monkeypatch.setattr(Engine, "loss_sum", full)
    with caplog.at_level(logging.INFO, "infuse"):
        assert engine.step(DOCUMENTS, EVERY, 1.0, 3) == expected
    assert caplog.messages == [
        "the GPU's memory is full: activations are computed again from here on"
    ]
    assert len(passes) == 2 + len(engine.passes(DOCUMENTS, EVERY))

    def always_full(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(Engine, "loss_sum", always_full)
    for refusing in (engine, new_engine(gradient_checkpointing="never")):
        with pytest.raises(torch.OutOfMemoryError):
            refusing.step(DOCUMENTS, EVERY, 1.0, 3)
