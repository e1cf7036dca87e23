"""The four styles in which a judge is asked, from arXiv 2511.02044."""

from __future__ import annotations

from typing import Literal, NamedTuple

StyleName = Literal["one_to_four", "one_to_four_examples", "one_to_five", "one_to_five_examples"]


class Style(NamedTuple):
    """The scale of a question, and whether it shows examples."""

    low: int
    high: int
    examples: bool


STYLES: dict[StyleName, Style] = {
    "one_to_four": Style(1, 4, False),
    "one_to_four_examples": Style(1, 4, True),
    "one_to_five": Style(1, 5, False),
    "one_to_five_examples": Style(1, 5, True),
}
