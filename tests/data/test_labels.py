"""Labels: one rule for every file, and names that the eye can't tell apart."""

from __future__ import annotations

import decimal
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infuse.data.labels import LabelRule, NoLabel, alike, look, resembling, written
from infuse.data.scales import Scale
from infuse.data.texts import folded

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
MARKS = st.text(st.sampled_from(" \t\u00a0\u2003\u200b\u200e\u200f\u202a\u2066\u00ad\ufeff"))


@settings(max_examples=300)
@given(text=TEXTS, before=MARKS, after=MARKS)
def test_what_stands_around_a_name_and_does_not_show_is_left_out(
    text: str, before: str, after: str
) -> None:
    assert written(before + text + after) == written(text)
    assert written(text) is None or written(str(written(text))) == written(text)


@settings(max_examples=300)
@given(text=TEXTS)
def test_names_that_differ_in_form_case_or_space_look_alike(text: str) -> None:
    for other in (
        *(unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")),
        text.replace(" ", "\u00a0\u2003"), f"\u200f{text}\u200b", text.casefold(),
    ):  # fmt: skip
        assert look(other) == look(text)
        assert set(alike([text, other])) == ({text, other} if text != other else set())
    assert folded(unicodedata.normalize("NFD", text)) == folded(text)


@settings(max_examples=200)
@given(number=st.integers(-(2**53) + 1, 2**53 - 1))
def test_a_whole_number_is_one_name_whatever_its_type(number: int) -> None:
    cells = [number, float(number), str(number), f"{number}.0", decimal.Decimal(number)]
    assert {written(cell) for cell in cells} == {str(number)}


NAMES: list[tuple[Any, str | None]] = [
    (True, "True"), (2**60 + 1, str(2**60 + 1)), (2.0**53, None), (float("nan"), None),
    (float("inf"), None), (1.5, "1.5"), ("1.50", "1.50"), (decimal.Decimal("1.50"), "1.5"),
    (decimal.Decimal("2.00"), "2"), (decimal.Decimal("NaN"), None), ("010", "010"), ("", None),
    ("\u200b", None), (None, None), (["joy"], None), (b"joy", None),
    ("\u2764\ufe0f", "\u2764\ufe0f"),
    ("\U0001f469\u200d\U0001f4bb", "\U0001f469\u200d\U0001f4bb"),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "name"), NAMES)
def test_the_name_of_a_cell(cell: Any, name: str | None) -> None:
    assert written(cell) == name


PAIRS = [
    ("caf\u00e9", "cafe\u0301"), ("very good", "very\u00a0good"), ("very good", "very  good"),
    ("co\u00adop", "coop"), ("\uff4a\uff4f\uff59", "joy"), ("j\u043ey", "joy"), ("JOY", "joy"),
    ("\u2764", "\u2764\ufe0f"), ("\ufb01ne", "fine"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "other"), PAIRS)
def test_names_that_look_alike(name: str, other: str) -> None:
    assert alike(["calm", name, other]) == [name, other]
    assert resembling(name, ["calm", other]) == f" ({name!a} looks like {other!a})"


def test_names_that_do_not() -> None:
    names = [
        "joy",
        "not joy",
        "\U0001f600",
        "\u751f\u6c14",
        "\u559c\u60a6",
        "01",
        "1",
        "\u0646\u0639\u0645",
    ]
    england, scotland = (
        "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in tag) + "\U000e007f"
        for tag in ("gbeng", "gbsct")
    )
    assert alike([*names, england, scotland]) == []


REFUSED: list[tuple[LabelRule, Any, str]] = [
    (LabelRule(), [0, 1], "expected a label, found [0, 1]"),
    (LabelRule(), decimal.Decimal("NaN"), "expected a label, found Decimal NaN"),
    (LabelRule(), 2.0**60, "expected a label, found 1.152921504606847e+18 (a number that a float"),
    (LabelRule(["neg", "pos"], places=True), -1, "unknown label -1, expected one of neg, pos (-1 "),
    (LabelRule(["neg", "pos"], places=True), 2, "unknown label 2, expected one of neg, pos"),
    (LabelRule(["caf\u00e9"]), "cafe\u0301", "unknown label 'cafe\u0301', expected one of caf\u00e9"
     " ('cafe\\u0301' looks like 'caf\\xe9')"),
    (LabelRule(scale=Scale(1, 5)), True, "expected a rating of 1-5 (task.scale), found True"),
    (LabelRule(scale=Scale(1, 50)), "1_0", "expected a rating of 1-50 (task.scale), found '1_0'"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "cell", "said"), REFUSED)
def test_cells_without_a_label_are_refused(rule: LabelRule, cell: Any, said: str) -> None:
    with pytest.raises(NoLabel) as refusal:
        rule.name(cell)
    assert str(refusal.value).startswith(said)
    assert LabelRule.from_json(rule.to_json()) == rule


def test_no_message_is_long() -> None:
    rule = LabelRule([f"label {n} {'x' * 50}" for n in range(200)])
    with pytest.raises(NoLabel) as refusal:
        rule.name("so " * 9999)
    assert len(str(refusal.value)) < 400
