"""Question, answer and reasoning: what the reasoner learns from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from infuse.config.values import DIFFERENT, DataFile, Hub, PositiveInt, Section, Seed, Share


class GeneratedTriples(Section):
    """Triples from the workflow's own generator."""

    kind: Literal["generated"]
    rows: PositiveInt
    seed: Seed


class TripleFiles(Section):
    """Local parquet, jsonl or csv files, all with the same columns."""

    kind: Literal["files"]
    paths: Annotated[list[DataFile], Field(min_length=1), DIFFERENT]


class TripleColumns(Section):
    """Columns of (question, answer, reasoning) triples; `domain` is optional."""

    kind: Literal["triples"]
    question: str
    answer: str
    reasoning: str
    domain: str | None = None


class ChatColumns(Section):
    """A column of chat messages; the reasoning stands in the answer's think tags."""

    kind: Literal["chat"]
    messages: str
    domain: str | None = None


TripleFormat = Annotated[TripleColumns | ChatColumns, Field(discriminator="kind")]


class Triples(Section):
    """What the reasoner learns from."""

    source: Annotated[GeneratedTriples | TripleFiles | Hub, Field(discriminator="kind")]
    columns: TripleFormat
    train_share: Share
    rows: PositiveInt | None
    max_reasoning_characters: PositiveInt | None
