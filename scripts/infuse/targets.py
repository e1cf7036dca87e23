"""What arms write, and which of them play the parts of the paper's tables.

The plan reads this before anything runs, so nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Target = Literal["label", "reason_label", "label_reason", "head"]
REASONED = ("reason_label", "label_reason")  # targets of which a reasoning is part
ZERO_SHOT = "zero_shot"  # how the row of an untrained model is called where an arm's name stands


def roles(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, str | None]:
    """Which arm plays each part of table 3: the first of its form, or None."""

    def first(target: str, matched: bool = False) -> str | None:
        return next((name for name, arm in arms.items() if _is_plain(arm, target, matched)), None)

    return {
        "zero-shot": first(ZERO_SHOT),
        "Q->A": first("label"),
        "Q->A, equal steps": first("label", matched=True),
        "Q->RA": first("reason_label"),
    }


def _is_plain(arm: Mapping[str, Any], target: str, matched: bool) -> bool:
    """Whether an arm has that target and nothing of its own but, if so, another arm's steps."""
    match = arm.get("match") or {}
    own = [arm.get(part) for part in ("reasons", "perturb", "label_weight")]
    own += [not arm.get("system", True), match.get("supervised_tokens")]
    splits = bool(match.get("steps")) and match.get("by") != "repeating"
    return arm["target"] == target and not any(own) and (splits if matched else not match)
