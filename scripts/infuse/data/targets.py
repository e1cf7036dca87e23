"""What arms write.

The plan reads this before anything runs, so nothing heavy is imported here.
"""

from __future__ import annotations

from typing import Literal

Target = Literal["label", "reason_label", "label_reason", "multi_task", "head"]
REASONED = ("reason_label", "label_reason", "multi_task")  # learned from reasonings
EXPLAINED = ("reason_label", "label_reason")  # of those, the ones whose answers hold a reasoning
# How the row of an untrained model is called where an arm's name stands.
ZERO_SHOT: Literal["zero_shot"] = "zero_shot"
