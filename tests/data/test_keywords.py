"""Reasons from a linear model, which never has seen the text that it speaks of."""

from __future__ import annotations

import numpy as np

from infuse.data.keywords import cross_fitted, reasons_of
from infuse.data.linear_text import linear_model

HAPPY, SAD = ["sunny", "bright", "laughing"], ["rainy", "dark", "weeping"]


def texts(rows: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """A telling word among others that tell nothing."""
    draw = np.random.default_rng(seed)
    labels = draw.choice(["joy", "sadness"], rows).tolist()
    words = ["went", "there", "people", "house", "again", "street", "door", "morning"]
    filler = [draw.permutation(words)[:3].tolist() for _ in range(rows)]
    telling = [str(draw.choice(HAPPY if label == "joy" else SAD)) for label in labels]
    return [" ".join([*some, word]) for some, word in zip(filler, telling, strict=True)], labels


def test_the_telling_word_comes_first_in_two_classes_and_more() -> None:
    lines, labels = texts(400)
    for more in ([], ["anger"] * 40):
        corpus = [*lines, *(f"went furious {n}" for n in range(len(more)))], [*labels, *more]
        reasons, accuracy = cross_fitted(*corpus, corpus[0], words=3, folds=5)
        assert accuracy == 1
        for line, label, reason in zip(*corpus, reasons, strict=True):
            first, *others = reason.split(", ")
            assert first == ("furious" if label == "anger" else line.split()[-1])
            assert len(others) < 3 and set(others) <= set(line.split())


def test_a_fold_does_not_see_its_own_texts() -> None:
    """A word of one text alone has no weight for it, though a model of all gives it some."""
    lines, labels = texts(60)
    lines[7] += " unheard"
    reasons, _ = cross_fitted(lines, labels, lines, words=9, folds=3)
    assert "unheard" not in reasons[7]
    model = linear_model(lines, labels)
    assert "unheard" in reasons_of(model, lines[7:8], labels[7:8], 9)[0]
    lines[8], labels[8] = lines[7], labels[7]  # an equal text is on the same side
    reasons, _ = cross_fitted(lines, labels, lines, words=9, folds=3)
    assert "unheard" not in reasons[7] + reasons[8]


def test_a_label_that_no_model_knows_has_no_reason() -> None:
    lines, labels = texts(60)
    assert reasons_of(linear_model(lines, labels), ["sunny"], ["anger"], 3) == [""]
    assert reasons_of(linear_model(lines, labels), ["never"], ["joy"], 3) == [""]
