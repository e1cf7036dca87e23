"""Steps, bins and passes: what is visited, how often, and in how many steps."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from infuse.config.recipe import RowBatching, TokenBatching
from infuse.core.errors import UserError
from infuse.training import batching, matching
from infuse.training.batching import Rows
from infuse.training.loop import learning_rate

SEEDS = st.integers(0, 2**31)
CAPACITY = 60
LENGTHS = st.lists(st.integers(1, CAPACITY), min_size=1, max_size=80).map(np.array)
BATCHINGS = st.one_of(
    st.builds(lambda rows: RowBatching(kind="rows", rows=rows), st.integers(1, 90)),
    st.builds(
        lambda rows, bins: TokenBatching(
            kind="tokens", bin_tokens=CAPACITY, bin_rows=rows, bins=bins
        ),
        st.integers(1, 20), st.integers(1, 5),
    ),
)  # fmt: skip
PAPER = TokenBatching(kind="tokens", bin_tokens=16384, bin_rows=200, bins=8, drop_last=True)
PAPER_RATE = tiny.RECIPE | {"learning_rate": 2e-5, "warmup_steps": 10, "schedule": "cosine"}


def same(left: list[Rows], right: list[Rows]) -> bool:
    return len(left) == len(right) and all(map(np.array_equal, left, right))


def epochs_of(taken: list[Rows], rows: int) -> list[Rows]:
    """The visits of each epoch; an epoch must end where a step does."""
    edges = np.cumsum([len(step) for step in taken])
    assert set(range(rows, len(np.concatenate(taken)) + 1, rows)) <= set(edges.tolist())
    return np.split(np.concatenate(taken), range(rows, edges[-1], rows))


@given(lengths=LENGTHS, recipe=BATCHINGS, epochs=st.integers(1, 4), seed=SEEDS)
def test_each_epoch_visits_each_row_once(
    lengths: Rows, recipe: dict[str, Any], epochs: int, seed: int
) -> None:
    taken = batching.steps(lengths, recipe, epochs, seed)
    visits = epochs_of(taken, len(lengths))
    assert len(visits) == epochs
    for visited in visits:
        assert sorted(visited) == list(range(len(lengths)))
    assert batching.total_tokens(lengths, taken) == epochs * lengths.sum()


@given(lengths=LENGTHS, recipe=BATCHINGS, epochs=st.integers(1, 3), seed=SEEDS)
def test_steps_hold_no_more_than_the_recipe_allows(
    lengths: Rows, recipe: dict[str, Any], epochs: int, seed: int
) -> None:
    for step in batching.steps(lengths, recipe, epochs, seed):
        if isinstance(recipe, RowBatching):
            assert 1 <= len(step) <= recipe.rows
        else:
            assert 1 <= len(step) <= recipe.bins * recipe.bin_rows
            assert lengths[step].sum() <= recipe.bins * CAPACITY


@given(lengths=LENGTHS, recipe=BATCHINGS, epochs=st.integers(1, 3), seed=SEEDS)
def test_an_epoch_depends_on_seed_and_number_alone(
    lengths: Rows, recipe: dict[str, Any], epochs: int, seed: int
) -> None:
    np.random.seed(1)  # a global state must not matter
    taken = batching.steps(lengths, recipe, epochs, seed)
    np.random.seed(2)
    longer = batching.steps(lengths, recipe, epochs + 1, seed)
    assert same(taken, longer[: len(taken)])


@given(
    lengths=LENGTHS, recipe=BATCHINGS.filter(lambda recipe: isinstance(recipe, TokenBatching)),
    epochs=st.integers(1, 3), seed=SEEDS,
)  # fmt: skip
def test_whole_steps_alone(lengths: Rows, recipe: dict[str, Any], epochs: int, seed: int) -> None:
    """An epoch's steps less its partial one; that one where it is all there is."""
    every, taken = (
        batching.steps(lengths, recipe | {"drop_last": left_out}, epochs, seed)
        for left_out in (False, True)
    )
    bins = len(batching.pack(lengths, CAPACITY, recipe.bin_rows))
    count, whole = math.ceil(bins / recipe.bins), max(1, bins // recipe.bins)
    assert len(every) == epochs * count
    assert same(taken, [step for at, step in enumerate(every) if at % count < whole])


@pytest.mark.parametrize("recipe", [RowBatching(kind="rows", rows=10), PAPER])
def test_epochs_and_seeds_differ(recipe: dict[str, Any]) -> None:
    lengths = np.random.default_rng(0).integers(1, 400, 100)
    taken = batching.steps(lengths, recipe, 2, 1)
    first, second = epochs_of(taken, 100)
    assert not np.array_equal(first, second)
    assert not same(taken, batching.steps(lengths, recipe, 2, 2))


@given(lengths=LENGTHS, most=st.integers(1, 20))
def test_bins_hold_each_document_once_within_capacity_and_rows(lengths: Rows, most: int) -> None:
    bins = batching.pack(lengths, CAPACITY, most)
    assert sorted(np.concatenate(bins)) == list(range(len(lengths)))
    for members in bins:
        assert len(members) <= most
        assert lengths[members].sum() <= CAPACITY


@settings(max_examples=50)
@given(seed=SEEDS, count=st.integers(1, 400), share=st.integers(4, 12))
def test_bins_are_near_the_fewest_possible(seed: int, count: int, share: int) -> None:
    lengths = np.random.default_rng(seed).integers(1, 1200 // share + 1, count)
    fewest = math.ceil(lengths.sum() / 1200)
    assert fewest <= len(batching.pack(lengths, 1200, count)) <= 1.1 * fewest + 1
    by_rows = math.ceil(count / 3)
    assert len(batching.pack(lengths, 1200, 3)) <= max(1.1 * fewest, by_rows) + 1


def test_a_hundred_thousand_documents_are_packed() -> None:
    lengths = np.random.default_rng(3).integers(20, 500, 100_000)
    bins = batching.pack(lengths, 16384, 200)
    assert np.array_equal(np.sort(np.concatenate(bins)), np.arange(100_000))
    assert max(lengths[members].sum() for members in bins) <= 16384
    assert len(bins) <= 1.1 * lengths.sum() / 16384 + 1


def test_a_document_longer_than_a_bin_has_one_of_its_own() -> None:
    assert [list(members) for members in batching.pack(np.array([3, 15, 4]), 10, 5)] == [
        [1],
        [2, 0],
    ]


@given(rows=st.integers(1, 60), epochs=st.integers(1, 4), share=st.floats(0.01, 1), seed=SEEDS)
def test_a_match_takes_exactly_the_stated_steps(
    rows: int, epochs: int, share: float, seed: int
) -> None:
    count = max(1, int(rows * epochs * share))
    taken = matching.matched_steps(rows, epochs, count, seed)
    sizes = [len(step) for step in taken]
    assert len(taken) == count
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1
    assert (np.bincount(np.concatenate(taken), minlength=rows) == epochs).all()
    assert same(taken, matching.matched_steps(rows, epochs, count, seed))


@given(rows=st.integers(1, 60), epochs=st.integers(1, 4), more=st.integers(1, 50), seed=SEEDS)
def test_more_steps_than_visits_are_refused(rows: int, epochs: int, more: int, seed: int) -> None:
    count = rows * epochs
    assert [len(step) for step in matching.matched_steps(rows, epochs, count, seed)] == [1] * count
    with pytest.raises(UserError, match=f"{count} visits of rows into {count + more} steps"):
        matching.matched_steps(rows, epochs, count + more, seed)


def test_a_matched_arm_differs_from_the_plain_one_in_its_steps_alone() -> None:
    short, long = np.full(400, 10), np.full(400, 30)
    recipe = PAPER | {"bin_tokens": 300, "bin_rows": 100, "bins": 1}
    plain = batching.steps(short, recipe, 2, 1)
    count = len(batching.steps(long, recipe, 2, 1))
    matched = matching.matched_steps(len(short), 2, count, 1)
    assert (len(plain), count, len(matched)) == (28, 80, 80)
    assert {len(step) for step in matched} == {10}
    assert batching.total_tokens(short, plain) == batching.total_tokens(short, matched)


@settings(max_examples=300)
@given(
    lengths=LENGTHS, seed=SEEDS, share=st.floats(0, 1), budget=st.integers(1, 150),
    padded=st.booleans(),
)  # fmt: skip
def test_passes_cover_a_step_once_within_the_budget(
    lengths: Rows, seed: int, share: float, budget: int, padded: bool
) -> None:
    rows = np.random.default_rng(seed).permutation(len(lengths))[: 1 + int(share * len(lengths))]
    passes = batching.micro_batches(lengths, rows, budget, padded)
    assert sorted(np.concatenate(passes)) == sorted(rows)
    for part in passes:
        cost = lengths[part].max() * len(part) if padded else lengths[part].sum()
        assert cost <= budget or len(part) == 1
    for part, after in itertools.pairwise(passes):  # as few as the order by length allows
        grown = np.append(part, after[0])
        cost = lengths[grown].max() * len(grown) if padded else lengths[grown].sum()
        assert cost > budget


# The paper's setting: 16,000 documents, one epoch, whole steps alone. Bins are full by rows at 66
# tokens, by tokens above.
@pytest.mark.parametrize("spread", [0, 40])
@pytest.mark.parametrize(
    ("mean", "count", "sum_of_rates"), [(66, 10, 9.0e-5), (126, 15, 1.5e-4), (186, 22, 2.2e-4)]
)
def test_arithmetic_of_the_paper(mean: int, count: int, sum_of_rates: float, spread: int) -> None:
    lengths = np.random.default_rng(0).integers(mean - spread, mean + spread + 1, 16_000)
    assert len(batching.steps(lengths, PAPER, 1, 0)) == count
    rates = [learning_rate(step, count, PAPER_RATE) for step in range(count)]
    assert sum(rates) == pytest.approx(sum_of_rates, rel=1e-9)


@pytest.mark.parametrize(("mean", "bins"), [(66, 80), (126, 124), (186, 182)])
def test_the_bins_of_the_paper(mean: int, bins: int) -> None:
    lengths = np.full(16_000, mean)
    assert len(batching.pack(lengths, 16384, 200)) == bins
    every = batching.steps(lengths, PAPER | {"drop_last": False}, 1, 0)
    assert len(every) == math.ceil(bins / 8)
