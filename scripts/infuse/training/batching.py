"""Which rows each optimizer step takes, as a pure function of lengths, recipe and seed.

A step is a set of rows. How they are laid out in memory is the engine's business and can't change
the loss, since attention never crosses documents and the loss is a mean over the step's tokens.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from infuse.config.recipe import Batching, RowBatching

Rows = npt.NDArray[np.int64]


def steps(lengths: Rows, batching: Batching, epochs: int, seed: int) -> list[Rows]:
    """The rows of each step, over all epochs; every epoch visits each row once, in its own order.

    With `drop_last`, an epoch leaves out the rows of a last step that has fewer bins than others.

    Args:
        lengths: int64 [rows], tokens of each row.
        batching: `{kind: rows, rows}` or `{kind: tokens, bin_tokens, bin_rows, bins, drop_last}`.
    """
    taken: list[Rows] = []
    for epoch in range(epochs):
        order = epoch_order(len(lengths), seed, epoch)
        if isinstance(batching, RowBatching):
            groups = [order[at : at + batching.rows] for at in range(0, len(order), batching.rows)]
        else:
            bins = pack(lengths[order], batching.bin_tokens, batching.bin_rows)
            bins = [bins[at] for at in epoch_order(len(bins), seed, epoch)]
            groups = [
                order[np.concatenate(bins[at : at + batching.bins])]
                for at in range(0, len(bins), batching.bins)
            ]
            if batching.drop_last:
                groups = groups[: max(1, len(bins) // batching.bins)]
        taken.extend(groups)
    return taken


def pack(lengths: Rows, capacity: int, most_rows: int) -> list[Rows]:
    """Bins of whole documents: longest first, each into the fullest bin that still has room.

    Args:
        lengths: int64 [documents], each at most `capacity`.
        capacity: tokens of a bin.
        most_rows: documents of a bin.
    """
    bins: list[list[int]] = []
    space: list[tuple[int, int]] = []  # (room left, bin), sorted: the open bins
    for document in np.argsort(-lengths, kind="stable"):
        length = int(lengths[document])
        at = bisect.bisect_left(space, (length, -1))
        if at < len(space):
            room, target = space.pop(at)
        else:
            room, target = capacity, len(bins)
            bins.append([])
        bins[target].append(int(document))
        if len(bins[target]) < most_rows and room - length > 0:
            bisect.insort(space, (room - length, target))
    return [np.array(members, np.int64) for members in bins]


def micro_batches(lengths: Rows, rows: Rows, budget: int, padded: bool) -> list[Rows]:
    """Cut one step into forward passes of at most `budget` tokens (one document at the least).

    Padded passes hold rows of like length and count their padding; packed ones are bins.
    """
    if not padded:
        bins = pack(np.minimum(lengths[rows], budget), budget, len(rows))
        return [rows[members] for members in bins]
    by_length = rows[np.argsort(lengths[rows], kind="stable")]
    passes: list[list[int]] = []
    for row in by_length:
        if not passes or int(lengths[row]) * (len(passes[-1]) + 1) > budget:
            passes.append([])
        passes[-1].append(int(row))
    return [np.array(members, np.int64) for members in passes]


def epoch_order(count: int, seed: int, epoch: int) -> Rows:
    """The order in which an epoch visits its rows."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def total_tokens(lengths: Rows, taken: Sequence[Rows]) -> int:
    """Tokens that these steps visit."""
    return int(sum(int(lengths[rows].sum()) for rows in taken))
