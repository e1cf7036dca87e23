"""How a judge's reply is read: its score, its explanation, or what is wrong with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

OUTCOMES = ("rated", "no_score", "out_of_range", "truncated", "empty")


class Judgment(NamedTuple):
    """A reply, taken apart.

    Attributes:
        score: on the style's own scale; None unless the outcome is rated.
        outcome: of `OUTCOMES`.
    """

    score: float | None
    explanation: str
    outcome: str


_DIGITS = r"(-?\d+(?:\.\d+)?)"
_OF = r"\s*(?:/|out\s+of)\s*(\d+)"
_NO_RANGE = r"(?![.,]?\d|\s*(?:[-\u2013]|to)\s*\d)"  # 1-5, 1 to 5 and 4,5 are no scores
_NAMED = re.compile(  # score: 4, **Score** (1-5): 4/5, a score of 4, score for naturalness is 4
    r"\b(?:score|rating)\b(?:\s+for\s+[^\W\d][\w -]{0,40}?)?(?:\s*[(\[][^()\[\]]*[)\]])?"
    rf"[\s*_\"'`:=]*+(?:(?:is|of|was)\b|[-\u2013\u2014](?=\s))?[\s*_\"'`:]*+{_DIGITS}(?:{_OF})?{_NO_RANGE}",
    re.IGNORECASE,
)
_RATIO = re.compile(rf"(?<![\w.,/-]){_DIGITS}{_OF}{_NO_RANGE}(?!\s*/)", re.IGNORECASE)
_ALONE = re.compile(rf"\A\W*?{_DIGITS}()\W*?$", re.MULTILINE)  # in the first line
_VALUE = re.compile(rf"\s*{_DIGITS}(?:{_OF})?\s*", re.IGNORECASE)
_MARKED = re.compile(
    r"\b(?:explanation|reason(?:ing|s)?|rationale|justification)\b[\s*_\"'`]*:[\s*_\"'`]*",
    re.IGNORECASE,
)
_BEFORE_WORDS = " \t\r\n*_`\"'{.,:;)]-\u2013\u2014"  # what a score leaves behind
_END_OF_OBJECT = re.compile(r"[\"']?\s*\}[\s`]*\Z")  # of one that is no JSON


def read(text: str, finish: str, low: int, high: int) -> Judgment:
    """Take a judge's reply apart.

    The score is that of a JSON object anywhere in it; where there is none, what is written like
    "Score: 4", "4/5", "4 out of 5", or stands alone in the first line. Several different scores are
    none; a fraction is taken as it is.

    Args:
        finish: "length" where the reply was cut: its explanation is not whole, nor, maybe, its
            number.
    """
    if finish == "length":
        return Judgment(None, "", "truncated")
    if not text.strip():
        return Judgment(None, "", "empty")
    claims = list(_claims_of_objects(text)) or _claims_of_prose(text, high)
    # "Score: 4" and "4/5" are one score: a scale that is not told is the one that was asked for.
    scores = {(score, top or high) for score, top, _ in claims}
    score, top = scores.pop() if len(scores) == 1 else (None, None)
    if score is None:
        return Judgment(None, "", "no_score")
    if top != high or not low <= score <= high:
        return Judgment(None, "", "out_of_range")
    explanations = (explanation for *_, explanation in claims if explanation)
    return Judgment(score, next(explanations, ""), "rated")


_Claim = tuple[float | None, float | None, str]  # a score, the top of its scale, the explanation

# Objects as tuples of pairs, since a key may come twice; numbers as float, so that none is too
# long for Python; line breaks in strings, as many models write them.
_DECODER = json.JSONDecoder(
    object_pairs_hook=tuple, parse_int=float, parse_constant=lambda _: None, strict=False
)


def _claims_of_objects(text: str) -> Iterator[_Claim]:
    """One for each score in the JSON objects of a text, inner ones included."""
    place = text.find("{")
    while place >= 0:
        try:
            pairs, end = _DECODER.raw_decode(text, place)
        except RecursionError:  # a model that opens objects without end
            return
        except ValueError:
            pairs, end = (), place + 1
        scores = [value for key, value in pairs if key.strip().casefold() == "score"]
        explanations = [value for key, value in pairs if key.strip().casefold() == "explanation"]
        explanation = explanations[0] if explanations and isinstance(explanations[0], str) else ""
        for value in scores:
            yield (*_number(value), _clean(explanation))
        place = text.find("{", end if scores else place + 1)


def _number(value: Any) -> tuple[float | None, float | None]:
    """A score and the top of its scale, from a number or a text; None where they are not told."""
    if isinstance(value, float):
        return value, None
    match = _VALUE.fullmatch(value) if isinstance(value, str) else None
    return _matched(match) if match else (None, None)


def _matched(match: re.Match[str]) -> tuple[float, float | None]:
    score, top = match.groups()
    return float(score), float(top) if top else None


def _claims_of_prose(text: str, high: int) -> list[_Claim]:
    """One for each score that a text names; a fraction (2/3 of it) is none beside a score."""
    ratios = list(_RATIO.finditer(text))
    matches = [*_NAMED.finditer(text), *(ratio for ratio in ratios if float(ratio[2]) == high)]
    matches = matches or ratios or list(_ALONE.finditer(text))
    if not matches:
        return []
    first = min(matches, key=re.Match.start)
    before, after = text[: first.start()], text[first.end() :]
    if re.search(r"\w", before.rpartition("\n")[2]):  # within a sentence, which stays whole
        before, after = text, ""
    rest = before + after
    marked = _MARKED.search(rest)
    words = rest[marked.end() :] if marked else rest.lstrip(_BEFORE_WORDS)
    explanation = _clean(_END_OF_OBJECT.sub("", words))
    return [(*_matched(match), explanation) for match in matches]


def _clean(text: str) -> str:
    """Without outer space, and without halves of characters, which no file can hold."""
    return text.strip().encode("utf-8", "replace").decode()
