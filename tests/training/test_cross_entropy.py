"""The loss in slices is the loss over all logits at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from infuse.models.heads import Head
from infuse.training import cross_entropy as sliced

Found = tuple[torch.Tensor, ...]
WORDS, WIDTH = 37, 5


def plain(logits: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    return functional.cross_entropy(
        logits, targets, reduction="sum", ignore_index=-100, label_smoothing=smoothing
    )


def with_gradients(loss: torch.Tensor, *inputs: torch.Tensor) -> Found:
    return loss.detach(), *torch.autograd.grad(loss * 0.7, inputs)


def drawn(tokens: int, seed: int) -> tuple[torch.Tensor, torch.nn.Linear, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(tokens, WIDTH, generator=generator).requires_grad_()
    head = torch.nn.Linear(WIDTH, WORDS, bias=False)
    torch.nn.init.normal_(head.weight, generator=generator)
    return states, head, torch.randint(WORDS, (tokens,), generator=generator)


@settings(max_examples=60)
@given(
    tokens=st.integers(1, 20), rows=st.integers(1, 25), seed=st.integers(0, 99),
    ignored=st.sets(st.integers(0, 19)), weighted=st.booleans(),
    scale=st.sampled_from([1.0, 0.125, 3.0]), cap=st.sampled_from([None, 0.5, 30.0]),
    smoothing=st.sampled_from([0.0, 0.1, 0.9]),
)  # fmt: skip
def test_slices_equal_one_whole(
    tokens: int,
    rows: int,
    seed: int,
    ignored: set[int],
    weighted: bool,
    scale: float,
    cap: float | None,
    smoothing: float,
) -> None:
    """Tokens of weight 0 are those that a plain loss ignores; a slice may have no others."""
    states, head, targets = drawn(tokens, seed)
    weights = torch.ones(tokens)
    if weighted:
        weights[[place for place in ignored if place < tokens]] = 0
    loss = sliced.cross_entropy(
        states, Head(head, scale, cap), targets, weights if weighted else None, most=rows * WORDS,
        smoothing=smoothing,
    )  # fmt: skip
    logits = scale * head(states)
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    wanted = plain(logits, torch.where(weights > 0, targets, -100), smoothing)
    for got, want in zip(
        with_gradients(loss, states, head.weight),
        with_gradients(wanted, states, head.weight),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=2e-5)


def test_all_tokens_ignored_is_a_loss_of_0() -> None:
    states, head, targets = drawn(12, 0)
    loss = sliced.cross_entropy(states, Head(head), targets, torch.zeros(12), most=4 * WORDS)
    assert [tensor.abs().sum().item() for tensor in with_gradients(loss, states, head.weight)] == [
        0, 0, 0
    ]  # fmt: skip


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_compiled_slices_equal_eager_ones(smoothing: float) -> None:
    states, head, targets = drawn(50, 1)
    compiled_tensors, wanted = (
        with_gradients(
            sliced.cross_entropy(
                states, Head(head), targets, None, 8 * WORDS, compiled, smoothing
            ),
            states, head.weight,
        )
        for compiled in (True, False)
    )  # fmt: skip
    for got, want in zip(compiled_tensors, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=2e-5)


def test_frozen_heads_and_frozen_states_get_no_gradient() -> None:
    states, head, targets = drawn(9, 2)
    expected = with_gradients(plain(head(states), targets), states, head.weight)
    head.weight.requires_grad_(False)
    loss = sliced.cross_entropy(states, Head(head), targets, most=WORDS)
    torch.testing.assert_close(with_gradients(loss, states)[1], expected[1], rtol=1e-5, atol=2e-5)
    head.weight.requires_grad_(True)
    loss = sliced.cross_entropy(states.detach(), Head(head), targets, most=WORDS)
    torch.testing.assert_close(
        with_gradients(loss, head.weight)[1], expected[2], rtol=1e-5, atol=2e-5
    )


@pytest.mark.parametrize("most", [8 * WORDS, 99 * WORDS])
def test_weighted_losses_are_summed_in_float32(most: int) -> None:
    states, head, targets = drawn(40, 3)
    weights = torch.linspace(0.3, 2.1, 40)
    with torch.autocast("cpu", torch.bfloat16):
        loss = sliced.cross_entropy(states, Head(head), targets, weights, most)
        logits = head(states).float()
    exact = functional.cross_entropy(logits.double(), targets, reduction="none") @ weights.double()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)


def test_autocast_keeps_the_loss_exact_to_its_precision() -> None:
    states, head, targets = drawn(40, 3)
    exact = with_gradients(plain(head(states), targets), states, head.weight)
    with torch.autocast("cpu", torch.bfloat16):
        loss = sliced.cross_entropy(states, Head(head), targets, most=8 * WORDS)
    for got, want in zip(with_gradients(loss, states, head.weight), exact, strict=True):
        assert got.dtype == torch.float32
        assert (got - want).abs().max() <= 0.02 * want.abs().max()


def test_no_more_logits_than_allowed_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    original = sliced._slice

    def watched(
        logits: torch.Tensor, *arguments: torch.Tensor, **form: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(logits.numel())
        return original(logits, *arguments, **form)

    monkeypatch.setattr(sliced, "_slice", watched)
    states, head, targets = drawn(50, 4)
    sliced.cross_entropy(states, Head(head), targets, most=7 * WORDS + 3)
    assert max(sizes) == 7 * WORDS and sum(sizes) == 50 * WORDS
