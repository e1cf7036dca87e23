"""Scales of ratings: what lies on them, and which label a rating has."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

ALL = "all"  # in tables of ratings: all sources, or all dimensions, together


def rounded(rating: float, low: int, high: int) -> int:
    """The nearest whole number from low to high; halves go up.

    Thirds are not exact in binary: what is a half but for the last digits counts as one.
    """
    return min(max(math.floor(round(rating, 9) + 0.5), low), high)


class Scale(NamedTuple):
    """Ratings from `low` to `high`, ends included; labels are the whole numbers."""

    low: int
    high: int

    @property
    def labels(self) -> list[str]:
        """All labels in their order."""
        return [str(number) for number in range(self.low, self.high + 1)]

    def rating(self, value: Any) -> float | None:
        """The rating that a cell holds, or None where it holds none of the scale."""
        if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
            return None  # Python takes them for numbers, nobody else does
        try:
            rating = float(value)
        except (TypeError, ValueError, OverflowError):
            return None
        return rating if self.low <= rating <= self.high else None

    def label(self, rating: float) -> str:
        """The nearest whole number, half up, at the scale's ends at most."""
        return str(rounded(rating, self.low, self.high))

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"
