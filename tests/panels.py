"""Conversations and the params of judges, for the tests of stages that read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infuse.core.files import write_rows
from infuse.core.schemas import CONVERSATIONS

EXAMPLES = [
    {"context": "hi", "response": "hi {there}", "score": 5, "explanation": "It greets back."},
    {"context": "hi", "response": "42", "score": 1, "explanation": "Not what was asked."},
]
SAMPLING: dict[str, Any] = {"max_new_tokens": 8, "temperature": 0.0, "seed": 1}
SIMULATED = {"kind": "simulated", "bias": 0.0, "noise": 0.0, "faults": 0.0}
DIMENSIONS = {
    "naturalness": {"definition": "How it reads.", "examples": EXAMPLES},
    "on_topic": {"definition": "Whether it stays on what was asked.", "examples": EXAMPLES},
}


def conversations(folder: Path, train: int = 3) -> Path:
    """Conversations of two sources; the response names the id and, by chance, a format string."""
    folder.mkdir()
    place = 7
    for split, rows in (("train", train), ("validation", 1), ("test", 2)):
        lines = [
            {
                "id": place + at, "source": "ab"[at % 2], "cluster": f"{split} {at // 2}",
                "context": f"What is {at}?", "response": f"{{score}} is #{place + at}.",
            }
            for at in range(rows)
        ]  # fmt: skip
        place += rows
        write_rows(folder / f"{split}.parquet", lines, CONVERSATIONS)
    return folder


def asking(judge: dict[str, Any], styles: list[str], **change: Any) -> dict[str, Any]:
    """The params of the stage `judgments`."""
    return {
        "judge": judge, "styles": styles, "dimensions": DIMENSIONS, **SAMPLING
    } | change  # fmt: skip


def simulated(styles: list[str]) -> dict[str, Any]:
    """The same of a simulated judge."""
    return {
        "judge": SIMULATED, "styles": styles, "dimensions": {name: {} for name in DIMENSIONS},
        "seed": 1,
    }  # fmt: skip


def verdict(score: float, explanation: str = "So it is.") -> str:
    """A reply in the form that is asked for."""
    return json.dumps({"score": score, "explanation": explanation})
