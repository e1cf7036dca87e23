"""Commits of what is on the hub: those that the config leaves open are looked up once and kept.

`revisions.yaml` keeps them. It belongs in git, so that others have the same models and data sets.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from infuse.config.base import HubModel
from infuse.config.experiment import DEFAULTS, Experiment, read_mapping
from infuse.config.messages import explain, refusal
from infuse.config.reasonings import ImportedHub
from infuse.config.values import Commit, Hub, HubId, Section
from infuse.core import hub_errors
from infuse.core.errors import UserError, first_line
from infuse.core.files import write_text

LOCK = DEFAULTS.with_name("revisions.yaml")
SECONDS = 10  # for an answer of the hub
Look = Callable[[str, str, str], str | None]  # the commit, by where it is set, kind and id


class Commits(Section):
    """The content of revisions.yaml, by id."""

    models: dict[HubId, Commit] = Field(default_factory=dict)
    datasets: dict[HubId, Commit] = Field(default_factory=dict)


def pinned(config: Experiment, lock: Path = LOCK) -> Experiment:
    """The experiment with a commit wherever it leaves one open: that of `lock`, if it has one.

    The hub is asked for the others, once: they are added to `lock`.

    Raises:
        UserError: the hub does not give a commit, or the lock is damaged; one line for each.
    """
    known = _valid(read_mapping(lock) if lock.exists() else {}, lock)
    commits, mistakes = {kind: dict(ids) for kind, ids in known.items()}, []

    def look(where: str, kind: str, name: str) -> str | None:
        if name not in commits[kind]:
            try:
                commits[kind][name] = _head(where, kind, name)
            except UserError as mistake:
                mistakes.append(str(mistake))
        return commits[kind].get(name)

    config = filled(config, look)
    if mistakes:
        raise refusal(mistakes)
    if commits != known:
        try:
            write_text(lock, yaml.safe_dump(_valid(commits, lock)))
        except OSError as failure:
            found = [f"{name} {own}" for ids in commits.values() for name, own in ids.items()]
            why = f"{lock} can't be written ({failure.strerror})"
            raise UserError(f"{why}: set each `revision` ({', '.join(found)})") from failure
    return config


def filled(section: Any, look: Look, where: str = "") -> Any:
    """A section of the config whose open revisions, and those below it, are set by `look`."""
    if isinstance(section, dict):
        return {name: filled(part, look, f"{where}{name}.") for name, part in section.items()}
    if not isinstance(section, Section):
        return section
    parts = {
        name: filled(getattr(section, name), look, f"{where}{name}.")
        for name in type(section).model_fields
    }
    if isinstance(section, HubModel | Hub | ImportedHub) and section.revision is None:
        kind = "models" if isinstance(section, HubModel) else "datasets"
        parts["revision"] = look(where, kind, section.id)
    return section.model_copy(update=parts)


def _head(where: str, kind: str, name: str) -> str:
    """The last commit of a repository that may be read."""
    from huggingface_hub import HfApi

    api, kind = HfApi(), kind.removesuffix("s")
    try:
        commit = api.repo_info(name, repo_type=kind, timeout=SECONDS).sha
        api.auth_check(name, repo_type=kind)
    except Exception as failure:  # the client raises errors of many kinds
        if reason := hub_errors.unreachable(failure):
            raise UserError(
                f"{where}revision is not set, and {reason}: run once where it can be, or set it"
            ) from failure
        reason = hub_errors.refused(failure) or f"{type(failure).__name__}: {first_line(failure)}"
        raise UserError(f"{where}id: {name}: {reason}") from failure
    return str(commit)


def _valid(tree: Any, lock: Path) -> dict[str, dict[str, str]]:
    try:
        return Commits.model_validate(tree).model_dump()
    except ValidationError as invalid:
        raise refusal(
            f"{lock.name}: {line}" for error in invalid.errors() for line in explain(error, Commits)
        ) from None
