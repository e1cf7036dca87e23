"""Reasons from a linear model: the words of a text that speak most for its label."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from infuse.data.linear_text import linear_model
from infuse.data.texts import folded


def cross_fitted(
    texts: Sequence[str], labels: Sequence[str], groups: Sequence[str], words: int, folds: int
) -> tuple[list[str], float]:
    """Reasons for training texts, each from a model that has seen neither it nor its like.

    Texts of one group, equal but for case and white space, fall into the same of the `folds` parts;
    a part's model is fitted on the others.

    Returns:
        a reason for each text, "" where the model knows no word of it that speaks for its label;
        and the share of texts to which their model gives their label.
    """
    part = np.array([zlib.crc32(folded(group).encode()) % folds for group in groups])
    reasons, right = [""] * len(texts), 0
    for fold in range(folds):
        inside, outside = np.flatnonzero(part == fold), np.flatnonzero(part != fold)
        model = linear_model([texts[at] for at in outside], [labels[at] for at in outside])
        if model is None or not len(inside):
            continue
        held, gold = [texts[at] for at in inside], [labels[at] for at in inside]
        right += int((model.predict(held) == np.array(gold)).sum())
        for at, reason in zip(inside, reasons_of(model, held, gold, words), strict=True):
            reasons[at] = reason
    return reasons, right / len(texts)


def reasons_of(model: Any, texts: Sequence[str], labels: Sequence[str], words: int) -> list[str]:
    """The `words` words of each text that weigh most for its label, the weightiest first.

    Args:
        model: of `linear_model`.
    """
    vectorizer, classifier = (step for _, step in model.steps)
    names = vectorizer.get_feature_names_out()
    weights = classifier.coef_
    if len(weights) == 1:  # of two classes it holds those of the second
        weights = np.concatenate([-weights, weights])
    places = {label: place for place, label in enumerate(classifier.classes_)}
    reasons = []
    for row, label in zip(vectorizer.transform(texts), labels, strict=True):
        if label not in places:
            reasons.append("")
            continue
        weight = row.data * weights[places[label], row.indices]
        order = np.lexsort((row.indices, -weight))[:words]
        reasons.append(", ".join(names[row.indices[at]] for at in order if weight[at] > 0))
    return reasons
