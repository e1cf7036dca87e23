"""Where labels stand in an answer, and whether a prompt leaves place for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from infuse.data.encoder import Encoder, Ids
from infuse.data.targets import Target


@dataclass(frozen=True)
class Slots:
    """What stands around the labels of an answer, and how much room is left.

    Attributes:
        labels, target, separator: of the classifier's form.
        positions: most tokens of a prompt and an answer together.
    """

    encoder: Encoder
    labels: Sequence[str]
    target: Target
    separator: str | None
    positions: int

    @cached_property
    def between(self) -> Ids:
        """The separator."""
        return self.encoder.plain([self.separator])[0] if self.separator else []

    @cached_property
    def endings(self) -> list[Ids]:
        """Each label with what follows it."""
        # A label that is followed by a reasoning does not end the turn but opens the separator.
        follows = self.target == "label_reason"
        after = self.between if follows else [self.encoder.end_of_turn]
        return [ids + after for ids in self.encoder.plain(self.labels)]

    def room(self, prompt: Ids) -> int:
        """The positions that a prompt and the longest label leave; below 0 where they don't fit."""
        if self.target == "head":
            return self.positions - len(prompt)
        between = len(self.between) if self.target == "reason_label" else 0
        return self.positions - len(prompt) - between - max(map(len, self.endings))
