"""Names in figures: a font of this machine that has their letters, else a number in their place."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence

from matplotlib import font_manager, rcParams

OWN = "DejaVu Sans"  # comes with matplotlib
NAMED = 8  # of names, in a message
rcParams["font.family"] = [OWN]
log = logging.getLogger("infuse")


def drawable(names: Sequence[str], legend: str) -> tuple[list[str], str]:
    """The names as a figure can show them, and what to say there of numbers among them.

    Fonts that have letters which matplotlib's own font lacks are put behind it. A name with a
    letter that no font has becomes its number, from 1, and the log says so once.

    Args:
        legend: where readers find the names in this order.

    Returns:
        the names; and " (numbers: places in LEGEND)", "" where there are none.
    """
    shown = list(_shown(tuple(names)))
    return shown, f" (numbers: places in {legend})" if shown != list(names) else ""


@functools.cache
def _shown(names: tuple[str, ...]) -> tuple[str, ...]:
    missing = set("".join(names)) - _letters(OWN) - set("\t\n")
    for family in _others() if missing else ():
        drawn = missing & _letters(family)
        if drawn:
            rcParams["font.family"] = [*rcParams["font.family"], family]
            missing -= drawn
        if not missing:
            return names
    numbers = {name: str(place) for place, name in enumerate(names, 1) if missing & set(name)}
    if numbers:
        numbered = [f"{number} {name}" for name, number in numbers.items()]
        more = f", and {len(numbered) - NAMED} more" if len(numbered) > NAMED else ""
        log.warning(
            "no font here has all letters of some names; figures show their numbers: %s%s",
            ", ".join(numbered[:NAMED]), more,
        )  # fmt: skip
    return tuple(numbers.get(name, name) for name in names)


def _others() -> Iterator[str]:
    """Other families of fonts, upright and sans serif first."""
    entries = font_manager.fontManager.ttflist
    order = sorted(
        entries, key=lambda font: (font.style != "normal", "Sans" not in font.name, font.name)
    )
    # The font of last resort has a box for every letter.
    return (
        name for name in dict.fromkeys(font.name for font in order) if "Last Resort" not in name
    )


@functools.cache
def _letters(family: str) -> frozenset[str]:
    font = font_manager.get_font(font_manager.findfont(family))
    return frozenset(map(chr, font.get_charmap()))
