"""What specs tell the stages beside their params: what changes no result, and so enters no key."""

from __future__ import annotations

from pydantic import Field

from infuse.config.compute import Distributed, Layout, Tracker
from infuse.config.endpoints import Endpoint
from infuse.config.model_params import TargetForm
from infuse.config.values import PositiveInt, Section


class Requirements(Section):
    """What trainings and answers need of the base model; held against it before they start."""

    forms: list[TargetForm] = Field(description="how texts are asked, and what is answered")
    separators: list[str] = Field(description="of the arms that write; '' before a bare label")
    max_new_tokens: PositiveInt = Field(description="of an answer")
    max_length: dict[str, PositiveInt] = Field(description="of documents, by place in the config")
    modules: dict[str, list[str]] = Field(
        description="that adapters change, by place in the config"
    )

    @property
    def head(self) -> bool:
        """Whether an arm has a linear head."""
        return any(form.target == "head" for form in self.forms)


class Settings(Section):
    """Where files lie, how a server is asked, how often a training saves, what is checked.

    Every stage gets those that it needs; the others keep their defaults.
    """

    contents: dict[str, str] = Field(
        default={}, description="MD5 of each local file, as it was planned"
    )
    path: str = Field(default="", description="the one local file or folder")
    files: list[str] = Field(
        default=[], description="several local files, in the order of the config"
    )
    splits: dict[str, str | None] = Field(
        default={}, description="the file of each split; null: cut"
    )
    sources: dict[str, list[str]] = Field(default={}, description="the files of each source")
    endpoint: Endpoint | None = None
    answers: str = Field(default="", description="the folder that keeps an endpoint's replies")
    threads: PositiveInt = 1
    checkpoint_steps: PositiveInt = 100
    trackers: list[Tracker] = Field(default=[])
    distributed: Distributed = Distributed()
    layout: Layout = "padded"
    date_string: str = ""
    requirements: Requirements | None = None
    current: str | None = Field(default=None, description="where results/ keeps a copy for people")

    @property
    def server(self) -> Endpoint:
        """The endpoint of a stage that asks one."""
        assert self.endpoint is not None
        return self.endpoint
