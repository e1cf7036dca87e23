"""Whether a reasoning is good enough to learn from."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from infuse.data.labels import naming
from infuse.data.linear_text import linear_model
from infuse.data.splits import grouped
from infuse.data.texts import folded

Check = Literal["ended", "no_other_label", "read"]
Rows = Sequence[Mapping[str, Any]]


def passed(check: Check, rows: Rows, labels: Sequence[str]) -> list[bool]:
    """Whether each reasoning passes.

    `ended`: before the limit of tokens. `no_other_label`: it names none but its own. `read`: a
    linear model of words reads its label out of it. That stands where STaR (Zelikman et al. 2022,
    arXiv 2203.14465) asks whether a reasoning leads the model itself to the answer.

    Args:
        rows: text, label, reasoning and finish; with the cluster, where texts have one.
        labels: of the task.
    """
    match check:
        case "ended":
            return [row["finish"] != "length" for row in rows]
        case "no_other_label":
            named = labels_named([row["reasoning"] for row in rows], labels)
            return [names <= {row["label"]} for names, row in zip(named, rows, strict=True)]
        case "read":
            return [bool(read) for read in label_read(rows, "reasoning")]


def labels_named(texts: Sequence[str], labels: Sequence[str]) -> list[set[str]]:
    """The labels whose name stands in each text; of names within each other, the longest."""
    exact = {folded(label): label for label in labels}
    every = re.compile(naming(exact))
    own = {name: re.compile(naming([name])) for name in exact}
    longest = sorted(exact, key=len, reverse=True)

    def meant(said: str) -> str:
        name = said if said in exact else next(n for n in longest if own[n].fullmatch(said))
        return exact[name]

    return [{meant(found[0]) for found in every.finditer(folded(text))} for text in texts]


def label_read(rows: Rows, part: str) -> list[bool | None]:
    """Whether a linear model reads the label out of a part of each row, `text` or `reasoning`; None
    where the rows to learn from give no model.

    There are two halves, and the model of each has learned from the other. Rows of one cluster, and
    equal texts, are in the same half.
    """
    halves = [zlib.crc32(folded(group).encode()) % 2 for group in grouped(rows)]
    right: list[bool | None] = [None] * len(rows)
    for half in (0, 1):
        learned = [row for row, its in zip(rows, halves, strict=True) if its != half]
        asked = [at for at, its in enumerate(halves) if its == half]
        model = linear_model([row[part] for row in learned], [row["label"] for row in learned])
        if model is not None and asked:
            said = model.predict([rows[at][part] for at in asked])
            for at, label in zip(asked, said, strict=True):
                right[at] = str(label) == rows[at]["label"]
    return right
