"""Chats as lists of turns, each with a role and a content."""

from __future__ import annotations

import itertools
import re
from typing import Any

from infuse.core.errors import UserError, few, quoted

_THOUGHT = re.compile(r"\s*<think>(?P<reasoning>.*?)</think>(?P<answer>.*)", re.DOTALL)
NO_LIST, NO_PAIR, NO_TEXT, NO_THOUGHT = (
    "no list of turns", "no turn of the user and then the assistant", "no text",
    "no closed think tag",
)  # fmt: skip


def turns_of(messages: Any, where: str) -> list[dict[str, Any]] | None:
    """The turns of a chat, or None where it is no list of mappings.

    Raises:
        UserError: a turn has neither role nor content, but other keys; `where` names the row.
    """
    if not isinstance(messages, list) or not all(isinstance(turn, dict) for turn in messages):
        return None
    for turn in messages:
        if turn and "role" not in turn and "content" not in turn:
            raise UserError(
                f"{where}: expected turns with role and content, found {few(map(quoted, turn))}"
            )
    return messages


def triple(messages: Any, where: str) -> tuple[str, str, str] | str:
    """(question, answer, reasoning) of a chat, or what it lacks.

    The question is the first user turn; reasoning and answer are the inside and the rest of the
    assistant's turn that follows it.

    Raises:
        UserError: as `turns_of`.
    """
    turns = turns_of(messages, where)
    if turns is None:
        return NO_LIST
    for turn, reply in itertools.pairwise(turns):
        if turn.get("role") == "user" and reply.get("role") == "assistant":
            question, said = turn.get("content"), reply.get("content")
            if not isinstance(question, str) or not isinstance(said, str):
                return NO_TEXT
            parts = _THOUGHT.fullmatch(said)
            if parts is None:
                return NO_THOUGHT
            return question, parts["answer"].strip(), parts["reasoning"].strip()
    return NO_PAIR
