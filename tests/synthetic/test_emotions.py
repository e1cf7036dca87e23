"""Diary lines: what the docstrings promise, by properties first and by large samples second."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from infuse.synthetic import emotions

SEEDS = st.integers(0, 2**32)
ROWS = st.integers(0, 40)
NOISES = st.floats(0, 0.83)
MANY = 20_000


@pytest.fixture(scope="module")
def lines() -> list[emotions.Line]:
    """Enough lines for tight estimates."""
    return emotions.texts(MANY, seed=11)


@pytest.fixture(scope="module")
def cue_words(lines: list[emotions.Line]) -> set[str]:
    """The cue words of all labels."""
    return {word for line in lines if line.kind != "ambiguous" for word in (line.held, line.denied)}


def standard_errors(observed: float, expected: float, rows: int) -> float:
    """How far an observed share lies from the expected one."""
    return float(abs(observed - expected) / np.sqrt(expected * (1 - expected) / rows))


@settings(max_examples=30)
@given(rows=ROWS, more=ROWS, seed=SEEDS, noise=NOISES)
def test_a_seed_fixes_the_lines_and_a_longer_call_extends_them(
    rows: int, more: int, seed: int, noise: float
) -> None:
    first = emotions.texts(rows, seed, noise)
    assert len(first) == rows
    assert first == emotions.texts(rows + more, seed, noise)[:rows]
    assert emotions.triples(rows, seed) == emotions.triples(rows, seed)


@settings(max_examples=30)
@given(rows=ROWS, seed=SEEDS, noise=NOISES)
def test_a_line_is_consistent(rows: int, seed: int, noise: float) -> None:
    for line in emotions.texts(rows, seed, noise):
        assert line.text == " ".join(line.text.lower().split())
        assert {line.label, line.clean, line.best} <= set(emotions.LABELS)
        assert line.clean in line.means
        assert len(line.means) == (2 if line.kind == "ambiguous" else 1)
        assert line.held in line.text
        assert line.denied in line.text
        assert bool(line.denied) == (line.kind == "contrast")
        assert len(line.claim) == (3 if line.kind == "contrast" else 0)
        assert set(line.claim) <= set(line.text.split())
        assert 12 <= len(line.text.split()) <= 32


@settings(max_examples=30)
@given(rows=ROWS, seed=SEEDS)
def test_without_noise_the_clean_label_is_observed(rows: int, seed: int) -> None:
    assert all(line.label == line.clean for line in emotions.texts(rows, seed, noise=0))


@settings(max_examples=30)
@given(seed=SEEDS, wording=SEEDS, label=st.sampled_from(emotions.LABELS))
def test_a_reason_rests_on_words_of_the_text_alone(
    cue_words: set[str], seed: int, wording: int, label: str
) -> None:
    for line in emotions.texts(10, seed):
        argument = emotions.reason(line, label, wording)
        assert argument == emotions.reason(line, label, wording)
        assert line.held in argument
        assert not line.denied or line.denied not in argument
        assert cue_words & set(argument.split()) <= set(line.text.split())
        assert 9 <= len(argument.split()) <= 32


@settings(max_examples=15)
@given(task_seed=SEEDS, seed=SEEDS)
def test_no_question_of_the_triples_is_a_text_of_the_task(task_seed: int, seed: int) -> None:
    questions = {triple.question for triple in emotions.triples(150, seed)}
    assert not questions & {line.text for line in emotions.texts(150, task_seed)}


@pytest.mark.parametrize("noise", [-0.1, 5 / 6, 1.0])
def test_noise_that_upsets_the_best_rule_is_refused(noise: float) -> None:
    with pytest.raises(ValueError, match="noise"):
        emotions.texts(1, 0, noise)
    with pytest.raises(ValueError, match="noise"):
        emotions.best_accuracy(noise)


@pytest.mark.parametrize("noise", [0.0, emotions.NOISE, 0.6])
def test_the_best_rule_is_as_accurate_as_derived(noise: float) -> None:
    observed = np.mean([line.label == line.best for line in emotions.texts(MANY, 3, noise)])
    assert standard_errors(float(observed), emotions.best_accuracy(noise), MANY) < 3


def test_the_shares_of_kinds_and_labels_are_as_stated(lines: list[emotions.Line]) -> None:
    prior = dict(zip(emotions.LABELS, emotions.PRIOR, strict=True))
    for kind, share in zip(emotions.KINDS, emotions.SHARES, strict=True):
        members = [line for line in lines if line.kind == kind]
        assert standard_errors(len(members) / MANY, share, MANY) < 4
        for label in emotions.LABELS if kind != "ambiguous" else ():
            expected = prior[label]
            if kind == "contrast":
                rest = [p for other, p in prior.items() if other != label]
                expected = (expected + sum(p * expected / (1 - p) for p in rest)) / 2
            observed = np.mean([line.clean == label for line in members])
            assert standard_errors(float(observed), expected, len(members)) < 4


def test_in_a_contrast_no_two_words_tell_which_cue_holds(
    lines: list[emotions.Line],
) -> None:
    owner = {line.held: line.clean for line in lines if line.kind == "direct"}
    contrasts = [line for line in lines if line.kind == "contrast"]
    likelier_true, first_true = [], []
    by_words: dict[tuple[str, ...], list[bool]] = {}
    for line in contrasts:
        true, false = (emotions.LABELS.index(owner[cue]) for cue in (line.held, line.denied))
        if emotions.PRIOR[true] != emotions.PRIOR[false]:
            likelier_true.append(emotions.PRIOR[true] > emotions.PRIOR[false])
        first_true.append(line.text.index(line.held) < line.text.index(line.denied))
        for count in 1, 2:
            for words in itertools.combinations(line.claim, count):
                by_words.setdefault(words, []).append(first_true[-1])
    assert len(by_words) == 3 * 8 + 3 * 64
    for outcomes in likelier_true, first_true, *by_words.values():
        assert standard_errors(float(np.mean(outcomes)), 0.5, len(outcomes)) < 4


def test_three_words_tell_together_which_cue_holds(lines: list[emotions.Line]) -> None:
    first_true: dict[tuple[str, ...], set[bool]] = {}
    for line in lines:
        if line.kind == "contrast":
            first = line.text.index(line.held) < line.text.index(line.denied)
            first_true.setdefault(line.claim, set()).add(first)
    assert len(first_true) == 512
    assert all(len(places) == 1 for places in first_true.values())
    assert sum(True in places for places in first_true.values()) == 256


def test_texts_and_questions_do_not_repeat(lines: list[emotions.Line]) -> None:
    assert len({line.text for line in lines}) == MANY
    assert len({triple.question for triple in emotions.triples(6000, 0)}) == 6000


def test_words_beat_the_majority_and_three_together_beat_words() -> None:
    rows = emotions.texts(4000, seed=5)
    texts, labels = [line.text for line in rows], np.array([line.label for line in rows])
    words = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    words.fit(texts[:3000], labels[:3000])
    tested = labels[3000:]
    majority = max(np.mean(tested == label) for label in emotions.LABELS)
    assert 0.20 < majority < 0.28
    assert 0.66 < words.score(texts[3000:], tested) < 0.78
    assert 0.82 < emotions.best_accuracy() < 0.88
    assert 0.82 < np.mean(tested == [line.best for line in rows[3000:]]) < 0.91


def test_triples_take_turns_and_cite_their_question() -> None:
    triples = emotions.triples(3000, seed=2)
    turn = itertools.cycle(["feeling", "place", "time"])
    assert [triple.domain for triple in triples] == list(itertools.islice(turn, 3000))
    counts = Counter(word for triple in triples for word in {*triple.question.split()})
    for triple in triples:
        rare = {word for word in triple.question.split() if counts[word] < len(triples) / 10}
        assert rare & {*triple.reasoning.split()}
    named = np.mean([triple.answer in triple.reasoning.split() for triple in triples])
    assert standard_errors(float(named), 0.5, len(triples)) < 4
    contrasts = np.mean([" that it was " in triple.question for triple in triples])
    share = emotions.SHARES_OF_TRIPLES[emotions.KINDS.index("contrast")]
    assert standard_errors(float(contrasts), share, len(triples)) < 4
    feelings = {triple.answer for triple in triples if triple.domain == "feeling"}
    assert feelings == set(emotions.LABELS)


def test_the_vocabulary_is_small(lines: list[emotions.Line]) -> None:
    words = {word for line in lines for word in line.text.split()}
    for triple in emotions.triples(6000, seed=0):
        words |= {*triple.question.split(), *triple.reasoning.split()}
    assert len(words) < 600
