"""What a source of reasonings is worth, told before an arm has learned from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from infuse.core.files import read_labels, read_rows, read_task
from infuse.core.manifest import read_provenance
from infuse.core.schemas import REASONINGS
from infuse.data.linear_text import nearest
from infuse.data.reasoning_checks import label_read, labels_named, passed
from infuse.data.splits import drawn, grouped
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
        read: a linear model of words, fitted on the other half, reads their label out of them;
            None where no model can be fitted.
        text_read: the same model reads it out of their text.
    """

    judged: int
    ended: float
    tokens: float
    distinct: float
    about_text: float
    own_label: float
    other_label: float
    read: float | None
    text_read: float | None


def worth(rows: Sequence[Row], labels: Sequence[str]) -> Worth:
    """The worth of some reasonings; of more than `MOST_JUDGED`, those of a draw by text.

    Args:
        rows: text, label, reasoning, finish and tokens; with the cluster, where texts have one.
    """
    rows = [rows[place] for place in drawn([row["text"] for row in rows], MOST_JUDGED)]
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
        "distinct": [True] * len(set(written)),
    }
    tokens = sum(row["tokens"] for row in rows) / len(rows)
    return Worth(
        len(rows),
        tokens=tokens,
        read=_share_read(rows, "reasoning"),
        text_read=_share_read(rows, "text"),
        **{name: sum(each) / len(rows) for name, each in shares.items()},
    )


def of_source(task: Path, reasonings: Path) -> tuple[str, Worth]:
    """The kind of a source, and what it wrote for the training texts is worth; two artifacts."""
    texts = {row["id"]: row for row in read_task(task, "train")}
    rows = read_rows(reasonings / "reasonings.parquet", REASONINGS)
    joined = [texts[row["id"]] | row for row in rows if row["split"] == "train"]
    kind = read_provenance(reasonings)["params"]["kind"]
    return kind, worth(joined, read_labels(task))


def _share_read(rows: Sequence[Row], part: str) -> float | None:
    """How often `label_read` holds; None where it can't be told of each row."""
    read = [right for right in label_read(rows, part) if right is not None]
    return sum(read) / len(rows) if len(read) == len(rows) else None


def _nearest_texts(texts: Sequence[str], written: Sequence[str]) -> list[int]:
    """The place of the text that each reasoning is nearest to; -1 where it shares no word."""
    if not any(text.strip() for text in texts):
        return [-1] * len(written)
    places, cosines = nearest(texts, written)
    return [int(place) if cosine > 0 else -1 for place, cosine in zip(places, cosines, strict=True)]
