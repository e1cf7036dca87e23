"""Choosing rows by text and label: no text on two sides, every label at its share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from infuse.data.sources import share
from infuse.data.texts import folded

HELD_OUT = ("source", "fold")  # kinds of regimes with a test of their own
WITHHOLDING = ("rows", "imbalance")  # those that leave training rows out


def grouped(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What must not be parted of each row: its cluster, where it has one, else its text."""
    return [row.get("cluster", row["text"]) for row in rows]


def drawn(texts: Sequence[str], most: int) -> list[int]:
    """The places of at most so many texts, in their order; which, depends on the texts alone."""
    ranked = sorted(range(len(texts)), key=lambda place: share(texts[place], "drawn"))
    return sorted(ranked[:most])


def chosen(
    texts: Sequence[str], labels: Sequence[str], rows: int, seed: int, leave: bool
) -> list[bool]:
    """Which of the texts are in a stratified choice of `rows` of them.

    Texts that differ only in case and white space are chosen together, so that what is left holds
    none of them; the choice depends on texts, labels and seed, not on their order. Each label gets
    its share of `rows` by largest remainders, less what whole groups of equal texts can't fill.

    Args:
        leave: the rest is used too, so at least one group of each label is left; else at least one
            is chosen, though it be more than the share.
    """
    groups: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        groups.setdefault(folded(text), []).append(row)
    of_label: dict[str, list[str]] = {}
    for text, members in groups.items():
        # A text with several labels counts for the first by name.
        of_label.setdefault(min(labels[row] for row in members), []).append(text)
    sizes = Counter(
        {label: sum(len(groups[text]) for text in held) for label, held in of_label.items()}
    )
    quotas = _largest_remainders(sizes, min(rows, len(texts)), seed)
    inside = [False] * len(texts)
    for label, held in of_label.items():
        room = quotas[label]
        ranked = sorted(held, key=lambda text: share(text, f"rows {seed}"))
        for place, text in enumerate(ranked[:-1] if leave else ranked):
            members = groups[text]
            if len(members) <= room or (place == 0 and not leave):
                room -= len(members)
                for row in members:
                    inside[row] = True
    return inside


def _largest_remainders(sizes: Counter[str], rows: int, seed: int) -> dict[str, int]:
    """`rows` shared out in proportion to `sizes`; the seed draws among equal remainders."""
    total = sizes.total()
    quotas = {label: rows * size // total for label, size in sizes.items()}
    short = rows - sum(quotas.values())
    ranked = sorted(
        sizes, key=lambda label: (-(rows * sizes[label] % total), share(label, f"labels {seed}"))
    )
    for label in ranked[:short]:
        quotas[label] += 1
    return quotas
