"""Scores of classifiers: scikit-learn's own, and nothing where something is not defined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import classification_report, f1_score

from infuse.evaluation import scores as ev

LABELS = ["joy", "fear", "love", "envy"]
Row = dict[str, Any]
calm = settings(max_examples=50)
PAIRS = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1)


def answered(*pairs: tuple[str, str]) -> list[Row]:
    """Answers to texts: true and given label, "" for none."""
    return [
        {
            "id": at, "text": f"t{at}", "label": true, "predicted": said,
            "outcome": "right" if said == true else "wrong" if said else "no_answer",
        }
        for at, (true, said) in enumerate(pairs)
    ]  # fmt: skip


@calm
@given(pairs=PAIRS)
def test_f1_is_over_the_labels_that_occur(pairs: list[tuple[str, str]]) -> None:
    true, said = zip(*pairs, strict=True)
    for average in ("macro", "weighted"):
        expected = f1_score(true, said, average=average, zero_division=0)
        assert ev.f1(answered(*pairs), average) == pytest.approx(expected)
    if true == said:
        assert ev.f1(answered(*pairs), "macro") == 1


@calm
@given(pairs=PAIRS)
def test_scores_of_labels_are_those_of_a_report(pairs: list[tuple[str, str]]) -> None:
    true, said = zip(*pairs, strict=True)
    report = classification_report(
        true, said, labels=LABELS, zero_division=np.nan, output_dict=True
    )
    for line in ev.class_rows("a", 1, answered(*pairs), LABELS):
        expected = report[line["label"]]
        scores = [line["precision"], line["recall"], line["f1"], line["support"]]
        assert [np.nan if value is None else value for value in scores] == pytest.approx(
            [expected[name] for name in ("precision", "recall", "f1-score", "support")], nan_ok=True
        )


def test_what_is_not_defined_is_empty() -> None:
    """joy is never given, love is given and never true, envy is neither."""
    rows = answered(("joy", ""), ("joy", "love"), ("fear", "fear"))
    rows_by_label = {row["label"]: row for row in ev.class_rows("a", 1, rows, LABELS)}
    scores = {name: tuple(row[part] for part in ("precision", "recall", "f1", "support"))
              for name, row in rows_by_label.items()}  # fmt: skip
    assert scores == {
        "joy": (None, 0, 0, 2), "fear": (1, 1, 1, 1), "love": (0, None, 0, 0),
        "envy": (None, None, None, 0),
    }  # fmt: skip
    assert ev.f1(rows, "macro") == pytest.approx(1 / 3)  # of joy, fear and love
    assert ev.f1(rows, "weighted") == pytest.approx(1 / 3)


@calm
@given(
    pairs=st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, ""])), min_size=1)
)
def test_confusion_counts_every_text_once(pairs: list[tuple[str, str]]) -> None:
    cells = ev.confusion_rows("a", 1, answered(*pairs), LABELS)
    assert len(cells) == len(LABELS) * (len(LABELS) + 1)
    for cell in cells:
        assert cell["rows"] == pairs.count((cell["label"], cell["predicted"]))


def test_kappa_of_one_rating_alone_is_not_defined() -> None:
    def rated(*pairs: tuple[str, str]) -> Row:
        return ev.rating_errors(
            [row | {"rating": float(row["label"])} for row in answered(*pairs)], list("123")
        )

    assert rated(("2", "2"), ("2", "2"))["quadratic_kappa"] is None
    assert rated(("2", "3"), ("2", "3"))["quadratic_kappa"] == 0
    assert rated(("1", "2"), ("3", "2"))["quadratic_kappa"] == 0
    assert rated(("1", "1"), ("3", "3"))["quadratic_kappa"] == 1


def test_a_text_that_was_too_long_counts_as_an_error_and_leaves_no_chances() -> None:
    scored = {"closed_set": "joy", "log_probabilities": [-0.1, -3.0, -4.0, -5.0]}
    first, second = answered(("joy", "joy"), ("joy", ""))
    rows = [
        first | scored,
        second | {"outcome": "too_long", "closed_set": "", "log_probabilities": []},
    ]
    table_row = ev.classifier_row("a", 1, rows, {}, LABELS)
    assert (table_row["accuracy"], table_row["too_long"], table_row["no_answer"]) == (0.5, 1, 0)
    assert table_row.get("closed_set_nll") is table_row.get("closed_set_accuracy") is None
    assert ev.classifier_row("a", 1, rows[:1], {}, LABELS)["closed_set_accuracy"] == 1
