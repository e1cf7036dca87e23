"""Texts whose label follows in two steps: from words to their colours, from colours to the label.

A text is two words that mean nothing, each of one of four colours that the text does not tell. The
label of a riddle is the direction at which the two colours point together, so that neither word
alone says anything of it. An honest reasoning tells the colours. Where the first word's colour
decides alone, the label can be learned at a glance, and a reasoning of random colours must not
help. So riddles are controls of the comparison itself, with a known gain and with none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

COLOURS = ("red", "blue", "green", "gold")
LABELS = ("north", "east", "south", "west")
WORDS = tuple(f"{a}{b}{c}" for a in "bdfklmnprstv" for b in "aeiou" for c in "lmnrst")


class Riddle(NamedTuple):
    """A text, its label, and what stands for the reason."""

    text: str
    label: str
    reasoning: str


def riddles(
    rows: int, words: int, both: bool, honest: bool, noise: float, seed: int
) -> list[Riddle]:
    """TwoHop over the same words whatever the number of rows.

    Args:
        words: that may stand in each of the two places; a multiple of the number of colours.
        both: the two colours decide together, else the first alone.
        honest: reasonings tell the words' colours, else colours drawn at random.
        noise: the share of labels that are drawn from the other three; the best attainable accuracy
            is 1 less that.
    """
    draw = np.random.default_rng(seed)
    known = draw.choice(np.array(WORDS), (2, words), replace=False)
    colours = draw.permuted(np.tile(np.arange(len(COLOURS)), (2, words // len(COLOURS))), axis=1)
    drawn = []
    for _ in range(rows):
        at = draw.integers(words, size=2)
        own = colours[[0, 1], at]
        direction = int(own.sum() if both else own[0]) % len(LABELS)
        if draw.random() < noise:
            direction = (direction + int(draw.integers(1, len(LABELS)))) % len(LABELS)
        named = own if honest else draw.integers(len(COLOURS), size=2)
        drawn.append(
            Riddle(
                " ".join(known[[0, 1], at]),
                LABELS[direction],
                " ".join(COLOURS[colour] for colour in named),
            )
        )
    return drawn
