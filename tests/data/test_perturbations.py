"""What each pseudo-reasoning keeps of a reasoning, and what it takes away."""

from __future__ import annotations

import copy
import functools
import re
from collections import Counter
from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from infuse.core.errors import UserError
from infuse.data.encoder import Encoder
from infuse.data.perturbations import FILLER, MASK, Kind, Reasoned, perturb
from infuse.models.loading import TEMPLATES

LABELS = ["joy", "anger", "very low"]
KINDS = list(get_args(Kind))
TOKENIZERS = {"ours": tiny.tokenizer, "Llama 3's": tiny.llama_3, "Llama 2's": tiny.llama_2}
WORDS = st.one_of(
    st.text("abcdefghij", min_size=1, max_size=9),
    st.sampled_from(
        ["joy", "Joyful", "anger.", "don't", "12", "x,y", "\u00e9t\u00e9", "very low", "killjoy"]
    ),
)
REASONINGS = st.lists(WORDS, min_size=1, max_size=25).map(" ".join)


@st.composite
def sets(draw: st.DrawFn) -> list[Reasoned]:
    """Rows of at least two of each label."""
    drawn = draw(st.lists(st.tuples(st.sampled_from(LABELS), REASONINGS), max_size=12))
    rows = [*drawn, *((label, draw(REASONINGS)) for label in LABELS * 2)]
    return [Reasoned(f"train {place}", *row) for place, row in enumerate(rows)]


@functools.cache
def encoder(name: str) -> Encoder:
    tokenizer = copy.deepcopy(TOKENIZERS[name]())
    if tokenizer.chat_template is None:
        tokenizer.chat_template = TEMPLATES["plain"].read_text()
    return Encoder(tokenizer)


def tokens(name: str, texts: list[str]) -> list[int]:
    return [len(ids) for ids in encoder(name).plain(texts)]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(rows=sets())
def test_the_length_stays_within_one_token(kind: Kind, name: str, rows: list[Reasoned]) -> None:
    perturbed = perturb(kind, rows, rows, LABELS, lambda texts: tokens(name, list(texts)))
    for row, text in zip(rows, perturbed, strict=True):
        assert text.strip() == text != ""
        before, after = tokens(name, [row.reasoning, text])
        assert abs(before - after) <= 1, (row.reasoning, text)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(rows=sets(), data=st.data())
def test_what_is_kept_and_what_is_lost(
    kind: Kind, rows: list[Reasoned], data: st.DataObject
) -> None:
    def measure(texts: object) -> list[int]:
        return tokens("ours", list(texts))  # type: ignore[call-overload]

    perturbed = perturb(kind, rows, rows, LABELS, measure)
    used = {word for row in rows for word in row.reasoning.split()} | {FILLER}
    of_others = {
        row.place: [
            set(other.reasoning.split()) | {FILLER} for other in rows
            if other.place != row.place and (other.label == row.label or kind == "other")
        ]
        for row in rows
    }  # fmt: skip
    for row, text in zip(rows, perturbed, strict=True):
        words = text.split()
        match kind:
            case "shuffle":
                assert Counter(words) == Counter(row.reasoning.split())
            case "bag_of_words" | "uniform":
                assert set(words) <= used
            case "mask_labels":
                kept = re.sub(r"(?i)\b(joy|anger|very low)[a-z\u00e9]*\b", MASK, row.reasoning)
                assert [w for w in words if w != MASK] == [w for w in kept.split() if w != MASK]
            case "filler":
                assert set(words) == {FILLER}
            case _:
                assert any(set(words) <= theirs for theirs in of_others[row.place])
    # A row's pseudo-reasoning does not depend on which other rows are asked for.
    some = data.draw(st.lists(st.sampled_from(range(len(rows))), unique=True))
    assert perturb(kind, [rows[at] for at in some], rows, LABELS, measure) == [
        perturbed[at] for at in some
    ]


SENTENCES = st.text("我今天很开心因为下雨了。あいกา", min_size=9, max_size=30)


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(reasonings=st.lists(SENTENCES, min_size=2, max_size=9, unique=True))
def test_without_spaces_between_words_characters_stand_in_for_them(
    kind: Kind, name: str, reasonings: list[str]
) -> None:
    def measure(texts: Sequence[str]) -> list[int]:
        return tokens(name, list(texts))

    rows = [Reasoned(f"train {at}", "开心", told) for at, told in enumerate(reasonings)]
    perturbed = perturb(kind, rows, rows, ["开心"], measure)
    before, after = measure(reasonings), measure(perturbed)
    assert all(abs(a - b) <= 1 for a, b in zip(before, after, strict=True))
    for told, text in zip(reasonings, perturbed, strict=True):
        others = "".join(other for other in reasonings if other != told or "other" not in kind)
        match kind:
            case "shuffle":
                assert Counter(text) == Counter(told)
                assert text != told or name != "ours" or len(set(told)) < 3
            case "mask_labels":
                assert "开心" not in text
                assert re.sub(f"[{MASK} ]", "", text) == told.replace("开心", "")
            case "filler":
                assert set(text) <= {FILLER, " "}
            case _:
                assert set(text) <= {*others, FILLER, " "}
                assert text.count(FILLER) <= 4  # tokens of a character


def test_order_is_lost_and_the_space_between_words_stays() -> None:
    rows = [
        Reasoned(f"train {n}", "joy", "one two three\n\nfour five  six seven") for n in range(40)
    ]
    shuffled = perturb("shuffle", rows, rows, LABELS, lambda texts: tokens("ours", list(texts)))
    assert len(set(shuffled)) > 30
    assert all(
        re.sub(r"\S+", "", text) == re.sub(r"\S+", "", rows[0].reasoning) for text in shuffled
    )
    again = perturb("shuffle", rows, rows, LABELS, lambda texts: tokens("ours", list(texts)))
    assert again == shuffled


@given(row=REASONINGS)
def test_a_reasoning_is_left_in_order_only_where_no_other_order_is_as_long(row: str) -> None:
    rows = [Reasoned("train 0", "joy", row)]
    (shuffled,) = perturb("shuffle", rows, rows, LABELS, lambda texts: [1] * len(texts))
    words = row.split()
    assert (shuffled != row) or len(set(words)) == 1 or len(words) == 2


def test_two_words_change_their_places() -> None:
    rows = [Reasoned(f"train {n}", "joy", "red blue") for n in range(50)]
    shuffled = perturb("shuffle", rows, rows, LABELS, lambda texts: [1] * len(texts))
    assert shuffled.count("blue red") >= 48


def test_another_rows_reasoning_says_nothing_of_the_label_even_by_its_length() -> None:
    rows = [
        Reasoned(f"train {n}", label, " ".join([label] * length))
        for n in range(1000)
        for label, length in (("joy", 3 + n % 3), ("anger", 9 + n % 3))
    ]
    measure = lambda texts: [len(text.split()) for text in texts]  # noqa: E731
    perturbed = perturb("other", rows, rows, LABELS, measure)
    own = sum(row.label in text.split() for row, text in zip(rows, perturbed, strict=True))
    assert 0.45 < own / len(rows) < 0.55


@pytest.mark.parametrize(
    ("labels", "before", "after"),
    [
        (["yes", "no"], "nothing is known, no, not at all", "nothing is known, x, not at all"),
        (["A", "B"], "a great book: B, not bad", "x great book: x, not bad"),
        (["card_arrival"], "the card arrival, card-arrivals", "the x, x"),
        (["very low"], "Very-low or very  low", "x or x"),
        (["joy"], "it is _joy_, not_joy", "it is _x_, not_joy"),
        (["col\u00e8re"], "une cole\u0300re", "une x"),
        (["cole\u0300re"], "une col\u00e8re", "une x"),
        (["joy"], "le de\u0301sir", "le de\u0301sir"),
        (["joy"], "これはjoyです、enjoyです", "これはxです、enjoyです"),
    ],
)
def test_labels_are_masked_however_they_are_written(
    labels: list[str], before: str, after: str
) -> None:
    rows = [Reasoned("train 0", labels[0], before)]

    def measure(texts: Sequence[str]) -> list[int]:
        """Each label is a token, as each word is."""
        parts = r"card.arrivals?|very[- ]+low"
        return [len(re.sub(parts, "x", text, flags=re.IGNORECASE).split()) for text in texts]

    assert perturb("mask_labels", rows, rows, labels, measure) == [after]


def test_a_bag_draws_words_as_often_as_they_stand_in_reasonings() -> None:
    rows = [Reasoned(f"train {n}", "joy", "so so so so so so so so so we") for n in range(300)]
    measure = lambda texts: [len(text.split()) for text in texts]  # noqa: E731
    share = {}
    for kind in ("bag_of_words", "uniform"):
        words = " ".join(perturb(kind, rows, rows, LABELS, measure)).split()  # type: ignore[arg-type]
        share[kind] = words.count("we") / len(words)
    assert 0.08 < share["bag_of_words"] < 0.12 and 0.46 < share["uniform"] < 0.54


def test_a_row_without_another_to_lend_a_reasoning() -> None:
    rows = [Reasoned("train 4", "joy", "a"), Reasoned("train 5", "anger", "b")]
    with pytest.raises(UserError, match=r"^train 4: no other row of label 'joy' has a reasoning"):
        perturb("other_same_label", rows, rows, LABELS, lambda texts: [1] * len(texts))
    assert perturb("other", rows, rows, LABELS, lambda texts: [1] * len(texts)) == ["b", "a"]
