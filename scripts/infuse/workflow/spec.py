"""What a script is told of the artifact that it makes: a file under results/specs/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from infuse.config.settings import Settings
from infuse.config.values import Section
from infuse.core.files import read_json, write_json


class Spec(Section):
    """One node of the graph, as its script reads it."""

    stage: str
    name: str = Field(description="stage and name, for messages")
    key: str
    version: int = Field(description="of the stage's code")
    params: dict[str, Any] = Field(description="what the stage reads of the config")
    settings: Settings
    inputs: dict[str, str] = Field(description="role -> folder")
    references: dict[str, str] = Field(
        default={}, description="role -> a folder that is only checked"
    )
    output: str = Field(description="the artifact's folder")
    work: str = Field(description="the folder of what is unfinished")
    following: list[str] = Field(default=[], description="specs that the same process goes on with")

    def write(self, path: Path) -> None:
        """Write it to a file, without what has its default."""
        write_json(path, self.model_dump(exclude_defaults=True))

    @staticmethod
    def read(path: Path) -> Spec:
        """The spec in a file."""
        return Spec.model_validate(read_json(path))
