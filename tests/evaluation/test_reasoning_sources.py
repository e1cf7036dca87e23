"""What is told of a source of reasonings is what can be counted in them."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infuse.data.reasoning_checks import labels_named
from infuse.evaluation import reasoning_sources
from infuse.evaluation.reasoning_sources import Worth, worth
from infuse.reporting.arm_tables import sources

LABELS = ["joy", "sadness"]
COUNTS = ("judged", "tokens")  # of a Worth; all else are shares
SCENES = ["harbour", "kitchen", "orchard", "library", "station", "meadow"]


def rows(reasonings: list[str], finish: str = "stop") -> list[dict[str, Any]]:
    """A text for each reasoning, about a place of its own; labels in turns."""
    return [
        {
            "text": f"we met at the {SCENES[at % 6]}{at}", "label": LABELS[at // 2 % 2],
            "reasoning": reasoning, "finish": finish, "tokens": 3,
        }
        for at, reasoning in enumerate(reasonings)
    ]  # fmt: skip


def test_each_text_told_again_is_its_own_reasoning_and_tells_no_label() -> None:
    told = [row["text"] for row in rows([""] * 12)]
    assert worth(rows(told), LABELS) == Worth(
        12, ended=1.0, tokens=3.0, distinct=1.0, about_text=1.0, own_label=0.0, other_label=0.0,
        read=pytest.approx(0.5, abs=0.5), text_read=worth(rows(told), LABELS).read,
    )  # fmt: skip


def test_a_reasoning_that_is_its_label_is_read_and_about_no_text() -> None:
    told = [f"It is {row['label'].upper()}ful" for row in rows([""] * 12)]
    said = worth(rows(told, "length"), LABELS)
    assert (said.ended, said.own_label, said.other_label, said.read) == (0.0, 1.0, 0.0, 1.0)
    assert said.distinct == 2 / 12 and said.about_text == 0.0


@given(st.lists(st.sampled_from(["", "joy", "Sadness, not joy", "the harbour0"]), min_size=1))
def test_shares_are_of_the_reasonings(reasonings: list[str]) -> None:
    said = worth(rows(reasonings), LABELS)
    shares = [share for name, share in said._asdict().items() if name not in COUNTS]
    assert all(0 <= share <= 1 for share in shares if share is not None)
    assert said.distinct == len(set(reasonings)) / len(reasonings)
    assert said.judged == len(reasonings)
    named = sum("joy" in text.lower() or "sadness" in text.lower() for text in reasonings)
    assert max(said.own_label, said.other_label) <= named / len(reasonings)


def test_of_names_within_each_other_the_longest_is_meant() -> None:
    assert labels_named(["Very-low, it seems", "low"], ["low", "very low"]) == [
        {"very low"}, {"low"}
    ]  # fmt: skip


def test_a_label_is_named_inside_a_sentence_without_spaces() -> None:
    labels = ["开心", "不开心", "joy"]
    told = ["他很开心。", "他不开心了", "これはjoyです", "これはenjoyです"]
    assert labels_named(told, labels) == [{"开心"}, {"不开心"}, {"joy"}, set()]


@pytest.mark.parametrize("kept", ["NFC", "NFD"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_label_is_named_in_any_form_of_its_letters(kept: str, form: str) -> None:
    label = unicodedata.normalize(kept, "col\u00e8re")
    told = [unicodedata.normalize(form, text) for text in ("De la _col\u00e8re_", "Col\u00e8res")]
    assert labels_named(told, ["cole", label]) == [{label}, {label}]


def test_rows_sorted_by_label_are_judged_as_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasoning_sources, "MOST_JUDGED", 12)
    told = [row | {"reasoning": f"It is {row['label']}"} for row in rows([""] * 24)]
    ordered = sorted(told, key=lambda row: row["label"])
    said = worth(ordered, LABELS)
    assert said == worth(told, LABELS) and (said.judged, said.read) == (12, 1.0)


def test_of_one_label_it_is_not_told_whether_it_can_be_read() -> None:
    said = worth([row | {"label": "joy"} for row in rows(["joyful"] * 12)], LABELS)
    assert said.read is said.text_read is None
    assert sources({"own": ("reasoner", said)})[0]["label read from it %"] == ""


@pytest.mark.parametrize(
    ("name", "named", "others"),
    [
        ("-1", ["It is -1.", "-1", "so, -1"], ["It is 1 of them", "1", "so 1", "x-1"]),
        ("A-", ["an A-", "A-, then"], ["A boy", "A", "A-level"]),
        ("_x_y-", ["an _x y-", "_X-Y- it is"], ["an x y", "x_y-", "_x y"]),
    ],
)
def test_a_label_is_named_with_the_marks_at_its_ends(
    name: str, named: list[str], others: list[str]
) -> None:
    assert labels_named(named, [name]) == [{name}] * len(named)
    assert labels_named(others, [name]) == [set()] * len(others)


@given(st.from_regex(r"[-_a-z0-9]{1,6}", fullmatch=True))
def test_a_label_is_named_by_itself_and_not_by_white_space(name: str) -> None:
    assert labels_named([f"so {name} then", "so  then"], [name]) == [{name}, set()]


def test_what_is_of_one_cluster_is_not_learned_from() -> None:
    """Each cluster has a word of its own for each label: known, it tells all; unknown, nothing."""
    told = [
        row | {"cluster": str(at // 16), "reasoning": f"w{at // 16}{row['label']}"}
        for at, row in enumerate(rows([""] * 96))
    ]
    known = [row | {"cluster": str(at)} for at, row in enumerate(told)]
    assert worth(known, LABELS).read > worth(told, LABELS).read
