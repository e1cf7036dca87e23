"""Generated conversations whose quality follows from their text, and simulated judges of it.

A context asks one to three questions, a response is a row of clauses: one for each question, which
answers or dodges it, and fillers about something else; the speaker may hesitate between words.
Quality has three dimensions from 1 to 5, each a function of the text alone that `truth` reads back:

- naturalness: 5 less one for each hesitation;
- comprehensiveness: 1 + 4 times the share of the questions that are answered;
- on_topic: 5 less one for each filler.

Each can be counted word by word, so that a small model can learn it in minutes. The styles
`help_chosen` and `help_rejected` of one seed have the same contexts, row by row.

What a student can attain is known only together with the judges. A judge's score is the truth plus
bias and noise, rounded; the noise is a hash, so no text tells it. A label made of such scores has
given the text the distribution that truth, biases, noises, scales, the number of judges and draws,
the share of faults and the rounding of the mean give; the best accuracy is the mean of its largest
probability over the conversations, the best squared error the mean of its variance. Both hold for
exactly these settings and this mix of styles, and for students that see the text but no judge.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple, TypeVar

import numpy as np

from infuse.core.errors import UserError

_Option = TypeVar("_Option")

DIMENSIONS = ("naturalness", "comprehensiveness", "on_topic")
LEVELS = ("awful", "poor", "fair", "good", "excellent")  # how judges say 1 to 5
_OPENERS = ("", "well , ", "sure , ", "oh , ")
_HESITATIONS = ("uh", "hm", "erm", "aw")
_DODGES = ("no idea about the {question}", "ask somebody else about the {question}")


@dataclass(frozen=True)
class _Setting:
    """What conversations of a kind are about.

    Attributes:
        answers: the values that answer each question; a question goes by one word.
        clauses: for answers, with slots for the question's word and the value; or one such list
            for each question.
        fillers: clauses that answer nothing, by the word that names what they are about.
        asked: the probabilities of one, two and three questions.
    """

    answers: Mapping[str, str]
    clauses: Sequence[str] | Mapping[str, Sequence[str]]
    fillers: Mapping[str, str]
    asked: Sequence[float]

    def forms(self, question: str) -> Sequence[str]:
        """The clauses that may answer a question."""
        return self.clauses[question] if isinstance(self.clauses, Mapping) else self.clauses


_SETTINGS = {
    "shop": _Setting(
        answers={
            "price": "ten twenty fifty ninety", "colour": "red blue green black",
            "weight": "light heavy average tiny", "size": "small medium large huge",
            "battery": "strong weak old new", "warranty": "short long lifelong void",
            "material": "steel wood glass leather", "delivery": "free fast slow late",
        },
        clauses=("the {question} is {value}", "its {question} is {value}",
                 "we list the {question} as {value}"),
        fillers={
            "shop": "our shop opens at nine", "brother": "my brother bought one too",
            "holiday": "we had a nice holiday", "newsletter": "please read our newsletter",
        },
        asked=(0.25, 0.4, 0.35),
    ),
    "help": _Setting(
        answers={
            "tool": "soap string glue tape", "duration": "minutes hours days weeks",
            "cost": "low high nothing moderate", "place": "outdoors indoors upstairs downstairs",
            "risk": "fire dust noise damp", "helper": "friends neighbours family nobody",
            "season": "spring summer autumn winter", "skill": "patience balance strength care",
        },
        clauses=("the best {question} is {value}", "the usual {question} was {value}",
                 "as {question} i suggest {value}"),
        fillers={
            "robot": "i am only a robot", "recipe": "here is a recipe instead",
            "joke": "let me tell a joke", "football": "yesterday i watched football",
        },
        asked=(0.2, 0.4, 0.4),
    ),
    "film": _Setting(
        answers={
            "where": "harbour cellar church attic", "when": "dawn noon dusk midnight",
            "who": "anna victor boris clara", "why": "money love revenge peace",
            "how": "boat train horse sledge",
        },
        clauses={
            "where": ("look in the {value}", "try the old {value}"),
            "when": ("be ready at {value}", "surely not before {value}"),
            "who": ("it was {value} again", "ask {value} about that"),
            "why": ("only for some {value}", "all because of {value}"),
            "how": ("we go by {value}", "take the next {value}"),
        },
        fillers={
            "coat": "what a nice coat", "coffee": "i really need coffee",
            "rain": "look at that rain", "song": "i hate this song",
        },
        asked=(0.35, 0.65, 0.0),
    ),
}  # fmt: skip
_PRODUCTS = (
    "lamp", "phone", "watch", "radio", "kettle", "camera", "drill", "heater", "mixer", "speaker",
    "tent", "chair",
)  # fmt: skip
_GREETINGS = ("hello ,", "good morning ,", "one question ,", "please tell me ,")
_PLANS = (
    "paint a fence", "clean an oven", "fix a tap", "bake bread", "plant a tree", "build a shelf",
    "sew a shirt", "wash a carpet", "move a piano", "tidy a shed", "polish a ring", "mend a bike",
)  # fmt: skip
_PRAISES = ("a good plan", "glad to help", "that sounds fun")
_PEOPLE = ("the captain", "the doctor", "my uncle", "the guard", "my sister", "the queen")
_EVENTS = (
    "left the town", "sold the house", "lost the keys", "broke the deal", "found the letter",
    "closed the door", "saw the police", "burned the map",
)  # fmt: skip
_LINES = {
    "where": ("where is the ring", "where do they hide", "where can i sleep"),
    "when": ("when do we leave", "when will it start", "when is the meeting"),
    "who": ("who told you", "who called", "who has the gun"),
    "why": ("why did you lie", "why are you here", "why should i stay"),
    "how": ("how do we escape", "how did they come", "how can i follow"),
}


class _Habit(NamedTuple):
    """How responses of a style are: the probability that a question is answered, and those of 0, 1,
    2, ... fillers and of as many hesitations.
    """

    setting: str
    answered: float
    fillers: Sequence[float]
    hesitations: Sequence[float]


_HABITS = {
    "shop": _Habit("shop", 0.65, (0.4, 0.25, 0.2, 0.1, 0.05), (0.35, 0.3, 0.2, 0.1, 0.05)),
    "help_chosen": _Habit("help", 0.75, (0.5, 0.25, 0.12, 0.08, 0.05), (0.5, 0.2, 0.15, 0.1, 0.05)),
    "help_rejected": _Habit("help", 0.4, (0.1, 0.2, 0.3, 0.25, 0.15), (0.1, 0.2, 0.3, 0.25, 0.15)),
    "film": _Habit("film", 0.6, (0.25, 0.3, 0.25, 0.15, 0.05), (0.2, 0.3, 0.25, 0.15, 0.1)),
}
STYLES = tuple(_HABITS)


@dataclass(frozen=True)
class Conversation:
    """A context, a response, and how good it was made to be on each dimension."""

    context: str
    response: str
    quality: Mapping[str, float]


def conversations(rows: int, style: str, seed: int) -> list[Conversation]:
    """Conversations of a style. More rows of the same style and seed begin with the same ones.

    Contexts may repeat: a style has 9,000 to 20,000 of them, and the short ones come often.

    Raises:
        KeyError: there is no such style.
        ValueError: the seed is negative.
    """
    habit = _HABITS[style]
    ask = np.random.default_rng([seed, list(_SETTINGS).index(habit.setting)])
    reply = np.random.default_rng([seed, len(_SETTINGS) + STYLES.index(style)])
    drawn = []
    for _ in range(rows):
        context, asked = _context(habit.setting, ask)
        drawn.append(Conversation(context, *_response(habit, asked, reply)))
    return drawn


def _context(setting: str, rng: np.random.Generator) -> tuple[str, list[str]]:
    """A context, and the questions that it asks."""
    known = _SETTINGS[setting]
    asked: list[str] = rng.choice(
        list(known.answers), _number(known.asked, rng) + 1, replace=False
    ).tolist()
    topics = _listed([f"the {question}" for question in asked])
    if setting == "shop":
        return (
            f"{_pick(_GREETINGS, rng)} what is {topics} of the {_pick(_PRODUCTS, rng)} ?",
            asked,
        )
    if setting == "film":
        lines = _listed([_pick(_LINES[question], rng) for question in asked])
        return f"A: {_pick(_PEOPLE, rng)} {_pick(_EVENTS, rng)} .\nB: {lines} ?", asked
    plan = f"Human: i want to {_pick(_PLANS, rng)}"
    if rng.random() < 0.5:
        return f"{plan} , what about {topics} ?", asked
    return f"{plan} .\nAssistant: {_pick(_PRAISES, rng)} .\nHuman: what about {topics} ?", asked


def _response(
    habit: _Habit, asked: Sequence[str], rng: np.random.Generator
) -> tuple[str, dict[str, float]]:
    """A response, and its quality as it is meant."""
    setting = _SETTINGS[habit.setting]
    answered = [question for question in asked if rng.random() < habit.answered]
    fillers = rng.choice(list(setting.fillers), _number(habit.fillers, rng), replace=False).tolist()
    topics = rng.permutation([*asked, *fillers]).tolist()
    clauses = [
        _clause(setting, topic, rng)
        if topic in answered or topic in fillers
        else _pick(_DODGES, rng).format(question=topic)
        for topic in topics
    ]
    words = " . ".join(clauses).split()
    places = [at for at, word in enumerate(words) if word != "."]
    hesitations = _number(habit.hesitations, rng)
    for at in sorted(rng.choice(places, hesitations, replace=False).tolist(), reverse=True):
        words.insert(at, _pick(_HESITATIONS, rng))
    quality = 5.0 - hesitations, 1 + 4 * len(answered) / len(asked), 5.0 - len(fillers)
    text = f"{_pick(_OPENERS, rng)}{' '.join(words)} ."
    return text, dict(zip(DIMENSIONS, quality, strict=True))


def _clause(setting: _Setting, topic: str, rng: np.random.Generator) -> str:
    if topic in setting.fillers:
        return setting.fillers[topic]
    value = _pick(setting.answers[topic].split(), rng)
    return _pick(setting.forms(topic), rng).format(question=topic, value=value)


# What a text says of its quality ------------------------------------------------------------------


_QUESTIONS = {question for setting in _SETTINGS.values() for question in setting.answers}
_FILLERS = {
    clause: topic for setting in _SETTINGS.values() for topic, clause in setting.fillers.items()
}
_DODGED = {form.format(question=word): word for word in _QUESTIONS for form in _DODGES}
_ANSWERS = {
    form.format(question=question, value=value): question
    for setting in _SETTINGS.values()
    for question, values in setting.answers.items()
    for form in setting.forms(question)
    for value in values.split()
}


class _Reading(NamedTuple):
    """What a text shows: the questions that were asked and answered, fillers, hesitations."""

    asked: list[str]
    answered: list[str]
    fillers: list[str]
    hesitations: list[str]


def truth(context: str, response: str) -> dict[str, float]:
    """The quality of a conversation on each dimension, from its text alone.

    Raises:
        UserError: this is no text of ours.
    """
    read = _read(context, response)
    quality = (
        5.0 - len(read.hesitations),
        1 + 4 * len(read.answered) / len(read.asked),
        5.0 - len(read.fillers),
    )
    return dict(zip(DIMENSIONS, quality, strict=True))


def _read(context: str, response: str) -> _Reading:
    read = _Reading(
        [word for word in context.rpartition("\n")[2].split() if word in _QUESTIONS], [], [], []
    )
    for opener in filter(None, _OPENERS):
        response = response.removeprefix(opener)
    for clause in response.removesuffix(" .").split(" . "):
        words = clause.split()
        read.hesitations.extend(word for word in words if word in _HESITATIONS)
        clean = " ".join(word for word in words if word not in _HESITATIONS)
        if clean in _FILLERS:
            read.fillers.append(_FILLERS[clean])
        elif clean in _ANSWERS:
            read.answered.append(_ANSWERS[clean])
        elif clean not in _DODGED:
            read.asked.clear()
    if not read.asked or not {*read.answered} <= {*read.asked}:
        raise UserError(
            "simulated judges rate generated conversations alone, found the response"
            f" {response[:60]!r}"
        )
    return read


# Simulated judges ---------------------------------------------------------------------------------

_NOUNS = dict(zip(DIMENSIONS, ("wording", "coverage", "focus"), strict=True))
_SO = ("so the {noun} is {level}", "which makes the {noun} {level}", "so i find the {noun} {level}")
_YET = ("but the {noun} is {level}", "yet the {noun} seems {level}", "still the {noun} is {level}")
_NONSENSE = "let us talk of something else ."


def opinion(
    context: str,
    response: str,
    dimension: str,
    low: int,
    high: int,
    judge: Mapping[str, float],
    draw: int,
) -> str:
    """What a simulated judge replies when it is asked for a JSON object of score and explanation.

    The score is the truth plus the judge's bias and noise, carried over from 1 to 5 to the scale
    and rounded. The explanation names evidence of the text and argues for that score in words. With
    probability `faults` the reply is nonsense, a score outside the scale, or empty, one as likely
    as the other. All depends on the arguments alone.

    Args:
        judge: `bias` and `noise`, a standard deviation, in points of 1 to 5, and `faults`.

    Raises:
        UserError: this is no text of ours.
    """
    own = json.dumps([context, response, dimension, dict(judge), draw], sort_keys=True)
    digest = hashlib.blake2b(own.encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "big"))
    known = truth(context, response)[dimension]
    noise = NormalDist().inv_cdf(1 - rng.random()) * judge["noise"] if judge["noise"] else 0.0
    step = (high - low) / 4
    score = int(low + (known + judge["bias"] + noise - 1) * step + 0.5)
    score = min(max(score, low), high)
    level = int((score - low) / step + 0.5)
    explanation = _explanation(_read(context, response), dimension, level, rng)
    if rng.random() < judge["faults"]:
        fault = int(rng.integers(3))
        if fault == 0:
            return _NONSENSE
        if fault == 1:
            return ""
        score = high + 1 + int(rng.integers(5))
    return json.dumps({"score": score, "explanation": explanation})


def _explanation(read: _Reading, dimension: str, level: int, rng: np.random.Generator) -> str:
    """Up to two pieces of evidence, and a verdict that follows from them or in spite of them."""
    evidence = _evidence(read, dimension)
    some = [evidence[at] for at in sorted(rng.permutation(len(evidence))[:2])]
    if not some:
        some = [
            {
                "naturalness": "the words flow without any hesitation",
                "comprehensiveness": f"the reply covers {_listed(read.asked)} as asked",
                "on_topic": f"every clause is about {_listed(read.asked)}",
            }[dimension]
        ]
    expected = (level >= 3) == (not evidence)
    verdict = _pick(_SO if expected else _YET, rng)
    verdict = verdict.format(noun=_NOUNS[dimension], level=LEVELS[level])
    return f"{' and '.join(some)} , {verdict} ."


def _evidence(read: _Reading, dimension: str) -> list[str]:
    """All that a text has against it on a dimension."""
    if dimension == "naturalness":
        return [f"the speaker says {word}" for word in read.hesitations]
    if dimension == "comprehensiveness":
        return [f"{word} is not answered" for word in read.asked if word not in read.answered]
    return [f"nobody asked about the {word}" for word in read.fillers]


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (" , ".join(parts[:-1]), parts[-1])))


def _number(probabilities: Sequence[float], rng: np.random.Generator) -> int:
    return int(rng.choice(len(probabilities), p=probabilities))


def _pick(options: Sequence[_Option], rng: np.random.Generator) -> _Option:
    return options[int(rng.integers(len(options)))]
