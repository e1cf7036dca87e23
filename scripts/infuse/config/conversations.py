"""Pairs of context and response, for judges to rate."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from infuse.config.values import DIFFERENT, DataFile, Hub, PartName, PositiveInt, Section, Seed


class Pair(Section):
    """A column of contexts and one of responses."""

    kind: Literal["pair"]
    context: str
    response: str


class Chat(Section):
    """A column of chat messages; the last of the assistant's is the response."""

    kind: Literal["chat"]
    messages: str


class Transcript(Section):
    """A column of dialogues as one text, with Human: and Assistant: before each turn."""

    kind: Literal["transcript"]
    text: str


class Passage(Section):
    """A text, and lists of questions about it and of their answers; the last are the pair's."""

    kind: Literal["passage"]
    passage: str
    questions: str
    answers: str


class Turns(Section):
    """A column of lists of utterances; the last is the response."""

    kind: Literal["turns"]
    turns: str


class GeneratedTalk(Section):
    """Conversations from the workflow's own generator, whose quality is known."""

    kind: Literal["generated"]
    style: Literal["shop", "help_chosen", "help_rejected", "film"]
    seed: Seed


class TalkFiles(Section):
    """Local parquet, jsonl or csv files, all with the same columns."""

    kind: Literal["files"]
    paths: Annotated[list[DataFile], Field(min_length=1), DIFFERENT]


class TalkHub(Hub):
    """A split of a data set on the hub."""

    split: str = "train"


TalkColumns = Annotated[Pair | Chat | Transcript | Passage | Turns, Field(discriminator="kind")]


class TalkSource(Section):
    """One source of conversations; `columns` tell where context and response stand."""

    source: Annotated[GeneratedTalk | TalkFiles | TalkHub, Field(discriminator="kind")]
    columns: TalkColumns | None = Field(None, validate_default=True)

    @field_validator("columns")
    @classmethod
    def _told(cls, columns: Any, info: ValidationInfo) -> Any:
        source = info.data.get("source")
        if source is not None and (columns is None) != isinstance(source, GeneratedTalk):
            expected = "null" if columns else "{kind: pair, context, response} or the like"
            raise ValueError(f": expected {expected} where the source's kind is {source.kind!r}")
        return columns


class TalkSizes(Section):
    """About so many conversations of each source in each split."""

    train: PositiveInt
    validation: PositiveInt
    test: PositiveInt


class Conversations(Section):
    """Pairs of context and response, for judges to rate."""

    sources: Annotated[dict[PartName, TalkSource], Field(min_length=1)]
    rows: TalkSizes
    seed: Seed = 0
