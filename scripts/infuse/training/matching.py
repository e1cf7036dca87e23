"""Arms at equal budgets: one takes over the steps, or the supervised tokens, of another."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass

import numpy as np

from infuse.config.model_params import ClassifierParams, TargetForm
from infuse.config.recipe import Batching
from infuse.core.errors import UserError
from infuse.data.examples import Documents
from infuse.training import batching
from infuse.training.batching import Rows
from infuse.training.training_data import Dropped, TrainingSets


@dataclass(frozen=True)
class Lesson:
    """Documents, the rows of each step, and what was dropped for its length."""

    documents: Documents
    steps: list[Rows]
    dropped: Dropped


def lesson(sets: TrainingSets, training: ClassifierParams) -> Lesson:
    """What a classifier with these parameters learns from."""
    documents, dropped = sets.read("training_set", training)
    recipe, seed, match = training.recipe, training.seed, training.match
    if match.supervised_tokens is not None:
        documents = _as_supervised(sets, documents, match.supervised_tokens)
    plan = recipe.batching, recipe.epochs, seed
    if match.steps is None:
        return Lesson(documents, batching.steps(documents.lengths, *plan), dropped)
    other, _ = sets.read("match steps", match.steps)
    count = len(batching.steps(other.lengths, *plan))
    if match.by == "repeating":
        steps = repeated_steps(documents.lengths, recipe.batching, count, seed)
    else:
        steps = matched_steps(len(documents), recipe.epochs, count, seed)
    return Lesson(documents, steps, dropped)


def _as_supervised(sets: TrainingSets, documents: Documents, form: TargetForm) -> Documents:
    """The documents with as many target tokens as the other arm has for the same texts."""
    role = "match supervised_tokens"
    other, _ = sets.read(role, form)
    ids, others = np.array(sets.ids("training_set")), np.array(sets.ids(role))
    wanted: Counter[int] = Counter()
    for row, tokens in zip(others[other.rows].tolist(), other.supervised.tolist(), strict=True):
        wanted[row] += tokens
    return documents.with_loss_on_prompts(
        np.array([wanted[row] for row in ids[documents.rows].tolist()])
    )


def repeated_steps(lengths: Rows, rule: Batching, count: int, seed: int) -> list[Rows]:
    """Exactly `count` steps of the size that `rule` says, over as many epochs as they take."""
    in_one_epoch = len(batching.steps(lengths, rule, 1, seed))
    return batching.steps(lengths, rule, count // in_one_epoch + 1, seed)[:count]


def matched_steps(rows: int, epochs: int, count: int, seed: int) -> list[Rows]:
    """The same passes over the rows, cut into exactly `count` steps of nearly equal size.

    Raises:
        UserError: there are fewer rows to visit than steps to take.
    """
    if rows * epochs < count:
        raise UserError(f"can't cut {rows * epochs} visits of rows into {count} steps")
    order = np.concatenate([batching.epoch_order(rows, seed, epoch) for epoch in range(epochs)])
    edges = np.arange(count + 1) * len(order) // count
    return [order[start:end] for start, end in itertools.pairwise(edges)]
