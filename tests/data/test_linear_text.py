"""The floor reads texts of any script: by words where there are some, else by characters."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from infuse.data.linear_text import linear_model, nearest, units, vectorizer

# Of each script: two words that tell the label, filler, what stands between words, and the unit.
SCRIPTS = {
    "Chinese": (
        "\u9ad8\u5174",
        "\u96be\u8fc7",
        "\u4eca\u5929\u5929\u6c14\u5f88\u597d",
        "",
        "characters",
    ),
    "Japanese": (
        "\u3046\u308c\u3057\u3044",
        "\u304b\u306a\u3057\u3044",
        "\u4eca\u65e5\u306f\u5929\u6c17\u304c",
        "",
        "characters",
    ),
    "Thai": (
        "\u0e14\u0e35\u0e43\u0e08",
        "\u0e40\u0e2a\u0e35\u0e22\u0e43\u0e08",
        "\u0e27\u0e31\u0e19\u0e19\u0e35\u0e49\u0e2d\u0e32\u0e01\u0e32\u0e28",
        "",
        "characters",
    ),
    "Khmer": (
        "\u179f\u1794\u17d2\u1794\u17b6\u1799",
        "\u1780\u17be\u178f\u1791\u17bb\u1780\u17d2\u1781",
        "\u1790\u17d2\u1784\u17c3\u1793\u17c1\u17c7",
        "",
        "characters",
    ),
    "emoji": (
        "\U0001f600",
        "\U0001f622",
        "\U0001f408\U0001f415\U0001f697\U0001f3e0",
        "",
        "characters",
    ),
    "Hindi": (
        "\u0916\u0941\u0936\u0940",
        "\u0926\u0941\u0916\u0940",
        "\u0906\u091c \u092e\u094c\u0938\u092e \u0905\u091a\u094d\u091b\u093e",
        " ",
        "words",
    ),
    "Korean": (
        "\uae30\uc068",
        "\uc2ac\ud514",
        "\uc624\ub298 \ub0a0\uc528\uac00 \uc88b\ub2e4",
        " ",
        "words",
    ),
    "English": ("happy", "sad", "the weather is fine today", " ", "words"),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_one_word_tells_the_label_in_any_script(script: str) -> None:
    glad, sorry, filler, between, unit = SCRIPTS[script]
    draw = random.Random(0)
    pieces = filler.split(between) if between else list(filler)

    def text(word: str) -> str:
        parts = [draw.choice(pieces) for _ in range(6)]
        parts.insert(draw.randrange(7), word)
        return between.join(parts)

    labels = ["joy", "sadness"] * 60
    texts = [text(glad if label == "joy" else sorry) for label in labels]
    assert units(texts) == unit
    model = linear_model(texts[:80], labels[:80])
    assert model is not None and model.score(texts[80:], labels[80:]) == 1


def test_words_are_those_of_scikit_learn_where_no_marks_are() -> None:
    texts = [
        "It's 5 o'clock, na\u00efve caf\u00e9!",
        "a b c dd 12 x_y",
        "\u0434\u043e\u0431\u0440\u043e \u0438 \u0437\u043b\u043e",
    ]
    model = linear_model(texts, ["a", "b", "a"])
    assert model is not None
    vocabulary = list(model.steps[0][1].get_feature_names_out())
    assert vocabulary == list(TfidfVectorizer().fit(texts).get_feature_names_out())


def test_a_word_keeps_its_vowel_signs() -> None:
    texts = [
        "\u0906\u0927\u0941\u0928\u093f\u0915 \u0939\u093f\u0928\u094d\u0926\u0940",
        "cafe\u0301",
    ]
    model = linear_model(texts, ["a", "b"])
    assert model is not None
    assert set(model.steps[0][1].get_feature_names_out()) == {*texts[0].split(), texts[1]}


def test_what_nothing_can_be_learned_from() -> None:
    assert linear_model(["one", "two"], ["a", "a"]) is None
    assert linear_model(["", " "], ["a", "b"]) is None
    assert linear_model([], []) is None


@given(st.lists(st.text("abcde ", min_size=3).filter(str.strip), min_size=1, max_size=8))
def test_the_nearest_text_is_that_of_the_largest_cosine(texts: list[str]) -> None:
    """By the whole table of cosines; a known text is nearest to itself, or to one like it."""
    known = [*texts, "first words", "second words here"]
    neighbours = nearest(known, [*known, "\u2603"])
    weights = vectorizer(known).fit(known).transform([*known, "\u2603"]).toarray()
    cosines = weights @ weights[: len(known)].T
    assert neighbours.cosine == pytest.approx(cosines.max(1))
    assert cosines[range(len(cosines)), neighbours.place] == pytest.approx(cosines.max(1))
    assert neighbours.cosine[-1] == 0
    for place, own in enumerate(neighbours.cosine[:-1]):
        assert own == pytest.approx(1) or not weights[place].any()
