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

    def first(target: str, steps_of: str | None = None) -> str | None:
        return next((name for name, arm in arms.items() if _is_plain(arm, target, steps_of)), None)

    reasoning = first("reason_label")
    return {
        "zero-shot": first(ZERO_SHOT),
        "Q->A": first("label"),
        "Q->A, equal steps": first("label", steps_of=reasoning) if reasoning else None,
        "Q->RA": reasoning,
    }


def plain_label(arms: Mapping[str, Mapping[str, Any]], name: str) -> str | None:
    """The label-only arm that an arm is held against: the first with the same system message, or
    else the first at all; None for itself, and where there is none.
    """
    alone = [other for other, arm in arms.items() if arm["target"] == "label"]
    system = arms[name].get("system", True)
    alike = [other for other in alone if arms[other].get("system", True) == system]
    found = next(iter(alike or alone), None)
    return found if found != name else None


def _is_plain(arm: Mapping[str, Any], target: str, steps_of: str | None) -> bool:
    """Whether an arm has that target and nothing of its own but, if so, another arm's steps."""
    match = arm.get("match") or {}
    own = [arm.get(part) for part in ("reasons", "perturb", "label_weight")]
    own += [not arm.get("system", True), match.get("supervised_tokens")]
    own += [match.get("by") == "repeating", match.get("steps") != steps_of]
    return arm["target"] == target and not any(own)
