"""Pseudo-reasonings: a reasoning with its order, its words or its text taken away.

Each has as many tokens as the reasoning in whose place it stands, within one, so that arms differ
in what the tokens mean and in nothing else. What is drawn depends on the row alone. In scripts
without spaces between words, characters stand in for words.

| kind               | keeps                              | destroys                     |
|--------------------|------------------------------------|------------------------------|
| `shuffle`          | the row's own words                | their order                  |
| `bag_of_words`     | words as frequent as in reasonings | order, and what the row says |
| `mask_labels`      | all but the labels' names          | those                        |
| `other_same_label` | a reasoning for the same label     | what the row says            |
| `other`            | a reasoning for some row           | what the row says, its label |
| `uniform`          | words that reasonings use          | frequency too                |
| `filler`           | the length                         | everything else              |
"""

from __future__ import annotations

import itertools
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from infuse.core.errors import UserError
from infuse.data.labels import naming
from infuse.data.linear_text import unspaced

Kind = Literal[
    "shuffle", "bag_of_words", "mask_labels", "other_same_label", "other", "uniform", "filler"
]
Measure = Callable[[Sequence[str]], list[int]]  # tokens of each text
FILLER, MASK = ".", "x"
DRAWS = 8  # of an order of words, before the first word is left in its place
MOST = 8  # characters of a token
MISSES = 50  # words too long for the room that is left, before it is filled up


class Reasoned(NamedTuple):
    """A row: its split and id, its label, its reasoning."""

    place: str
    label: str
    reasoning: str


class _Costs:
    """Tokens of words, at the beginning of a text and after a space."""

    def __init__(self, words: Iterable[str], measure: Measure) -> None:
        known = sorted({*words, FILLER, MASK})
        self._bare = dict(zip(known, measure(known), strict=True))
        self._spaced = dict(zip(known, _after_a_word(known, measure), strict=True))

    def of(self, word: str, first: bool) -> int:
        return self._bare[word] if first else self._spaced[word]


def _after_a_word(words: Sequence[str], measure: Measure) -> list[int]:
    """Tokens of words after a space, which some tokenizers put before a text's first word, too."""
    alone, *longer = measure([MASK, *(f"{MASK} {word}" for word in words)])
    return [tokens - alone for tokens in longer]


def perturb(
    kind: Kind,
    rows: Sequence[Reasoned],
    pool: Sequence[Reasoned],
    labels: Sequence[str],
    measure: Measure,
) -> list[str]:
    """A pseudo-reasoning for each row.

    Args:
        pool: the training rows, from which words and reasonings of others are taken.
        labels: the names that `mask_labels` masks, with the letters that follow them.

    Raises:
        UserError: there is no other row to take a reasoning from.
    """
    lengths = measure([row.reasoning for row in rows])
    characters = unspaced([row.reasoning for row in pool])
    words_of: Callable[[str], list[str]] = list if characters else str.split
    if kind == "shuffle":
        return _shuffled(rows, lengths, measure, characters)
    if kind == "mask_labels":
        return [_masked(row.reasoning, labels, measure) for row in rows]
    used = [word for row in pool for word in words_of(row.reasoning)]
    streams: Iterable[Iterator[str]]
    if kind.startswith("other"):
        donors = _Donors(pool, kind == "other_same_label")
        streams = (itertools.cycle(words_of(donors.reasoning(row))) for row in rows)
    elif kind == "filler":
        streams = (itertools.repeat(FILLER) for _ in rows)
    else:
        words = used if kind == "bag_of_words" else sorted(set(used))
        streams = (_drawn(words, _generator(row)) for row in rows)
    if characters and kind != "filler":
        return _begun(streams, lengths, measure)
    costs = _Costs(used, measure)
    return [_fit(stream, tokens, costs) for stream, tokens in zip(streams, lengths, strict=True)]


def _generator(row: Reasoned) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(row.place.encode()))


def _drawn(words: Sequence[str], draw: np.random.Generator) -> Iterator[str]:
    while True:
        yield from (words[at] for at in draw.integers(len(words), size=64))


def _fit(words: Iterable[str], tokens: int, costs: _Costs) -> str:
    """Words of a stream, in its order, without those that find no room, up to so many tokens."""
    chosen: list[str] = []
    left, misses = tokens, 0
    for word in words:
        if left <= 0 or misses == MISSES:
            break
        cost = costs.of(word, not chosen)
        misses += cost > left
        if cost <= left:
            chosen.append(word)
            left -= cost
    while left > 0 and (cost := costs.of(FILLER, not chosen)) <= left + 1:
        chosen.append(FILLER)
        left -= cost
    return " ".join(chosen)


def _begun(streams: Iterable[Iterator[str]], lengths: list[int], measure: Measure) -> list[str]:
    """The longest beginning of each stream of characters that has room, filled up."""
    texts = [
        "".join(itertools.islice(stream, MOST * tokens))
        for stream, tokens in zip(streams, lengths, strict=True)
    ]
    low, high = [0] * len(texts), [len(text) for text in texts]
    while low != high:
        middle = [(least + most + 1) // 2 for least, most in zip(low, high, strict=True)]
        tried = measure([text[:end] for text, end in zip(texts, middle, strict=True)])
        for at, (end, tokens) in enumerate(zip(middle, tried, strict=True)):
            if tokens <= lengths[at]:
                low[at] = end
            else:
                high[at] = end - 1
    begun = [text[:end].strip() for text, end in zip(texts, low, strict=True)]
    [cost] = _after_a_word([FILLER], measure)
    filled = []
    for text, has, tokens in zip(begun, measure(begun), lengths, strict=True):
        left = max(tokens - has, 0)
        fillers = min(-(-left // cost), (left + 1) // cost)
        filled.append(f"{text}{f' {FILLER}' * fillers}".strip())
    return filled


def _shuffled(
    rows: Sequence[Reasoned], lengths: list[int], measure: Measure, characters: bool
) -> list[str]:
    """The words of each reasoning in another order; the space between them stays where it was."""
    word = r"\S" if characters else r"\S+"
    parts = [
        list(itertools.chain.from_iterable(re.findall(rf"({word})(\s*)", row.reasoning)))
        for row in rows
    ]
    draws = [_generator(row) for row in rows]
    shuffled = [row.reasoning for row in rows]
    for round_ in range(DRAWS + 1):
        waiting = [at for at, row in enumerate(rows) if shuffled[at] == row.reasoning]
        drawn = [_permuted(parts[at], draws[at], keep=int(round_ == DRAWS)) for at in waiting]
        for at, text, tokens in zip(waiting, drawn, measure(drawn), strict=True):
            if abs(tokens - lengths[at]) <= 1:
                shuffled[at] = text
    return shuffled


def _permuted(parts: Sequence[str], draw: np.random.Generator, keep: int) -> str:
    """`parts` are words, each with the space after it; the first `keep` words stay."""
    words = [*parts[: 2 * keep : 2], *draw.permutation(np.array(parts[2 * keep :: 2], object))]
    pairs = zip(words, parts[1::2], strict=True)
    return "".join(itertools.chain.from_iterable(pairs))


def _masked(reasoning: str, labels: Sequence[str], measure: Measure) -> str:
    """The reasoning as it stands where it names no label, else in Unicode's form NFC."""
    owed = 0  # tokens by which the masks so far are too short

    def mask(match: re.Match[str]) -> str:
        nonlocal owed
        space = match[1]
        tokens, further = _after_a_word([match[2], MASK], measure)
        single = further
        if not space:
            tokens, single = measure([match[2], MASK])
        least = int(owed >= 0 or not match.start())  # a name may go without a mask in its place
        count = max(least, 1 + round((tokens + owed - single) / further))
        owed += tokens - bool(count) * single - max(count - 1, 0) * further
        return bool(count) * space + " ".join([MASK] * count)

    name = naming(unicodedata.normalize("NFC", label) for label in labels)
    text = unicodedata.normalize("NFC", reasoning)
    masked, names = re.subn(f"( ?){name}", mask, text, flags=re.IGNORECASE)
    return masked if names else reasoning


class _Donors:
    """Reasonings of other rows, by label if it must be the same.

    Whichever their length: among those of like length a label that tends to long reasonings would
    come back.
    """

    def __init__(self, pool: Sequence[Reasoned], same_label: bool) -> None:
        self._same_label = same_label
        self._groups: dict[str, list[Reasoned]] = {}
        self._places: dict[str, int] = {}
        for row in pool:
            group = self._groups.setdefault(row.label if same_label else "", [])
            self._places[row.place] = len(group)
            group.append(row)

    def reasoning(self, row: Reasoned) -> str:
        """Another row's."""
        group = self._groups.get(row.label if self._same_label else "", [])
        own = self._places.get(row.place, len(group))
        others = len(group) - (own < len(group))
        if not others:
            whose = f"label {row.label!r}" if self._same_label else "training"
            raise UserError(f"{row.place}: no other row of {whose} has a reasoning to lend")
        drawn = int(_generator(row).integers(others))
        return group[drawn + (drawn >= own)].reasoning
