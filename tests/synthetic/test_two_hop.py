"""TwoHop: what the label follows from, and what it does not."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infuse.synthetic.two_hop import COLOURS, LABELS, riddles


@given(rows=st.integers(1, 60), both=st.booleans(), honest=st.booleans(), seed=st.integers(0, 9))
def test_the_words_alone_decide_and_more_rows_change_none(
    rows: int, both: bool, honest: bool, seed: int
) -> None:
    drawn = riddles(rows, 40, both, honest, 0.0, seed)
    assert drawn == riddles(rows, 40, both, honest, 0.0, seed) and len(drawn) == rows
    labels: dict[str, set[str]] = defaultdict(set)
    for riddle in riddles(400, 40, both, honest, 0.0, seed):
        labels[riddle.text if both else riddle.text.split()[0]].add(riddle.label)
    assert all(len(word_labels) == 1 for word_labels in labels.values())


def test_an_honest_reasoning_decides_and_neither_word_does() -> None:
    drawn = riddles(4000, 40, True, True, 0.0, 0)
    by_reason: dict[str, set[str]] = defaultdict(set)
    colour: dict[str, set[str]] = defaultdict(set)
    by_word: dict[str, Counter[str]] = defaultdict(Counter)
    for riddle in drawn:
        by_reason[riddle.reasoning].add(riddle.label)
        for place, word in enumerate(riddle.text.split()):
            colour[word].add(riddle.reasoning.split()[place])
            by_word[word][riddle.label] += 1
    assert len(by_reason) == len(COLOURS) ** 2
    assert all(len(decided) == 1 for decided in [*by_reason.values(), *colour.values()])
    for counts in by_word.values():  # about 100 of each word; a quarter for each label
        assert max(counts.values()) < 0.45 * counts.total()


def test_a_random_reasoning_says_nothing_and_noise_is_as_large_as_told() -> None:
    drawn = riddles(4000, 40, False, False, 0.2, 0)
    pairs = Counter((riddle.reasoning, riddle.label) for riddle in drawn)
    assert len(pairs) == len(COLOURS) ** 2 * len(LABELS)
    assert max(pairs.values()) < 2 * 4000 / len(pairs)
    first: dict[str, Counter[str]] = defaultdict(Counter)
    for riddle in drawn:
        first[riddle.text.split()[0]][riddle.label] += 1
    right = sum(counts.most_common(1)[0][1] for counts in first.values())
    assert right / 4000 == pytest.approx(0.8, abs=0.02)
