"""Scales of ratings: what lies on them, and which label a rating has."""

from __future__ import annotations

import math
from typing import NamedTuple


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

    def holds(self, rating: float) -> bool:
        """Whether a rating lies on the scale."""
        return self.low <= rating <= self.high

    def label(self, rating: float) -> str:
        """The nearest whole number, half up, at the scale's ends at most."""
        return str(rounded(rating, self.low, self.high))

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"
