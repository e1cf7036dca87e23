"""What a model is asked for the reasoning of a text and its label."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from infuse.data.encoder import Encoder, Ids


def reasoner_prompt(question: str, answer: str) -> str:
    """The plain-text prompt of stage 1 (arXiv 2507.00214, section 3)."""
    return f"Question: {question} Answer: {answer} Reasoning: "


def asked(prompt: str, text: str, label: str) -> str:
    """A message that asks why a text has its label, from a prompt with {text} and {label}."""
    known = {"{text}": text, "{label}": label}
    # One pass, so that a text which holds "{label}" stays as it is.
    return re.sub(r"{text}|{label}", lambda place: known[place[0]], prompt)


def reasoning_prompts(
    encoder: Encoder, prompt: str | None, rows: Sequence[Mapping[str, Any]]
) -> list[Ids]:
    """What a model is asked for the reasoning of each text and label.

    Args:
        prompt: a message with {text} and {label}; None: the plain prompt of stage 1.
    """
    if prompt is not None:
        return encoder.chats([asked(prompt, row["text"], row["label"]) for row in rows])
    questions = [reasoner_prompt(row["text"], row["label"]) for row in rows]
    return [encoder.begin + ids for ids in encoder.plain(questions)]
