"""Labelled texts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from infuse.config.messages import shown
from infuse.config.values import (
    Columns,
    DataFile,
    Hub,
    LabelName,
    PositiveInt,
    Section,
    Seed,
    Share,
)
from infuse.core.errors import few
from infuse.data.labels import alike


class GeneratedTask(Section):
    """Diary lines from the workflow's own generator."""

    kind: Literal["generated"]
    train: PositiveInt
    validation: PositiveInt
    test: PositiveInt
    seed: Seed


class TwoHop(Section):
    """TwoHop from the workflow's own generator: controls of the comparison itself."""

    kind: Literal["two_hop"]
    train: PositiveInt
    validation: PositiveInt
    test: PositiveInt
    words: Annotated[int, Field(ge=4, le=180, multiple_of=4)] = Field(
        description="that may stand in each of the two places of a riddle"
    )
    both: bool = Field(description="whether two steps lead to the label, or one")
    honest: bool = Field(description="whether reasonings tell the first step, or something random")
    noise: Annotated[float, Field(ge=0, lt=0.75)]
    seed: Seed


class TaskFiles(Section):
    """A local parquet, jsonl or csv file for each split; those not given are cut from train."""

    kind: Literal["files"]
    train: DataFile
    validation: DataFile | None = None
    test: DataFile | None = None


class TaskHub(Hub):
    """A data set on the hub, and the names of its splits; null: cut from train."""

    train: str = "train"
    validation: str | None = "validation"
    test: str | None = "test"


class Judged(Section):
    """The section `conversations`, as those whom `judging` names have rated them."""

    kind: Literal["judged"]


class TaskColumns(Section):
    """Which columns hold what; without an `id`, a row's id is its number.

    A text of several columns has each on lines of its own, after the column's name. The last four
    are read where the task has a scale: rows of one `cluster` (a conversation, a context) never
    stand in two splits, and `source` and `dimension` tell the settings that tables keep apart.
    """

    text: Columns
    label: str
    reasoning: str | None = None
    id: str | None = None
    cluster: str | None = None
    source: str | None = None
    dimension: str | None = None
    scale: str | None = Field(None, description="of each row, as in 1-5: held against task.scale")


class Scale(Section):
    """Ratings from `low` to `high`; labels are the whole numbers."""

    low: Annotated[int, Field(ge=0)]
    high: Annotated[int, Field(lt=100)]

    @field_validator("high")
    @classmethod
    def _above(cls, high: int, info: ValidationInfo) -> int:
        if high <= info.data.get("low", -1):
            raise ValueError(f": expected more than low ({info.data['low']}), found {high}")
        return high


class Split(Section):
    """How splits are cut from train, by text and label."""

    validation: Share
    test: Share
    seed: Seed


class Sizes(Section):
    """About so many rows of a split, drawn by text and label; null: all."""

    train: PositiveInt | None
    validation: PositiveInt | None
    test: PositiveInt | None


class Task(Section):
    """Labelled texts."""

    source: Annotated[
        GeneratedTask | TwoHop | TaskFiles | TaskHub | Judged, Field(discriminator="kind")
    ]
    scale: Scale | None
    split: Split
    rows: Sizes
    columns: TaskColumns
    labels: Annotated[list[LabelName], Field(min_length=2)] | None
    system: str

    @field_validator("scale")
    @classmethod
    def _of_ratings(cls, scale: Scale | None, info: ValidationInfo) -> Scale | None:
        source = info.data.get("source")
        if isinstance(source, Judged) and scale != Scale(low=1, high=5):
            raise ValueError(": expected {low: 1, high: 5}, to which judges' scores are brought")
        if isinstance(source, GeneratedTask | TwoHop) and scale is not None:
            raise ValueError(": expected null, since the generator's labels have no order")
        return scale

    @field_validator("columns")
    @classmethod
    def _of_a_scale(cls, columns: TaskColumns, info: ValidationInfo) -> TaskColumns:
        for part in ("cluster", "source", "dimension", "scale"):
            if getattr(columns, part) is not None and info.data.get("scale", ...) is None:
                raise ValueError(f".{part}: expected null, since the task has no scale")
        judged = isinstance(info.data.get("source"), Judged)
        if info.data.get("scale") and len(columns.text) > 1 and not columns.cluster and not judged:
            raise ValueError(".cluster: expected a column, since the text has several")
        return columns

    @field_validator("split")
    @classmethod
    def _something_is_left(cls, split: Split) -> Split:
        if split.validation + split.test >= 1:
            raise ValueError(
                f": expected validation and test to leave some of train,"
                f" found {split.validation} + {split.test}"
            )
        return split

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if labels is None:
            return labels
        if info.data.get("scale") is not None:
            raise ValueError(": expected null, since task.scale names them")
        same = [label for label in labels if labels.count(label) > 1] or alike(labels)
        if same:
            names = few(map(ascii, same))
            raise ValueError(f": expected names that do not look alike, found {names}")
        mistakes = [
            f"[{index}]: expected one line of text, found {shown(label)}"
            for index, label in enumerate(labels)
            if label.splitlines() != [label] or not label.strip()
        ]
        if mistakes:
            raise ValueError("\n".join(mistakes))
        return labels
