"""Scales of ratings: what lies on them, and which label a rating has."""

from __future__ import annotations

import math
from typing import NamedTuple


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
        return str(min(max(math.floor(rating + 0.5), self.low), self.high))

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"
