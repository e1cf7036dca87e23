"""Whether a reasoning is good enough to learn from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from infuse.data.labels import naming
from infuse.data.linear_text import linear_model

Check = Literal["ended", "no_other_label", "read"]


def passed(check: Check, rows: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> list[bool]:
    """Whether each reasoning passes.

    `ended`: before the limit of tokens. `no_other_label`: it names none but its own. `read`: a
    linear model of words reads its label out of it. That stands where STaR (Zelikman et al. 2022,
    arXiv 2203.14465) asks whether a reasoning leads the model itself to the answer.

    Args:
        rows: label, reasoning and finish.
        labels: of the task.
    """
    own = [row["label"] for row in rows]
    match check:
        case "ended":
            return [row["finish"] != "length" for row in rows]
        case "no_other_label":
            named = labels_named([row["reasoning"] for row in rows], labels)
            return [names <= {label} for names, label in zip(named, own, strict=True)]
        case "read":
            return label_read([row["reasoning"] for row in rows], own)


def labels_named(texts: Sequence[str], labels: Sequence[str]) -> list[set[str]]:
    """The labels whose name stands in each text."""
    patterns = {label: re.compile(naming([label]), re.IGNORECASE) for label in labels}
    return [{label for label in labels if patterns[label].search(text)} for text in texts]


def label_read(texts: Sequence[str], own: Sequence[str]) -> list[bool]:
    """Whether a linear model reads the label of each text; of each half, one of the other half."""
    right = [False] * len(texts)
    for half, other in ((0, 1), (1, 0)):
        model = linear_model(texts[other::2], own[other::2])
        if model is not None and texts[half::2]:
            said = model.predict(texts[half::2])
            right[half::2] = [a == b for a, b in zip(said, own[half::2], strict=True)]
    return right
