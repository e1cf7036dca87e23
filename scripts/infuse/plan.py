"""The plan: one pure function from config to a graph of artifacts, from which all paths follow.

A node's key is the hash of what determines it: stage, stage version, the parameters that the stage
reads, and the keys of its inputs. The key stands in the node's path, so a file that exists under a
path is the right one, whatever its time stamp says.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from infuse.config import (
    ZERO_SHOT,
    Arm,
    Asked,
    Column,
    Experiment,
    Folder,
    GeneratedTask,
    GeneratedTriples,
    HubModel,
    ImportedFile,
    Sampling,
    Scratch,
    TaskFiles,
    TripleFiles,
)
from infuse.errors import UserError
from infuse.files import content_hash, fingerprint, write_json
from infuse.refusals import refusal

SCRIPTS = Path(__file__).parents[1]
PARTS = ("task", "triples")  # of a corpus that are no files


@cache
def stage_version(stage: str) -> int:
    """The integer that `scripts/<stage>.py` states as VERSION, read without importing it."""
    for line in ast.parse((SCRIPTS / f"{stage}.py").read_text(encoding="utf-8")).body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "VERSION":
            return int(ast.literal_eval(line.value))
    raise LookupError(f"scripts/{stage}.py states no VERSION")


@dataclass(frozen=True)
class Node:
    """One artifact: a folder that one run of `scripts/<stage>.py` makes.

    Attributes:
        params: what the stage reads of the config; enters the key.
        inputs: role -> node; their keys enter the key.
        settings: what the script needs but what can't change the result; not in the key.
    """

    stage: str
    name: str
    params: dict[str, Any]
    inputs: dict[str, Node] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    folder: str = "results/artifacts"

    @cached_property
    def key(self) -> str:
        """12 hexadecimal digits."""
        inputs = {role: node.key for role, node in self.inputs.items()}
        return fingerprint([self.stage, stage_version(self.stage), self.params, inputs])

    @property
    def id(self) -> str:
        """Name and key."""
        return f"{self.name}-{self.key}"

    @property
    def path(self) -> str:
        """The folder of the artifact."""
        return f"{self.folder}/{self.stage}/{self.id}"

    @property
    def spec_path(self) -> str:
        """The file that holds `spec`."""
        return f"results/specs/{self.stage}/{self.id}.json"

    def spec(self) -> dict[str, Any]:
        """All that the script is told."""
        return {
            "stage": self.stage,
            "name": f"{self.stage} {self.name}",
            "key": self.key,
            "version": stage_version(self.stage),
            "params": self.params,
            "settings": self.settings,
            "inputs": {role: node.path for role, node in self.inputs.items()},
            "output": self.path,
            "work": f"results/unfinished/{self.stage}-{self.id}",
        }


@dataclass(frozen=True)
class Plan:
    """The graph of one experiment, reached from its last nodes.

    Attributes:
        notes: what is allowed but hardly meant, for the user to read before the start.
    """

    experiment: str
    metrics: Node
    tables: Node
    figures: Node
    notes: list[str]

    @cached_property
    def nodes(self) -> dict[tuple[str, str], Node]:
        """All nodes by (stage, id), inputs before those that need them."""
        found: dict[tuple[str, str], Node] = {}

        def visit(node: Node) -> None:
            for source in node.inputs.values():
                visit(source)
            found.setdefault((node.stage, node.id), node)

        visit(self.tables)
        visit(self.figures)
        return found

    def stage(self, stage: str) -> Iterator[Node]:
        """The nodes of one stage."""
        return (node for node in self.nodes.values() if node.stage == stage)

    @property
    def example(self) -> Node:
        """The classifier to try first: one that reasons, if there is one."""
        made = list(self.stage("classifier"))
        return next((node for node in made if node.params["target"] != "label"), made[0])

    def write_specs(self) -> None:
        """Write each node's spec to its file."""
        for node in self.nodes.values():
            write_json(Path(node.spec_path), node.spec())


def build(config: Experiment) -> Plan:
    """The plan of an experiment.

    Raises:
        UserError: files that the config names do not exist, one line for each.
    """
    contents = _contents(config)
    task = _task(config, contents)
    triples = _triples(config, contents)
    base = _base(config, contents, task, triples)
    sets = {"label": Node("training_set", "text_label", {}, {"task": task})}
    if _needs_reasons(config):
        reasonings = _reasonings(config, contents, task, triples, base)
        sets["reason"] = Node(
            "training_set", "text_reasoning_label", {}, {"task": task, "reasonings": reasonings}
        )
    classifiers = {
        f"{name}-seed{seed}": _classifier(config, f"{name}-seed{seed}", arm, seed, base, task, sets)
        for name, arm in config.arms.items()
        for seed in config.seeds
    }
    predictions = {
        name: Node(
            "predictions",
            name,
            {**config.prediction.model_dump(), **_generation(config)},
            {"classifier": node, "task": task},
        )
        for name, node in classifiers.items()
    }
    answers = {f"predictions {name}": node for name, node in predictions.items()}
    if config.zero_shot is not None:
        answers[ZERO_SHOT] = _zero_shot(config, task)
    folder = f"results/{config.experiment}"
    arms = {name: arm.model_dump() for name, arm in config.arms.items()}
    if config.zero_shot is not None:
        arms[ZERO_SHOT] = {"target": ZERO_SHOT, "match": None}
    metrics = Node(
        "metrics",
        config.experiment,
        {"arms": arms, "seeds": config.seeds},
        {"task": task, **{f"classifier {name}": node for name, node in classifiers.items()}}
        | answers,
        folder=folder,
    )
    tables = Node(
        "tables",
        config.experiment,
        {
            **metrics.params,
            "setting": _setting(config),
            "recipes": {
                "reasoner": config.reasoner.recipe.model_dump(),
                "classifier": config.classifier.recipe.model_dump(),
            },
        },
        {"task": task, "metrics": metrics, "training_set": sets.get("reason", sets["label"])}
        | answers,
        {"current": "results/.tables"},
        folder,
    )
    figures = Node(
        "figures",
        config.experiment,
        metrics.params,
        {"task": task, "metrics": metrics},
        {"current": "results/.figures"},
        folder,
    )
    return Plan(config.experiment, metrics, tables, figures, _notes(config))


def _notes(config: Experiment) -> list[str]:
    reasoner = _needs_reasons(config) and isinstance(config.reasonings, Sampling)
    base = isinstance(config.base, Scratch) and "triples" in config.base.corpus
    learners = ["the base model"] * base + ["the reasoner"] * reasoner
    own = not isinstance(config.task.source, GeneratedTask)
    generated = config.triples and isinstance(config.triples.source, GeneratedTriples)
    if own and generated and learners:
        return [
            f"{' and '.join(learners)} will learn from the default's generated triples, which say"
            " nothing about your texts: set triples (docs/own-data.md)"
        ]
    return []


def _contents(config: Experiment) -> dict[str, str]:
    """The hash of each local file that the config names and the plan needs, by its key there."""
    contents, mistakes = {}, []
    for where, path in _files(config):
        try:
            if where == "base.path" and not _may_be_a_model(Path(path)):
                raise UserError(f"{where}: expected a model folder, with config.json: {path}")
            contents[where] = content_hash(path, where)
        except UserError as mistake:
            mistakes.append(str(mistake))
        except OSError as failure:
            mistakes.append(f"{where}: {path}: {failure.strerror}")
    if mistakes:
        raise refusal(mistakes)
    return contents


def _may_be_a_model(path: Path) -> bool:
    return (path / "config.json").is_file() or not path.exists()  # a DVC pointer may stand for it


def _files(config: Experiment) -> Iterator[tuple[str, str]]:
    task, triples, base, reasonings = config.task, config.triples, config.base, config.reasonings
    if isinstance(task.source, TaskFiles):
        for split, path in task.source.model_dump(exclude={"kind"}).items():
            if path is not None:
                yield f"task.source.{split}", path
    if triples is not None and isinstance(triples.source, TripleFiles):
        for index, path in enumerate(triples.source.paths):
            yield f"triples.source.paths[{index}]", path
    if isinstance(base, Folder):
        yield "base.path", base.path
    if isinstance(base, Scratch):
        for index, entry in enumerate(base.corpus):
            if entry not in PARTS:
                yield f"base.corpus[{index}]", entry
    if isinstance(reasonings, ImportedFile) and _needs_reasons(config):
        yield "reasonings.path", reasonings.path


def _needs_reasons(config: Experiment) -> bool:
    return any(arm.target != "label" for arm in config.arms.values())


def _task(config: Experiment, contents: dict[str, str]) -> Node:
    section = config.task
    source = section.source
    params: dict[str, Any] = {
        "source": source.model_dump(), "columns": {}, "labels": section.labels,
        "rows": section.rows.model_dump(), "split": None,
    }  # fmt: skip
    settings: dict[str, Any] = {}
    if not isinstance(source, GeneratedTask):
        params["columns"] = section.columns.model_dump()
        cut = [split for split in ("validation", "test") if getattr(source, split) is None]
        if cut:
            params["split"] = section.split.model_dump(include={*cut, "seed"})
    if params["split"] is None and any(params["rows"].values()):
        params["split"] = {"seed": section.split.seed}
    if isinstance(source, TaskFiles):
        settings["files"] = source.model_dump(exclude={"kind"})
        params["source"] = {"kind": "files"} | {
            split: contents.get(f"task.source.{split}") for split in settings["files"]
        }
        settings["contents"] = {
            path: contents[f"task.source.{split}"]
            for split, path in settings["files"].items()
            if path is not None
        }
    return Node("task", _told(source), params, settings=settings)


def _triples(config: Experiment, contents: dict[str, str]) -> Node | None:
    section = config.triples
    if section is None:
        return None
    params: dict[str, Any] = section.model_dump()
    settings: dict[str, Any] = {}
    if isinstance(section.source, GeneratedTriples):
        del params["columns"]
    if isinstance(section.source, TripleFiles):
        settings["files"] = section.source.paths
        params["source"] = {
            "kind": "files",
            "files": [
                contents[f"triples.source.paths[{index}]"]
                for index in range(len(section.source.paths))
            ],
        }
        settings["contents"] = dict(
            zip(section.source.paths, params["source"]["files"], strict=True)
        )
    return Node("triples", _told(section.source), params, settings=settings)


def _base(config: Experiment, contents: dict[str, str], task: Node, triples: Node | None) -> Node:
    base = config.base
    if isinstance(base, HubModel):
        return Node("base", _told(base), base.model_dump())
    if isinstance(base, Folder):
        content = {"kind": "folder", "content": contents["base.path"]}
        name = re.sub(r"[^\w.-]", "-", Path(base.path).name)  # it stands in the rules' commands
        settings = {"path": base.path, "contents": {base.path: contents["base.path"]}}
        return Node("base", name, content, settings=settings)
    files = [entry for entry in base.corpus if entry not in PARTS]
    params: dict[str, Any] = base.model_dump() | _training_arithmetic(config)
    params["corpus"] = [
        entry if entry in PARTS else contents[f"base.corpus[{index}]"]
        for index, entry in enumerate(base.corpus)
    ]
    parts = zip(PARTS, (task, triples), strict=True)
    inputs = {name: node for name, node in parts if node and name in base.corpus}
    params["reasoned"] = bool("task" in inputs and task.params["columns"].get("reasoning"))
    read = {path: contents[f"base.corpus[{base.corpus.index(path)}]"] for path in files}
    settings = {"files": files, "contents": read, **_training_settings(config)}
    return Node("base", "scratch", params, inputs, settings)


def _reasonings(
    config: Experiment, contents: dict[str, str], task: Node, triples: Node | None, base: Node
) -> Node:
    section = config.reasonings
    params: dict[str, Any] = section.model_dump()
    settings: dict[str, Any] = {}
    if isinstance(section, Sampling):
        assert triples is not None  # the config was refused otherwise
        reasoner = Node(
            "reasoner",
            base.name,
            config.reasoner.model_dump() | _training_arithmetic(config),
            {"base": base, "triples": triples},
            _training_settings(config),
        )
        params |= _generation(config)
        return Node("reasonings", base.name, params, {"reasoner": reasoner, "task": task})
    if isinstance(section, Asked):
        params["endpoint"], settings = _endpoint(config, section.endpoint)
        return Node("reasonings", section.endpoint, params, {"task": task}, settings)
    if isinstance(section, ImportedFile):
        settings["path"] = params.pop("path")
        params["content"] = contents["reasonings.path"]
        settings["contents"] = {settings["path"]: params["content"]}
    name = "column" if isinstance(section, Column) else "imported"
    return Node("reasonings", name, params, {"task": task}, settings)


def _zero_shot(config: Experiment, task: Node) -> Node:
    assert config.zero_shot is not None
    endpoint, settings = _endpoint(config, config.zero_shot.endpoint)
    params = config.zero_shot.model_dump() | {"endpoint": endpoint, "system": config.task.system}
    return Node(ZERO_SHOT, config.zero_shot.endpoint, params, {"task": task}, settings)


def _endpoint(config: Experiment, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Whose answers they are, which enters the key; and how it is asked, which does not."""
    section = config.endpoints[name].model_dump()
    return (
        {part: section[part] for part in ("url", "model")},
        {"endpoint": section, "answers": "results/answers"},
    )


def _classifier(
    config: Experiment,
    name: str,
    arm: Arm,
    seed: int,
    base: Node,
    task: Node,
    sets: dict[str, Node],
) -> Node:
    def training_set(target: str) -> Node:
        return sets["label" if target == "label" else "reason"]

    def separator(target: str) -> str | None:
        return getattr(config.classifier.separators, target, None)

    params: dict[str, Any] = {
        "chat": {"system": config.task.system, "date_string": config.date_string},
        "recipe": config.classifier.recipe.model_dump(),
        "seed": seed,
        "target": arm.target,
        "separator": separator(arm.target),
        "match": None,
        **_training_arithmetic(config),
    }
    inputs = {"base": base, "task": task, "training_set": training_set(arm.target)}
    if arm.match is not None:
        target = config.arms[arm.match.steps].target
        params["match"] = {"target": target, "separator": separator(target)}
        inputs["match"] = training_set(target)
    return Node("classifier", name, params, inputs, _training_settings(config))


def _generation(config: Experiment) -> dict[str, Any]:
    """What the arithmetic of writing and scoring depends on."""
    return {
        "engine": config.engine,
        "compute": config.compute.model_dump(include={"device", "dtype", "threads"}),
    }


def _training_arithmetic(config: Experiment) -> dict[str, Any]:
    return {"compute": config.compute.model_dump()}


def _training_settings(config: Experiment) -> dict[str, Any]:
    return {"checkpoint_steps": config.checkpoint_steps, "trackers": config.trackers}


def _setting(config: Experiment) -> dict[str, str]:
    """What produced our numbers, in the words that the fidelity table compares."""
    # Imported reasonings stand in for what a reasoner would have made of the triples.
    reasons: Any = config.reasonings
    if isinstance(reasons, Sampling) and config.triples is not None:
        reasons = config.triples.source
    asked = config.zero_shot and config.endpoints[config.zero_shot.endpoint].model
    return {
        "zero_shot_model": asked or "none",
        "base_model": getattr(config.base, "id", config.base.kind),
        "task_data": getattr(config.task.source, "id", config.task.source.kind),
        "triples_data": getattr(reasons, "id", reasons.kind),
    }


def _told(section: Any) -> str:
    """A short name: the last part of a hub id, or the kind."""
    return str(getattr(section, "id", section.kind)).rsplit("/", 1)[-1]
