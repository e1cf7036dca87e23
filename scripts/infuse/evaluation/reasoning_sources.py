"""What a source of reasonings is worth, told before an arm has learned from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from infuse.data.linear_text import nearest
from infuse.data.reasoning_checks import label_read, labels_named, passed
from infuse.data.splits import grouped
from infuse.evaluation.scores import Row

MOST_JUDGED = 2000  # reasonings; the nearest of n texts takes n * n products


class Worth(NamedTuple):
    """Shares of reasonings, and their mean length.

    Attributes:
        judged: how many reasonings.
        ended: came to their end before the limit of tokens.
        tokens: of the base's tokenizer, on average.
        distinct: how many different reasonings there are, for each one.
        about_text: of all texts, their own is nearest to them (cosine of TF-IDF), or one of its
            cluster.
        own_label: name their own label.
        other_label: name another one.
        read: a linear model of words, fitted on the other half, reads their label out of them.
        text_read: the same model reads it out of their text.
    """

    judged: int
    ended: float
    tokens: float
    distinct: float
    about_text: float
    own_label: float
    other_label: float
    read: float
    text_read: float


def worth(rows: Sequence[Row], labels: Sequence[str]) -> Worth:
    """The worth of some reasonings.

    Args:
        rows: text, label, reasoning, finish and tokens; with the cluster, where texts have one.
    """
    texts, written, own = ([row[part] for row in rows] for part in ("text", "reasoning", "label"))
    named, groups = labels_named(written, labels), grouped(rows)
    shares = {
        "ended": passed("ended", rows, labels),
        "about_text": [
            place >= 0 and groups[place] == groups[at]
            for at, place in enumerate(_nearest_texts(texts, written))
        ],
        "own_label": [label in names for label, names in zip(own, named, strict=True)],
        "other_label": [bool(names - {label}) for label, names in zip(own, named, strict=True)],
        "read": passed("read", rows, labels),
        "text_read": label_read(rows, "text"),
        "distinct": [True] * len(set(written)),
    }
    tokens = sum(row["tokens"] for row in rows) / len(rows)
    return Worth(
        len(rows), tokens=tokens, **{name: sum(each) / len(rows) for name, each in shares.items()}
    )


def _nearest_texts(texts: Sequence[str], written: Sequence[str]) -> list[int]:
    """The place of the text that each reasoning is nearest to; -1 where it shares no word."""
    if not any(text.strip() for text in texts):
        return [-1] * len(written)
    places, cosines = nearest(texts, written)
    return [int(place) if cosine > 0 else -1 for place, cosine in zip(places, cosines, strict=True)]
