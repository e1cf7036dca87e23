"""What models learn from, read from the files of other stages, as documents."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from infuse.config.model_params import TargetForm
from infuse.core.errors import UserError
from infuse.core.files import read_labels, read_table
from infuse.core.schemas import DOCUMENTS, ID, TEXT_LABEL, TEXT_REASONING_LABEL
from infuse.data.encoder import Encoder
from infuse.data.examples import Documents, Piece, classifier_pieces, collect, head_pieces
from infuse.data.targets import REASONED, Target
from infuse.models.hf import PreTrainedTokenizerFast as Tokenizer

Dropped = dict[str, Any]
log = logging.getLogger("infuse")


def open_documents(folder: Path, split: str) -> Documents:
    """What the stage `tokens` made of a split; tokens stay on disk until a step reads them.

    Raises:
        UserError: a file is missing, or the two do not fit each other.
    """
    table = read_table(folder / f"{split}.parquet", DOCUMENTS)
    rows, lengths, starts = (table[name].to_numpy() for name in DOCUMENTS.names)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    file = folder / f"{split}.tokens"
    size = file.stat().st_size if file.is_file() else 0
    if size != 4 * offsets[-1]:
        raise UserError(f"{file}: expected {4 * offsets[-1]} bytes, found {size}")
    tokens = np.asarray(np.memmap(file, "<i4", mode="r"))
    return Documents(tokens, offsets, starts, np.zeros_like(starts), starts, rows)


@dataclass(frozen=True)
class TrainingSets:
    """The training sets of a classifier, by their role among its inputs, as documents.

    Attributes:
        inputs: role -> folder: the task, and the training sets.
        max_length: of a document, in tokens.
    """

    inputs: Mapping[str, Path]
    tokenizer: Tokenizer
    max_length: int

    def read(self, role: str, form: TargetForm, split: str = "train") -> tuple[Documents, Dropped]:
        """Documents of a split, in a form: target, separator, chat; and what was dropped."""
        return collect(self._pieces(role, form, split), self.max_length)

    def _pieces(self, role: str, form: TargetForm, split: str) -> list[Piece]:
        target = form.target
        columns = self._columns(role, target, split)
        encoder = Encoder(self.tokenizer, **form.chat.model_dump())
        if target == "head":
            names = read_labels(self.inputs["task"])
            places = [names.index(name) for name in columns["label"]]
            return head_pieces(encoder, columns["text"], places)
        return classifier_pieces(
            encoder, columns["text"], columns["label"], columns.get("reasoning"), target,
            form.separator,
        )  # fmt: skip

    def _columns(self, role: str, target: Target, split: str) -> dict[str, Any]:
        """Text, label and, where the target needs one, reasoning of each row."""
        schema = TEXT_REASONING_LABEL if target in REASONED else TEXT_LABEL
        columns: dict[str, Any] = read_table(
            self.inputs[role] / f"{split}.parquet", schema
        ).to_pydict()
        return columns

    def validation(self, form: TargetForm) -> Documents | None:
        """Those of the validation split; None where an imported set has no reasonings for it."""
        try:
            return self.read("training_set", form, "validation")[0]
        except UserError as empty:
            log.info("no validation during training: %s", empty)
            return None

    def ids(self, role: str) -> list[int]:
        """The id of each row of the training split."""
        table = read_table(self.inputs[role] / "train.parquet", ID)
        ids: list[int] = table["id"].to_pylist()
        return ids


@dataclass(frozen=True)
class ExpectedSets(TrainingSets):
    """Training sets of which some are not here yet: reasonings there take all that they may.

    Attributes:
        limits: role -> the most tokens of a reasoning, 0 where there is none; for the sets that
            are not here.
    """

    limits: Mapping[str, int]

    def _pieces(self, role: str, form: TargetForm, split: str) -> list[Piece]:
        """The same; a reasoning that is not here is as long as it may be, and fits."""
        pieces = super()._pieces(role, form, split)
        spare = self.limits.get(role, 0) - 1  # tokens that a reasoning may do without
        return [
            replace(piece, target=piece.target[: len(piece.target) - over])
            if 0 < (over := len(piece.prompt) + len(piece.target) - self.max_length) <= spare
            else piece
            for piece in pieces
        ]

    def _columns(self, role: str, target: Target, split: str) -> dict[str, Any]:
        """The same; or the task's texts, and how many tokens a reasoning may have."""
        if role not in self.limits:
            return super()._columns(role, target, split)
        table = read_table(self.inputs["task"] / f"{split}.parquet", TEXT_LABEL)
        return {**table.to_pydict(), "reasoning": self.limits[role] or None}

    def ids(self, role: str) -> list[int]:
        """The id of each row of the training split."""
        return super().ids(role if role not in self.limits else "task")
