"""One node of the graph: an artifact, and the spec from which its script makes it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from infuse.config.settings import Settings
from infuse.workflow.rerun_key import SCRIPTS, rerun_key, stage_version
from infuse.workflow.spec import Spec

LONGEST = 160  # bytes of a name, of the 255 that a file system takes with key and ending


def script_path(name: str) -> str:
    """The path of `scripts/<name>.py`, as short as the working directory allows."""
    here = Path.cwd().resolve() == SCRIPTS.parent.resolve()
    return f"scripts/{name}.py" if here else str(SCRIPTS / f"{name}.py")


@dataclass(frozen=True)
class Node:
    """One artifact: a folder that one run of `scripts/<stage>.py` makes.

    Attributes:
        params: what the stage reads of the config; enters the key.
        inputs: role -> node; their keys enter the key.
        settings: what the script needs but what can't change the result; not in the key.
        references: role -> node, whose files the script only checks; not in the key either.
    """

    stage: str
    name: str
    params: dict[str, Any]
    inputs: dict[str, Node] = field(default_factory=dict)
    settings: Settings = field(default_factory=Settings)
    folder: str = "results/artifacts"
    references: dict[str, Node] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """12 hexadecimal digits."""
        inputs = {role: node.key for role, node in self.inputs.items()}
        return rerun_key(self.stage, self.params, inputs)

    @cached_property
    def id(self) -> str:
        """Name and key; of a long name, as much as file systems take."""
        return f"{self.name.encode()[:LONGEST].decode(errors='ignore')}-{self.key}"

    @cached_property
    def path(self) -> str:
        """The folder of the artifact."""
        return f"{self.folder}/{self.stage}/{self.id}"

    @property
    def spec_path(self) -> str:
        """The file that holds `spec`."""
        return f"results/specs/{self.stage}/{self.id}.json"

    def spec(self, following: Iterable[Node] = ()) -> Spec:
        """All that the script is told.

        Args:
            following: the nodes that the same process goes on with.
        """
        return Spec(
            stage=self.stage,
            name=f"{self.stage} {self.name}",
            key=self.key,
            version=stage_version(self.stage),
            params=self.params,
            settings=self.settings,
            inputs={role: node.path for role, node in self.inputs.items()},
            references={role: node.path for role, node in self.references.items()},
            output=self.path,
            work=f"results/unfinished/{self.stage}-{self.id}",
            following=[node.spec_path for node in following],
        )

    @property
    def needs(self) -> dict[str, Node]:
        """The nodes that must be made first, by role."""
        return self.inputs | self.references

    def write_spec(self, following: Iterable[Node] = ()) -> None:
        """Write the spec to its file."""
        self.spec(following).write(Path(self.spec_path))


def reached(*last: Node) -> dict[tuple[str, str], Node]:
    """Nodes and all that they need by (stage, id), inputs before those that need them."""
    nodes: dict[tuple[str, str], Node] = {}

    def visit(node: Node) -> None:
        if (node.stage, node.id) not in nodes:
            for source in node.needs.values():
                visit(source)
            nodes[node.stage, node.id] = node

    for node in last:
        visit(node)
    return nodes
