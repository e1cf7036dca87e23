"""Diary lines with one of six feelings: words decide together, and the ceiling is known.

A line is opener, event, clause and closer; only the clause tells the feeling. Its kind is drawn
first, with the probabilities `SHARES`:

- direct: the label is drawn from `PRIOR`; the clause holds one of the label's own cue words.
- contrast: two different labels are drawn from `PRIOR`, one after the other, and a fair coin says
  which of them is true. Somebody says or denies, rightly or wrongly, that it is plain or absurd
  that a cue of the first and not of the second holds. Each of these three words is a yes or a no,
  its sign; equal signs make yes, unequal ones no. Where the three make yes, the cue that is named
  first holds, else the second. All eight cases are equally likely, so neither cue, nor its place,
  nor any two of the three words tell which cue holds.
- ambiguous: a clause that two labels share is drawn uniformly, then its label: the likelier one
  with probability `LIKELIER`, else the other.

Last, noise replaces some labels by one of the other five. `PRIOR` is thus not quite the share of
each label: where direct lines have p(y), contrast lines have
(p(y) + sum over z != y of p(z) p(y) / (1 - p(z))) / 2, which is more even, and ambiguous lines what
their clauses give. Altogether, with the default noise, joy gets 0.24 and surprise 0.10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate
from typing import Literal, TypeVar

import numpy as np

Kind = Literal["direct", "contrast", "ambiguous"]
_Option = TypeVar("_Option")

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")
PRIOR = (0.21, 0.25, 0.14, 0.15, 0.15, 0.10)
KINDS: tuple[Kind, ...] = ("direct", "contrast", "ambiguous")
SHARES = (0.5, 0.3, 0.2)
SHARES_OF_TRIPLES = (0.25, 0.6, 0.15)
LIKELIER = 0.7
NOISE = 0.08

_OPENERS = (
    "dear diary ,", "well ,", "to be honest ,", "so ,", "once more", "in the end", "out of nowhere",
    "just like that",
)  # fmt: skip
_PEOPLE = (
    "sister", "brother", "neighbour", "friend", "teacher", "uncle", "cousin", "aunt", "landlord",
    "tailor",
)  # fmt: skip
_DEEDS = (
    "called", "sent a parcel", "brought news", "read my letter", "sold the car", "came by",
    "found my notebook", "moved the chairs", "changed the plan", "played that song",
)  # fmt: skip
_CLOSERS = (
    "that was all", "and i went on", "so i write it down", "and nobody noticed",
    "more on that soon", "and i told no one", "which says enough", "and so it goes",
)  # fmt: skip
# Triples keep a quarter of all pairs of opener and closer for themselves: they share every word
# with the task, but no text.
_PAIRS = [(i, j) for i in range(len(_OPENERS)) for j in range(len(_CLOSERS))]
_TASK_FRAMES = [(_OPENERS[i], _CLOSERS[j]) for i, j in _PAIRS if (i + j) % 4]
_TRIPLE_FRAMES = [(_OPENERS[i], _CLOSERS[j]) for i, j in _PAIRS if (i + j) % 4 == 0]
_TASK_STREAM, _TRIPLE_STREAM = 1, 2


@dataclass(frozen=True)
class _Domain:
    """What lines can be about: `prior` gives the probabilities of the labels, the keys of `cues`.

    `shared` lists clauses with their likelier and their other label; `direct` and `contrast` list
    clauses with slots for cues.
    """

    name: str
    prior: Sequence[float]
    cues: Mapping[str, str]
    shared: Sequence[tuple[str, str, str]]
    direct: Sequence[str]
    contrast: Sequence[str]


_FEELING = _Domain(
    "feeling",
    PRIOR,
    cues={
        "sadness": "miserable gloomy heartbroken",
        "joy": "delighted cheerful elated",
        "love": "smitten devoted tender",
        "anger": "furious outraged livid",
        "fear": "scared terrified anxious",
        "surprise": "astonished amazed startled",
    },
    shared=(
        ("my heart was racing", "fear", "love"),
        ("tears ran down my face", "sadness", "joy"),
        ("i could not sit still", "joy", "fear"),
        ("i could not believe it", "joy", "surprise"),
        ("my hands were shaking", "anger", "fear"),
        ("my throat was tight", "sadness", "love"),
        ("my cheeks were glowing", "love", "joy"),
        ("i said nothing", "sadness", "anger"),
        ("i raised my voice", "anger", "surprise"),
        ("i kept smiling", "joy", "love"),
    ),
    direct=("i was really {held}", "i felt quite {held}", "it left me {held}", "it made me {held}"),
    contrast=("i was {first} and not {second}",),
)
_EVEN = (0.25, 0.25, 0.25, 0.25)
_SCENE_DIRECT = ("i noticed the {held}", "all i saw was the {held}", "there was the {held}")
_SCENE_CONTRAST = ("the word was {first} and not {second}",)
_PLACE = _Domain(
    "place",
    _EVEN,
    cues={
        "kitchen": "oven kettle saucepan ladle fridge",
        "harbour": "anchor ferry gull lighthouse sail",
        "office": "printer stapler paperwork keyboard spreadsheet",
        "garden": "rose hedge lawn spade greenhouse",
    },
    shared=(
        ("there was a long table", "kitchen", "office"),
        ("i saw a wet bench", "harbour", "garden"),
    ),
    direct=_SCENE_DIRECT,
    contrast=_SCENE_CONTRAST,
)
_TIME = _Domain(
    "time",
    _EVEN,
    cues={
        "morning": "sunrise dew breakfast rooster dawn",
        "evening": "sunset dusk supper candle twilight",
        "winter": "snow frost icicle sledge blizzard",
        "summer": "heatwave sunshade mosquito sandal lemonade",
    },
    shared=(
        ("it was dark outside", "winter", "evening"),
        ("the light was soft", "morning", "summer"),
    ),
    direct=_SCENE_DIRECT,
    contrast=_SCENE_CONTRAST,
)
_DOMAINS = (_FEELING, _PLACE, _TIME)
# The words of a claim, in their order, by their sign.
_CLAIM_WORDS: tuple[Mapping[str, str], ...] = (
    {"yes": "rightly truly fairly justly", "no": "wrongly falsely wildly blindly"},
    {"yes": "swore insisted declared wrote", "no": "denied disputed doubted rejected"},
    {"yes": "plain certain clear true", "no": "absurd untrue invented nonsense"},
)
_SIGNS = {
    word: sign
    for words_of in _CLAIM_WORDS
    for sign, words in words_of.items()
    for word in words.split()
}

_CLAIMS = {  # each label by its name and in other words
    "sadness": ("sadness", "a heavy heart"), "joy": ("joy", "a day gone well"),
    "love": ("love", "warmth towards someone"), "anger": ("anger", "a hot temper"),
    "fear": ("fear", "a sense of danger"), "surprise": ("surprise", "what nobody saw coming"),
    "kitchen": ("the kitchen", "a place for cooking"), "office": ("the office", "desk work"),
    "harbour": ("the harbour", "a place for ships"), "garden": ("the garden", "a place for plants"),
    "morning": ("the morning", "the start of a day"), "winter": ("the winter", "the cold months"),
    "evening": ("the evening", "the close of a day"), "summer": ("the summer", "the warm months"),
}  # fmt: skip
_ARGUMENTS: dict[Kind | Literal["unsupported"], tuple[str, ...]] = {
    "direct": (
        "the word that counts is {held} , which points to {claim} .",
        "it all rests on {held} , a clear sign of {claim} .",
    ),
    "contrast": (
        "{signs} , so the part {part} {held} is {truth} , which points to {claim} .",
        "{signs} , so the part {part} {held} is {truth} , a clear sign of {claim} .",
    ),
    "ambiguous": (
        "the words {held} could mean two things , here they point to {claim} .",
        "the writer only says {held} , which may well speak of {claim} .",
    ),
    "unsupported": (
        "taken alone {held} would not suggest it , but it may point to {claim} .",
        "it is hard to see from {held} , but there may be signs of {claim} .",
    ),
}


@dataclass(frozen=True)
class Line:
    """A diary line, its labels and its evidence.

    Attributes:
        label: what is observed, after noise.
        clean: the label before noise.
        means: the labels that the evidence allows, the likelier first.
        held: the cue that holds, as it stands in the text: a word, in ambiguous lines the clause.
        denied: the cue that does not hold, "" where there is none.
        claim: the three words that tell together which cue holds; none where there is one cue.
    """

    text: str
    label: str
    clean: str
    kind: Kind
    means: tuple[str, ...]
    held: str
    denied: str
    claim: tuple[str, ...] = ()

    @property
    def best(self) -> str:
        """The most probable label given the text, and so what the best classifier predicts."""
        return self.means[0]


@dataclass(frozen=True)
class Triple:
    """A question of some domain, its answer, and a reasoning that argues for the answer."""

    question: str
    answer: str
    reasoning: str
    domain: str


def texts(rows: int, seed: int, noise: float = NOISE) -> list[Line]:
    """Lines of the task. More rows of the same seed and noise begin with the same lines.

    A clause whose text was there before gets another opener, event and closer, so the shares of
    kinds and labels stay as stated. After 100 attempts the text is repeated, which is unlikely in a
    call for fewer than 200,000 rows. Calls with different seeds may have texts in common.

    Raises:
        ValueError: the seed is negative, or noise is not in [0, 5/6), where the clean label is the
            most probable one.
    """
    _check(noise)
    return _lines(
        _FEELING, SHARES, rows, np.random.default_rng([seed, _TASK_STREAM]), _TASK_FRAMES, noise
    )


def reason(line: Line, label: str, seed: int) -> str:
    """An argument for `label` from the words of the line: of two cues, it finds the one that holds.

    Where the cues don't allow the label, the argument concedes that and calls the label possible.
    The seed draws the wording; with probability 1/2 it paraphrases the label and doesn't name it.

    Raises:
        KeyError: no domain has this label.
        ValueError: the seed is negative.
    """
    rng = np.random.default_rng(seed)
    arguments = _ARGUMENTS[line.kind if label in line.means else "unsupported"]
    claim = _pick(_CLAIMS[label], rng)
    steps = list(accumulate((_SIGNS[word] for word in line.claim), _product))
    signs = " , ".join(
        f"{left} and {_SIGNS[word]} make {product}"
        for left, word, product in zip(steps[:-1], line.claim[1:], steps[1:], strict=True)
    )
    part, truth = ("was", "true") if steps[-1:] == ["yes"] else ("not", "false")
    return _pick(arguments, rng).format(
        held=line.held, claim=claim, signs=signs, part=part, truth=truth
    )


def triples(rows: int, seed: int) -> list[Triple]:
    """Lines on feelings, places and times in turn, each with its label and an argument for it.

    All are made like lines of the task, noise included, but with `SHARES_OF_TRIPLES`: contrasts
    take most to learn. No question is a text of the task: triples have pairs of opener and closer
    to themselves, and random numbers of their own. Questions are unlikely to repeat in a call for
    fewer than 30,000 rows.

    Raises:
        ValueError: the seed is negative.
    """
    rng = np.random.default_rng([seed, _TRIPLE_STREAM])
    turns = -(-rows // len(_DOMAINS))
    lines = [
        _lines(domain, SHARES_OF_TRIPLES, turns, rng, _TRIPLE_FRAMES, NOISE) for domain in _DOMAINS
    ]
    drawn = []
    for row in range(rows):
        turn, at = divmod(row, len(_DOMAINS))
        line = lines[at][turn]
        reasoning = reason(line, line.label, int(rng.integers(2**32)))
        drawn.append(Triple(line.text, line.label, reasoning, _DOMAINS[at].name))
    return drawn


def best_accuracy(noise: float = NOISE) -> float:
    """The accuracy on fresh lines that no classifier can exceed in expectation.

    The text shows the clause, and opener, event and closer are independent of the label. So, with
    noise n, the share a of ambiguous lines and q = `LIKELIER`:

    - In a direct or contrast line the clean label is certain. It is observed with probability
      1 - n, any other with n / 5.
    - In an ambiguous line the likelier label is clean with probability q, so it is observed with
      probability q (1 - n) + (1 - q) n / 5, more than any other as q > 1/2.

    Predicting the most probable label gives (1 - a) (1 - n) + a (q (1 - n) + (1 - q) n / 5).

    Raises:
        ValueError: noise is not in [0, 5/6), where these labels are the most probable.
    """
    _check(noise)
    share = SHARES[KINDS.index("ambiguous")]
    flip = noise / (len(LABELS) - 1)
    likelier = LIKELIER * (1 - noise) + (1 - LIKELIER) * flip
    return (1 - share) * (1 - noise) + share * likelier


def _check(noise: float) -> None:
    if not 0 <= noise < 1 - 1 / len(LABELS):
        raise ValueError(f"noise is {noise}, expected at least 0 and less than 5/6")


def _lines(
    domain: _Domain,
    shares: Sequence[float],
    rows: int,
    rng: np.random.Generator,
    frames: Sequence[tuple[str, str]],
    noise: float,
) -> list[Line]:
    taken: set[str] = set()
    lines = []
    for _ in range(rows):
        core = _core(domain, shares, rng)
        for _attempt in range(100):
            opener, closer = _pick(frames, rng)
            event = f"my {_pick(_PEOPLE, rng)} {_pick(_DEEDS, rng)}"
            text = f"{opener} {event} and {core.text} , {closer}"
            if text not in taken:
                break
        taken.add(text)
        others = [label for label in domain.cues if label != core.clean]
        label = _pick(others, rng) if rng.random() < noise else core.clean
        lines.append(replace(core, text=text, label=label))
    return lines


def _core(domain: _Domain, shares: Sequence[float], rng: np.random.Generator) -> Line:
    """A line before noise of which the text is but the clause."""
    kind = KINDS[int(rng.choice(len(KINDS), p=shares))]
    if kind == "ambiguous":
        clause, *means = _pick(domain.shared, rng)
        clean = means[int(rng.random() >= LIKELIER)]
        return Line(clause, clean, clean, kind, tuple(means), held=clause, denied="")
    # The first of the pair follows the prior; the coin makes the pair tell nothing by itself.
    pair = rng.choice(list(domain.cues), size=2, replace=False, p=domain.prior).tolist()
    if kind == "contrast":
        pair = rng.permutation(pair).tolist()
    clean = pair[0]
    held, denied = (_pick(domain.cues[label].split(), rng) for label in pair)
    if kind == "direct":
        clause = _pick(domain.direct, rng).format(held=held)
        return Line(clause, clean, clean, kind, (clean,), held, denied="")
    claim = tuple(_pick(words[_pick(("yes", "no"), rng)].split(), rng) for words in _CLAIM_WORDS)
    is_yes = reduce(_product, (_SIGNS[word] for word in claim)) == "yes"
    first, second = (held, denied) if is_yes else (denied, held)
    how, said, called = claim
    named = _pick(domain.contrast, rng).format(first=first, second=second)
    clause = f"{how} {said} that it was {called} that {named}"
    return Line(clause, clean, clean, kind, (clean,), held, denied, claim)


def _product(left: str, right: str) -> str:
    """Of two signs: equal ones make yes."""
    return "yes" if left == right else "no"


def _pick(options: Sequence[_Option], rng: np.random.Generator) -> _Option:
    return options[int(rng.integers(len(options)))]
