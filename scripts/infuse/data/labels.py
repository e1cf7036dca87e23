"""The one rule by which a cell becomes a label's name, and names that the eye can't tell apart."""

from __future__ import annotations

import decimal
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from infuse.core.errors import cut, few, quoted
from infuse.data.scales import Scale
from infuse.data.texts import INVISIBLE, UNSPACED, folded

_WHOLE = re.compile(r"(-?\d+)\.0+")  # what a data frame makes of whole numbers beside an empty cell
# What may part the words of a name: white space, underscores, hyphens and dashes, Markdown's marks,
# quotation marks, brackets.
_PARTING = r"\s_\u2010-\u2013*`'\"\u2018-\u201f()\[\]-"
_BETWEEN = re.compile(rf"(?<=[^{_PARTING}])[{_PARTING}]+(?=[^{_PARTING}])")
_EXACT = 2**53  # from there on, a float may stand for several whole numbers
# Letters of other scripts that have the form of a Latin one, in capitals or not (among Unicode's
# confusables, UTS 39).
_LOOKS = str.maketrans(
    "авеѕіјкмнорстхуһԁӏαβεζηικμνορτυχ",
    "abesijkmhopctxyhdlabezhikmnoptyx",
)


def written(value: Any) -> str | None:
    """The name that a cell gives a label, or None where it gives none.

    A whole number is its digits, whatever its type in the file; a name loses what stands around it
    and does not show.
    """
    if isinstance(value, str):
        name = _trimmed(value)
        whole = _WHOLE.fullmatch(name)
        return (whole[1] if whole else name) or None
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value) or (abs(value) >= _EXACT):
            return None
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, decimal.Decimal) and value.is_finite():
        return str(int(value)) if value == value.to_integral_value() else f"{value.normalize():f}"
    return None


def _trimmed(name: str) -> str:
    start, end = 0, len(name)
    while start < end and (name[start].isspace() or INVISIBLE.match(name[start])):
        start += 1
    while start < end and (name[end - 1].isspace() or _hidden_at_the_end(name[end - 1])):
        end -= 1
    return name[start:end]


def _hidden_at_the_end(mark: str) -> bool:
    """A selector of a glyph's form shows: it belongs to what stands before it."""
    return bool(INVISIBLE.match(mark)) and not "\ufe00" <= mark <= "\ufe0f"


def look(name: str) -> str:
    """What is equal of names that a person may take for each other.

    They differ in what `folded` leaves out, in compatibility forms (Unicode's form NFKC: fullwidth
    letters, ligatures), or in letters of other scripts with the same form.
    """
    return folded(unicodedata.normalize("NFKC", folded(name))).translate(_LOOKS)


def alike(names: Iterable[str]) -> list[str]:
    """Those names that look like another of them, side by side."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(look(name), []).append(name)
    return [name for group in groups.values() if len(group) > 1 for name in group]


def resembling(name: str, names: Iterable[str]) -> str:
    """Which other name looks like this one, with the code points of both, as a message's end."""
    near = next((other for other in names if other != name and look(other) == look(name)), None)
    return "" if near is None else f" ({cut(ascii(name))} looks like {cut(ascii(near))})"


def naming(labels: Iterable[str], longer: bool = True) -> str:
    """A pattern, of one group, of labels' names in a text, to be matched whatever the case.

    What parts a name's words may be written in other ways: very low, very_low, **very** low. Marks
    of Markdown may stand around it, as in _joy_.

    Args:
        longer: takes in the letters that follow a name, as in joyful. A name of up to two letters,
            as no or B, begins too many other words to be followed by any. Beside letters of scripts
            without spaces between words, a name is found inside a sentence.
    """
    apart = UNSPACED if longer else ""
    names = []
    for label in sorted(labels, key=len, reverse=True):
        # Marks at its ends part no words, and are the name's own: -1, A-.
        words = map(re.escape, _BETWEEN.split(label))
        rest = rf"[^\W\d_{apart}]*" * (longer and len(label) > 2)
        name = rf"[{_PARTING}]+".join(words) + rest
        # 2 is not in 2.7, -2, 2/5 and 2-3.
        names.append(rf"(?<!\d[.,/])(?<![.-]){name}(?![.,/-]\d)" if label.isdecimal() else name)
    letter = rf"[^\W_{apart}]"
    # not_joy is no joy, but _joy_ is.
    before = rf"(?<!{letter})(?<!{letter}_)(?<!{letter}__)"
    return rf"{before}({'|'.join(names)})(?!_*{letter})"


def unparted(name: str) -> str:
    """What is equal of names that `folded` makes equal but for what parts their words."""
    return _BETWEEN.sub(" ", folded(name))


class NoLabel(ValueError):
    """A cell that gives no label, with the words that end a message."""


class LabelRule(NamedTuple):
    """How the cells of a label column become names, in whichever file they stand.

    Attributes:
        names: the names that the config or the source gives, in order; None: those found.
        places: whole numbers stand for places among the names, never for names that are numbers.
        scale: labels are ratings on it.
    """

    names: list[str] | None = None
    places: bool = False
    scale: Scale | None = None

    @classmethod
    def of(cls, declared: list[str] | None, own: list[str] | None) -> LabelRule:
        """The rule for names that the config declares, or else the source has."""
        names = declared or own
        if names is None:
            return cls()
        return cls(names, bool(own) or not any(name.isdecimal() for name in names))

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return self._asdict() | {"scale": self.scale and self.scale._asdict()}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> LabelRule:
        """The rule that another stage has written."""
        return cls(tree["names"], tree["places"], tree["scale"] and Scale(**tree["scale"]))

    def name(self, value: Any) -> str:
        """The label's name of a cell.

        Raises:
            NoLabel: it has none.
        """
        if self.scale is not None:
            rating = self.scale.rating(value)
            if rating is None:
                raise NoLabel(
                    f"expected a rating of {self.scale} (task.scale), found {quoted(value)}"
                )
            return self.scale.label(rating)
        name = written(value)
        if name is None:
            raise NoLabel(f"expected a label, found {quoted(value)}{_why(value)}")
        if self.names is None:
            if name.splitlines() != [name]:
                raise NoLabel(f"expected one line as label, found {quoted(value)}")
            return name
        number = name.isascii() and name.isdecimal() and not isinstance(value, bool)
        if self.places and number and (not isinstance(value, str) or name not in self.names):
            if int(name) < len(self.names):
                return self.names[int(name)]
        elif name in self.names:
            return name
        hint = _UNLABELLED if name == "-1" else resembling(name, self.names)
        raise NoLabel(f"unknown label {quoted(value)}, expected one of {few(self.names)}{hint}")


_UNLABELLED = " (-1 often marks rows whose label is not published)"


def _why(value: Any) -> str:
    if isinstance(value, float) and abs(value) >= _EXACT and math.isfinite(value):
        return " (a number that a float does not hold to the last digit)"
    return ""


def class_names(names: Any) -> list[str] | None:
    """The names of a label column's classes, if it has such."""
    if not isinstance(names, list) or not names:
        return None
    return [written(name) or str(name) for name in names]
