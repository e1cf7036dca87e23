"""From texts to token documents: prompts, targets, and which tokens bear loss.

A document is prompt + target; loss falls on the target alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from infuse.core.errors import UserError
from infuse.data.encoder import Encoder, Ids
from infuse.data.prompts import reasoner_prompt
from infuse.data.targets import Target


@dataclass(frozen=True)
class Documents:
    """Token documents laid end to end.

    Attributes:
        tokens: int32 [sum of lengths].
        offsets: int64 [documents + 1], where each document starts and ends in `tokens`.
        starts: int32 [documents], the place in the document of its first target token (>= 1).
        label_tokens: int32 [documents], how many of the target's tokens are the label's.
        label_starts: int32 [documents], the place in the document of the first of them.
        rows: int64 [documents], the row of the source that each came from.
    """

    tokens: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int32]
    label_tokens: npt.NDArray[np.int32]
    label_starts: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> npt.NDArray[np.int32]:
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each document."""
        return np.diff(self.offsets)

    @cached_property
    def supervised(self) -> npt.NDArray[np.int64]:
        """Target tokens of each document."""
        return self.lengths - self.starts

    def is_label(self, index: int) -> npt.NDArray[np.bool_]:
        """Bool [target tokens] of a document: whether they are the label's."""
        places = np.arange(self.starts[index], self.lengths[index])
        first = self.label_starts[index]
        return (places >= first) & (places < first + self.label_tokens[index])

    def with_loss_on_prompts(self, supervised: npt.NDArray[np.int64]) -> Documents:
        """The same documents with so many target tokens each: the target, and before it the end of
        the prompt. A document keeps those it has, and its first token never bears loss.
        """
        starts = np.clip(self.lengths - supervised, 1, self.starts)
        return replace(self, starts=starts.astype(np.int32))


@dataclass(frozen=True)
class Piece:
    """One document before it is laid down: token ids of prompt and target, and its source row.

    The label has `label_tokens` of the target's tokens, from its place `label_start` on.
    """

    row: int
    prompt: Ids
    target: Ids
    label_tokens: int = 0
    label_start: int = 0

    def unfit(self, max_length: int) -> str | None:
        """Why nothing can be learned from it, if so."""
        if not self.target:
            return "no target tokens"
        if len(self.prompt) + len(self.target) > max_length:
            return f"longer than {max_length} tokens"
        return None


def collect(pieces: Iterable[Piece], max_length: int) -> tuple[Documents, dict[str, Any]]:
    """Lay pieces end to end; leave out those that are too long or have nothing to learn.

    Returns:
        the documents, and what was dropped: reason -> {rows: count, first: up to five row numbers}.

    Raises:
        UserError: nothing is left.
    """
    kept: list[Piece] = []
    dropped: dict[str, dict[int, None]] = {}  # rows, each once
    for piece in pieces:
        why = piece.unfit(max_length)
        if why is None:
            kept.append(piece)
        else:
            dropped.setdefault(why, {})[piece.row] = None
    report = {why: {"rows": len(rows), "first": [*rows][:5]} for why, rows in dropped.items()}
    if not kept:
        raise UserError(f"no document is left to train on, all were dropped: {report}")
    lengths = [len(piece.prompt) + len(piece.target) for piece in kept]
    offsets = np.zeros(len(kept) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    tokens = np.empty(offsets[-1], np.int32)
    for piece, start, end in zip(kept, offsets[:-1], offsets[1:], strict=True):
        tokens[start:end] = piece.prompt + piece.target
    return (
        Documents(
            tokens,
            offsets,
            np.array([len(piece.prompt) for piece in kept], np.int32),
            np.array([piece.label_tokens for piece in kept], np.int32),
            np.array([len(piece.prompt) + piece.label_start for piece in kept], np.int32),
            np.array([piece.row for piece in kept], np.int64),
        ),
        report,
    )


def reasoner_pieces(
    encoder: Encoder,
    questions: Sequence[str],
    answers: Sequence[str],
    reasonings: Sequence[str],
    first: int = 0,
) -> list[Piece]:
    """Documents of stage 1: begin, prompt | reasoning, end of text; of the rows from `first` on."""
    prompts = encoder.plain(
        [reasoner_prompt(q, a) for q, a in zip(questions, answers, strict=True)]
    )
    return [
        Piece(row, encoder.begin + prompt, [*reasoning, encoder.end_of_text] if reasoning else [])
        for row, (prompt, reasoning) in enumerate(
            zip(prompts, encoder.plain(reasonings), strict=True), first
        )
    ]


def text_pieces(encoder: Encoder, texts: Sequence[str], max_length: int) -> list[Piece]:
    """Documents of pre-training: begin | text, end of text; a long text is cut into several."""
    room = max_length - 1
    return [
        Piece(row, encoder.begin, ids[start : start + room])
        for row, text in enumerate(encoder.plain(texts))
        for ids in [[*text, encoder.end_of_text]]
        for start in range(0, len(ids), room)
    ]


def classifier_pieces(
    encoder: Encoder,
    texts: Sequence[str],
    labels: Sequence[str],
    reasonings: Sequence[str] | int | None,
    target: Target,
    separator: str | None,
) -> list[Piece]:
    """Documents of stage 2: chat | target, end of turn.

    The target is the label; reasoning, separator, label; or label, separator, reasoning. Its parts
    are tokenized apart, so that scoring a label after a reasoning meets the tokens of training.
    `multi_task` has two documents for a text: the label; and, where the separator follows the text,
    the reasoning (Hsieh et al., Distilling step-by-step, Findings of ACL 2023).

    Args:
        reasonings: one for each text; or how many tokens each has, where they are not known yet.
    """
    chats, names = encoder.chats(texts), encoder.plain(labels)
    ends = [encoder.end_of_turn]
    if target == "label":
        return [
            Piece(row, chat, name + ends, len(name))
            for row, (chat, name) in enumerate(zip(chats, names, strict=True))
        ]
    if reasonings is None or separator is None:
        raise ValueError(f"target {target} needs reasonings and a separator")
    reasons = (
        [[0] * reasonings] * len(texts)
        if isinstance(reasonings, int)
        else encoder.plain([text.strip() for text in reasonings])
    )
    if target == "multi_task":
        why = encoder.chats([text.rstrip() + separator for text in texts])
        return [
            piece
            for row, (chat, name, other, reason) in enumerate(
                zip(chats, names, why, reasons, strict=True)
            )
            for piece in (
                Piece(row, chat, name + ends if reason else [], len(name)),
                Piece(row, other, reason + ends if reason else []),
            )
        ]
    between = encoder.plain([separator])[0]
    pieces = []
    for row, (chat, name, reason) in enumerate(zip(chats, names, reasons, strict=True)):
        first = target == "label_reason"
        parts = name + between + reason if first else reason + between + name
        start = 0 if first else len(reason + between)
        pieces.append(Piece(row, chat, parts + ends if reason else [], len(name), start))
    return pieces


def head_pieces(encoder: Encoder, texts: Sequence[str], places: Sequence[int]) -> list[Piece]:
    """Documents for a linear head: chat | the label's place among the labels.

    The place stands where a target token would. No state depends on it, since it comes last.
    """
    chats = encoder.chats(texts)
    return [
        Piece(row, chat, [place], 1)
        for row, (chat, place) in enumerate(zip(chats, places, strict=True))
    ]
