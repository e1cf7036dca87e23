"""Artifacts in DVC: which are published, which a plan wants, and DVC's own client to move them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from infuse.core.errors import UserError
from infuse.core.files import discard
from infuse.core.manifest import Added, anew, check, names
from infuse.workflow.node import Node, script_path
from infuse.workflow.plan import Plan


def pointer(node: Node) -> Path:
    """The file that stands in git for an artifact."""
    return Path(f"{node.path}.dvc")


def pull_command(
    configfiles: Iterable[str | Path], values: Iterable[str] = (), directory: Path | None = None
) -> str:
    """What a user types to have what an experiment needs.

    Args:
        values: entries KEY=VALUE of --config.
        directory: where results/ is, if not where the user is.
    """
    options = {"directory": [directory] if directory else [], "configfile": configfiles}
    options["config"] = values
    words = ["python", script_path("share"), "pull"]
    for name, parts in options.items():
        if given := [str(part) for part in parts]:
            words += [f"--{name}", *given]
    return shlex.join(words)


def wanted(plan: Plan) -> list[Node]:
    """The published artifacts, not here, from which what is missing can be made.

    What comes before them is not wanted: a base model, where all classifiers are published.
    """
    nodes: dict[str, Node] = {}
    seen = set[str]()

    def visit(node: Node) -> None:
        if node.path in seen:  # most are the input of many
            return
        seen.add(node.path)
        if _done(node):
            return
        if pointer(node).is_file():
            nodes[node.path] = node
            return
        for source in node.needs.values():
            visit(source)

    for last in plan.last:
        visit(last)
    return list(nodes.values())


def left_behind(plan: Plan) -> list[Node]:
    """The published artifacts that are not here, wanted or not."""
    return [
        node
        for node in _artifacts(plan)
        if pointer(node).is_file() and not Path(node.path).is_dir()
    ]


def _done(node: Node) -> bool:
    """Whether a node is here; where it has copies for people, those too."""
    folder = Path(node.path)
    if not folder.is_dir() or node.settings.current is None:
        return folder.is_dir()
    owner = Path(node.settings.current)
    return (
        owner.is_file()
        and owner.read_text(encoding="utf-8").strip() == node.path
        and all((owner.parent / name).exists() for name in names(folder))
    )


def check_all(nodes: Iterable[Node], pulls: str, contents: bool = True) -> None:
    """Look whether each artifact that is here is as it was made.

    Args:
        pulls: `pull_command` of this experiment.
        contents: read it all; otherwise only the sizes of its files are looked at.

    Raises:
        UserError: one line for each that is not.
    """
    broken = _damages(nodes, contents)
    if broken:
        raise UserError("\n".join(_remedy(node, damage, pulls) for node, damage in broken))


def publish(plan: Plan, pulls: str) -> list[Node]:
    """Add every artifact of the plan that is here to DVC, and push; pointers are written.

    Args:
        pulls: `pull_command` of this experiment.

    Raises:
        UserError: an artifact is damaged, or DVC refuses.
    """
    here = [node for node in _artifacts(plan) if Path(node.path).is_dir()]
    check_all(here, pulls)
    if here:
        _dvc("add", *(node.path for node in here))
        _dvc("push", *(str(pointer(node)) for node in here))
    return here


def pull(plan: Plan) -> list[Node]:
    """Fetch what `wanted` names, and what is here but damaged; every byte of it is looked at.

    Raises:
        UserError: DVC refuses, or what it gave is damaged; that is removed.
    """
    aside = {}
    for node, _ in _damages(node for node in _artifacts(plan) if pointer(node).is_file()):
        aside[node.path] = Path(node.path).with_name(f".{node.id}.damaged")
        Path(node.path).rename(aside[node.path])
    asked = wanted(plan) + [node for node in _artifacts(plan) if node.path in aside]
    asked = list({node.path: node for node in asked}.values())
    try:
        if asked:
            _fetch(asked)
    finally:
        for path, kept in aside.items():
            if Path(path).is_dir():
                discard(kept)
            else:
                kept.rename(path)
    return asked


def _fetch(asked: list[Node]) -> None:
    pointers = [str(pointer(node)) for node in asked]
    refusal = ""
    try:
        _dvc("pull", *pointers)
    except UserError as failure:
        refusal = f"{failure}; "
        _dvc("checkout", "--allow-missing", *pointers)  # what did come
    broken = _damages(asked, contents=True)
    for node, _ in broken:
        discard(Path(node.path))
    if refusal:
        absent = ", ".join(node.path for node in asked if not Path(node.path).is_dir())
        raise UserError(f"{refusal}not here: {absent}")
    if broken:
        raise UserError(
            "\n".join(str(damage) for _, damage in broken)
            + "\nit came so from DVC, and was removed: its object in the remote, or in DVC's cache"
            " here, is damaged; docs/sharing.md tells how to mend it"
        )


def _damages(nodes: Iterable[Node], contents: bool = True) -> list[tuple[Node, UserError]]:
    """The artifacts that are here and not as they were made, and what is wrong."""
    damages = []
    for node in nodes:
        if Path(node.path).is_dir():
            try:
                check(Path(node.path), contents)
            except UserError as damage:
                damages.append((node, damage))
    return damages


def _remedy(node: Node, damage: UserError, pulls: str) -> str:
    if isinstance(damage, Added):
        return str(damage)
    if pointer(node).is_file():
        return f"{damage}; it is published: {pulls}"
    return f"{damage}; {anew(Path(node.path))}"


def _artifacts(plan: Plan) -> Iterator[Node]:
    return (node for node in plan.nodes.values() if node.path.startswith("results/artifacts/"))


# What DVC says of a folder that lacks something, and what gives it that.
_REMEDIES = {
    "is not a git repository": "git init, or without git: dvc config core.no_scm true",
    "not inside of a DVC repository": "dvc init, or without git: dvc init --no-scm",
}


def _dvc(*arguments: str) -> None:
    if find_spec("dvc") is None:
        raise UserError("dvc is not installed: pip install -r envs/everything.txt")
    command = [sys.executable, "-m", "dvc", *arguments]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode:
        words = " ".join(said.stderr.partition("ERROR: ")[2].replace("ERROR: ", "; ").split())
        helps = [f"; {remedy}" for symptom, remedy in _REMEDIES.items() if symptom in words]
        raise UserError(f"dvc {arguments[0]}: {words or 'failed'}{''.join(helps)}")
