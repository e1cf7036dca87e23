"""Types that many sections share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from infuse.config.messages import (
    COMMIT,
    CORPUS_FILE,
    DATA_FILE,
    HUB_ID,
    NAME,
    PATTERNS,
    hint,
    shown,
)
from infuse.data.labels import written
from infuse.data.scales import ALL

T = TypeVar("T")
Name = Annotated[str, Field(pattern=NAME)]


def _not_all(name: str) -> str:
    if name == ALL:
        raise ValueError(f": {ALL!r} stands for all of them, name it otherwise")
    return name


PartName = Annotated[Name, AfterValidator(_not_all)]
Commit = Annotated[str, Field(pattern=COMMIT, description=PATTERNS[COMMIT])]
HubId = Annotated[str, Field(pattern=HUB_ID, description=PATTERNS[HUB_ID])]
DataFile = Annotated[str, Field(pattern=DATA_FILE, description=PATTERNS[DATA_FILE])]
CorpusFile = Annotated[str, Field(pattern=CORPUS_FILE, description=PATTERNS[CORPUS_FILE])]
Share = Annotated[float, Field(gt=0, lt=1)]
# Largest values: what torch takes, even where a seed is multiplied by a million.
Count = Annotated[int, Field(ge=0, lt=2**31)]
PositiveInt = Annotated[int, Field(gt=0, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _label_name(value: Any) -> Any:
    """A label's name; a whole number stands for its digits."""
    if isinstance(value, bool):
        raise ValueError(f": expected a name, found {shown(value)}{hint(value)}")
    return written(value) or "" if isinstance(value, int | str) else value


LabelName = Annotated[str, BeforeValidator(_label_name, json_schema_input_type=str | int)]


def _each_once(entries: list[T]) -> list[T]:
    """A list in which no entry stands twice."""
    for index, entry in enumerate(entries):
        if entry in entries[:index]:
            raise ValueError(f": expected different entries, found {shown(entry)} more than once")
    return entries


DIFFERENT = AfterValidator(_each_once)
Columns = Annotated[
    list[str],
    Field(min_length=1),
    BeforeValidator(
        lambda value: [value] if isinstance(value, str) else value,
        json_schema_input_type=str | list[str],
    ),
    DIFFERENT,
]


def unset(value: Any) -> bool:
    """Whether a field is left out of keys: so an option that is new keeps what there is."""
    return value is None


class Section(BaseModel):
    """A part of the config: unknown keys are refused, strings are not turned into numbers.

    What a validator says is the end of a line that begins with the key path of its field.
    """

    def __or__(self, change: Mapping[str, Any]) -> Self:
        """The section with other values for some of its keys."""
        own = {part: getattr(self, part) for part in type(self).model_fields}
        return self.model_validate(own | dict(change))

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Hub(Section):
    """A data set on the hub, at a commit; null: the one that revisions.yaml keeps."""

    kind: Literal["hub"]
    id: HubId
    revision: Commit | None = None
    config: str | None = None
