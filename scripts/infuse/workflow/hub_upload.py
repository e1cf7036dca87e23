"""Training sets and models on the hub, one repository for each artifact."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from infuse.core.errors import UserError, first_line
from infuse.core.hub_errors import complaint
from infuse.core.manifest import SEAL, names
from infuse.workflow.dvc_store import check_all
from infuse.workflow.node import Node
from infuse.workflow.plan import Plan


class Repository(NamedTuple):
    """Where an artifact goes, and what of it."""

    id: str
    kind: str
    node: Node
    files: list[str]

    @property
    def megabytes(self) -> float:
        """What its files take."""
        return sum(Path(self.node.path, name).stat().st_size for name in self.files) / 1e6


def is_here(node: Node) -> bool:
    """Whether an artifact was made."""
    return Path(node.path).is_dir()


def repositories(plan: Plan, namespace: str, pulls: str) -> list[Repository]:
    """The repositories of the experiment's artifacts that are here, once these are found whole.

    Args:
        pulls: `dvc_store.pull_command` of this experiment.

    Raises:
        UserError: none is here, one is damaged, two bear one name, or the hub would not take it.
    """
    here = [node for node in plan.own if is_here(node)]
    if not here:
        raise UserError(f"{plan.experiment}: nothing was made yet that could be pushed")
    check_all(here, pulls)
    found = [_repository(node, f"{namespace}/{plan.experiment}") for node in here]
    for name, times in Counter(repository.id for repository in found).items():
        if times > 1:
            raise UserError(
                f"--to: {times} artifacts would be {name}: name a source of reasonings otherwise"
            )
    return found


def _repository(node: Node, start: str) -> Repository:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    name = f"{start}-{node.stage if node.stage == 'reasoner' else node.name}"
    try:
        validate_repo_id(name)
    except HFValidationError as refusal:
        raise UserError(f"--to: {first_line(refusal)}") from None
    kind = "dataset" if node.stage == "training_set" else "model"
    return Repository(name, kind, node, [*names(Path(node.path)), SEAL, "README.md"])


def push(repositories: list[Repository]) -> None:
    """Make each repository hold its artifact; one that is new is private.

    Raises:
        UserError: there is no token, or the hub does not take it all.
    """
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        raise UserError("no token: set HF_TOKEN to one that may write, or `hf auth login`")
    api = HfApi()
    for repository in repositories:
        node = repository.node
        try:
            api.create_repo(repository.id, repo_type=repository.kind, private=True, exist_ok=True)
            api.upload_folder(
                repo_id=repository.id,
                repo_type=repository.kind,
                folder_path=node.path,
                allow_patterns=repository.files,
                delete_patterns="*.safetensors*",  # those of a model that lay there in more parts
                commit_message=f"{node.stage} {node.name}, key {node.key}",
            )
        except Exception as failure:  # the client raises errors of many kinds
            reason = complaint(failure) or f"{type(failure).__name__}: {first_line(failure)}"
            raise UserError(f"{repository.id}: {reason}") from failure
