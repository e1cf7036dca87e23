"""The plan: one pure function from config to a graph of artifacts, from which all paths follow.

A node's key is the hash of what determines it: stage, stage version, the parameters that the stage
reads, and the keys of its inputs. The key stands in the node's path, so a file that exists under a
path is the right one, whatever its time stamp says.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from infuse.config import DEFAULTS, Experiment, load, read_change
from infuse.errors import UserError
from infuse.files import content_hash, fingerprint, write_json
from infuse.refusals import refusal
from infuse.revisions import pinned
from infuse.sections import (
    Arm,
    Asked,
    AskedJudge,
    Column,
    Folder,
    GeneratedTask,
    GeneratedTriples,
    HubModel,
    ImportedFile,
    Judged,
    Keywords,
    Riddles,
    Sampling,
    Scratch,
    TalkFiles,
    TaskFiles,
    TripleFiles,
    Written,
)
from infuse.targets import HELD_OUT, ZERO_SHOT, roles

SCRIPTS = Path(__file__).parents[1]
PARTS = ("task", "triples")  # of a corpus that are no files
WRITING = {"device", "dtype", "threads", "deterministic"}  # of compute, what writing depends on


# Columns of ratings, as the task reads them.
JUDGED = {
    "text": ["dimension", "context", "response"], "label": "rating", "reasoning": "explanation",
    "id": "id", "cluster": "cluster", "source": "source", "dimension": "dimension",
}  # fmt: skip


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

    def write_spec(self) -> None:
        """Write the spec to its file."""
        write_json(Path(self.spec_path), self.spec())


@dataclass(frozen=True)
class Plan:
    """The graph of one experiment, reached from its last nodes.

    Attributes:
        quality: where the task has a scale.
        notes: what is allowed but hardly meant, for the user to read before the start.
    """

    experiment: str
    metrics: Node
    tables: Node
    figures: Node
    arms: Node
    quality: Node | None
    probes: Node
    notes: list[str]

    @cached_property
    def nodes(self) -> dict[tuple[str, str], Node]:
        """All nodes by (stage, id), inputs before those that need them."""
        return reached(*self.last, self.probes)

    @property
    def last(self) -> tuple[Node, ...]:
        """The nodes that people read, but for the probes: those need every classifier itself."""
        read = (self.tables, self.figures, self.arms, self.quality)
        return tuple(node for node in read if node is not None)

    def stage(self, stage: str) -> Iterator[Node]:
        """The nodes of one stage."""
        return (node for node in self.nodes.values() if node.stage == stage)

    @property
    def fetched(self) -> list[Node]:
        """What comes from elsewhere, or is made of nothing: all that may need the network."""
        return [
            node
            for node in self.nodes.values()
            if (node.stage in (*PARTS, "conversations") and "ratings" not in node.inputs)
            or node.params.get("kind") in ("hub", "folder")
        ]

    @property
    def own(self) -> list[Node]:
        """Training sets, reasoner and classifiers of the arms: of no regime and no control."""
        stages = ("training_set", "reasoner", "classifier")
        found = reached(self.arms.inputs["metrics"]).values()
        return [node for node in found if node.stage in stages]

    @property
    def example(self) -> Node:
        """The classifier to try first: one that reasons, if there is one."""
        made = list(self.stage("classifier"))
        return next((node for node in made if node.params["separator"]), made[0])

    def write_specs(self) -> None:
        """Write each node's spec to its file."""
        for node in self.nodes.values():
            node.write_spec()


def reached(*last: Node) -> dict[tuple[str, str], Node]:
    """Nodes and all that they need by (stage, id), inputs before those that need them."""
    found: dict[tuple[str, str], Node] = {}

    def visit(node: Node) -> None:
        for source in node.inputs.values():
            visit(source)
        found.setdefault((node.stage, node.id), node)

    for node in last:
        visit(node)
    return found


def build(config: Experiment) -> Plan:
    """The plan of an experiment.

    Raises:
        UserError: files that the config names do not exist, one line for each.
    """
    graph = _Graph(config, _contents(config))
    arms = _arms(config)
    if config.zero_shot is not None:
        arms[ZERO_SHOT] = {"target": ZERO_SHOT}
    shown = {name: arms[name] for name in arms if name in roles(arms).values()} or arms
    metrics = graph.metrics(shown, [], part="tables")
    tables = graph.last(
        "tables",
        {
            **metrics.params,
            "setting": _setting(config),
            "recipes": {
                "reasoner": config.reasoner.recipe.model_dump(),
                "classifier": config.classifier.recipe.model_dump(),
            },
        },
        {"metrics": metrics, "training_set": graph.shown()}
        | {
            role: node
            for role, node in metrics.inputs.items()
            if node.stage in ("predictions", ZERO_SHOT)
        },
    )
    figures = graph.last("figures", metrics.params, {"metrics": metrics})
    pairs = compared(config)
    every = graph.metrics(arms, pairs)
    points = graph.regimes()
    controls = _controls(config)
    last = graph.last(
        "arms",
        {
            **every.params,
            "regimes": list(points),
            "controls": [[name, config.expected] for name, (config, _) in controls.items()],
        },
        {"metrics": every}
        | {f"regime {kind} {value:g}": node for (kind, value), node in points.items()}
        | {f"control {name}": node for name, (_, node) in controls.items()},
    )
    quality = graph.quality(every) if config.task.scale else None
    notes = _notes(config)
    return Plan(config.experiment, metrics, tables, figures, last, quality, graph.probes(), notes)


def _arms(config: Experiment) -> dict[str, dict[str, Any]]:
    """The arms as parameters of a stage, by name."""
    return {name: arm.model_dump() for name, arm in config.arms.items()}


def compared(config: Experiment) -> list[list[str]]:
    """The pairs of arms that are compared, the primary one first.

    Where the config names none: the reasoning arm with the other arms of table 3, first that which
    takes its steps.
    """
    if config.comparisons is not None:
        return config.comparisons
    parts = roles(_arms(config))
    others = [parts["Q->A, equal steps"], parts["Q->A"]]
    ours = parts["Q->RA"]
    return [[ours, other] for other in others if ours and other]


def _controls(config: Experiment) -> dict[str, tuple[Experiment, Node]]:
    """The experiments whose result is known, by name, with the numbers of their arms.

    They run on the engine and the arithmetic of the experiment that they stand beside.

    Raises:
        UserError: one can't be read, does not say what is expected of it, or has another's name.
    """
    instrument = config.model_dump(include={"engine", "compute", "checkpoint_steps", "trackers"})
    found: dict[str, tuple[Experiment, Node]] = {}
    for index, path in enumerate(config.controls):
        where, file = f"controls[{index}]: {path}", DEFAULTS.parent / path
        if not file.is_file():
            raise refusal([f"{where}: no such file"])
        try:
            change = read_change(file) | {"regimes": None, "controls": []} | instrument
            control = pinned(load(change))
        except UserError as mistake:
            lines = str(mistake).split("\n  ")
            raise refusal(f"{where}: {line}" for line in lines[1:] or lines) from None
        if control.expected is None or not compared(control):
            raise refusal([f"{where}: expected `expected`, and two arms to compare"])
        if control.experiment in found:
            told = f"expected an experiment of its own, found {control.experiment!r} twice"
            raise refusal([f"{where}: {told}"])
        graph = _Graph(control, _contents(control))
        found[control.experiment] = control, graph.metrics(_arms(control), compared(control))
    return found


class _Graph:
    """The artifacts of an experiment, up to the answers on its test texts."""

    def __init__(self, config: Experiment, contents: dict[str, str]) -> None:
        self.config, self._contents = config, contents
        self.ratings = _ratings(config, contents)
        self.task = _task(config, contents, self.ratings)
        self.triples = _triples(config, contents)
        self.base = _base(config, contents, self.task, self.triples)

    def metrics(
        self,
        arms: Mapping[str, Any],
        pairs: list[list[str]],
        texts: Node | None = None,
        part: str = "",
    ) -> Node:
        """The numbers of arms, trained on `texts` or the task's own.

        Args:
            pairs: the arms that are compared.
            part: of the experiment, whose numbers these are, if not the whole's.
        """
        answers = {
            f"predictions {name}-seed{seed}": self._predictions(name, seed, texts or self.task)
            for name in arms
            if name != ZERO_SHOT
            for seed in self.config.seeds
        }
        inputs = {"task": self.task} | {
            role.replace("predictions", "classifier", 1): node.inputs["classifier"]
            for role, node in answers.items()
        }
        if ZERO_SHOT in arms:
            answers[ZERO_SHOT] = _zero_shot(self.config, self.task)
        params = {"arms": dict(arms), "seeds": self.config.seeds, "comparisons": pairs}
        name = "-".join(filter(None, [self.config.experiment, part]))
        return Node("metrics", name, params, inputs | answers, folder=self._folder)

    def last(self, stage: str, params: dict[str, Any], inputs: dict[str, Node]) -> Node:
        """A stage whose files people read, and find again in results/."""
        current = {"current": f"results/.{stage}"}
        inputs = {"task": self.task} | inputs
        return Node(stage, self.config.experiment, params, inputs, current, self._folder)

    def regimes(self) -> dict[tuple[str, float], Node]:
        """The numbers of the compared arms in each regime; of all arms, where none are compared."""
        section = self.config.regimes
        if section is None:
            return {}
        every = _arms(self.config)
        arms = {name: every[name] for name in _in_regimes(self.config)}
        pairs = [pair for pair in compared(self.config)[:1] if set(pair) <= arms.keys()]
        found = {}
        for kind, values in section.model_dump(exclude={"arms", "seed"}).items():
            if kind == "label_noise" and _of_true_labels(self.config):
                continue  # a note says so
            for value in values:
                params = {"kind": kind, "value": value, "seed": section.seed}
                texts = Node("regime", f"{kind}-{value:g}", params, {"task": self.task})
                found[kind, value] = self.metrics(arms, pairs, texts, texts.name)
        return found

    def quality(self, metrics: Node) -> Node:
        """Settings, held-out parts and judges of a task with a scale.

        Args:
            metrics: the numbers of all arms, whose answers it reads.
        """
        held = self.config.held_out
        parts: list[tuple[str, str, Any]] = []
        if held is not None:
            count = held.folds or 0
            parts = [("source", " + ".join(names), names) for names in held.sources or ()]
            parts += [("fold", f"{one} of {count}", [one, count]) for one in range(1, count + 1)]
        inputs = {
            role: node for role, node in metrics.inputs.items() if node.stage == "predictions"
        }
        for kind, name, value in parts:
            params = {"kind": kind, "value": value, "seed": 0}
            short = f"without-{kind}-{re.sub('[^A-Za-z0-9]+', '-', name)}"
            texts = Node("regime", short, params, {"task": self.task})
            inputs[f"held out {name}"] = texts
            for arm in held.arms if held else ():
                for one in self.config.seeds:
                    role = f"without {name}: {arm}-seed{one}"
                    inputs[role] = self._predictions(arm, one, texts)
        if self.ratings is not None:
            inputs["ratings"] = self.ratings
        told = [[kind, name] for kind, name, _ in parts]
        params = {part: metrics.params[part] for part in ("arms", "seeds")}
        params["held_out"] = {"parts": told, "arms": held.arms if held else []}
        return self.last("quality", params, inputs)

    def probes(self) -> Node:
        """What the layers of classifiers hold; of all that have a vocabulary, or those named."""
        section = self.config.probes.model_dump()
        named = section.pop("arms")
        arms = {
            name: arm
            for name, arm in _arms(self.config).items()
            if (name in named if named else arm["target"] != "head")
        }
        inputs = {}
        for name in arms:
            for seed in self.config.seeds:
                answers = self._predictions(name, seed, self.task)
                classifier = answers.inputs["classifier"]
                params = section | {"compute": self.config.compute.model_dump(include=WRITING)}
                given = {"classifier": classifier, "predictions": answers}
                inputs[f"lens {name}-seed{seed}"] = Node("lens", answers.name, params, given)
        return self.last("probes", {"arms": arms, "seeds": self.config.seeds}, inputs)

    @property
    def _folder(self) -> str:
        return f"results/{self.config.experiment}"

    def _predictions(self, name: str, seed: int, texts: Node) -> Node:
        """What an arm, trained on `texts` with a seed, answers on the test texts."""
        classifier = self._classifier(name, seed, texts)
        params = {**self.config.prediction.model_dump(), **_generation(self.config)}
        test = texts if texts.params.get("kind") in HELD_OUT else self.task
        inputs = {"classifier": classifier, "task": test}
        return Node("predictions", classifier.name, params, inputs)

    def shown(self) -> Node:
        """The training set that table 2 looks at: that of Q->RA, or else of the first arm."""
        arms = self.config.arms
        part = roles(_arms(self.config))["Q->RA"]
        return self._training_set(arms[part or next(iter(arms))], self.task)

    def _classifier(self, name: str, seed: int, texts: Node) -> Node:
        config, arm = self.config, self.config.arms[name]
        params: dict[str, Any] = {
            **self._form(arm),
            "label_weight": arm.label_weight,
            "recipe": config.classifier.recipe.model_dump(),
            "seed": seed,
            "match": {},
            **_training_arithmetic(config),
        }
        inputs = {
            "base": self._base(texts), "task": self.task,
            "training_set": self._training_set(arm, texts),
        }  # fmt: skip
        if arm.match is not None:
            for what, other in arm.match.model_dump(exclude={"by"}).items():
                if other is not None:
                    params["match"][what] = self._form(config.arms[other])
                    inputs[f"match {what}"] = self._training_set(config.arms[other], texts)
            params["match"] |= {"by": arm.match.by} if arm.match.steps else {}
        regime = f"-{texts.name}" if texts is not self.task else ""
        return Node(
            "classifier", f"{name}{regime}-seed{seed}", params, inputs, _training_settings(config)
        )

    def _base(self, texts: Node) -> Node:
        """The base model; another one where it would have read the part that is held out."""
        if texts.params.get("kind") in HELD_OUT and "task" in self.base.inputs:
            return _base(self.config, self._contents, texts, self.triples)
        return self.base

    def _form(self, arm: Arm) -> dict[str, Any]:
        """How an arm is asked and what it answers."""
        system = self.config.task.system if arm.system else ""
        return {
            "chat": {"system": system, "date_string": self.config.date_string},
            "target": arm.target,
            "separator": getattr(self.config.classifier.separators, arm.target, None),
        }

    def _training_set(self, arm: Arm, texts: Node) -> Node:
        if not arm.reasoned:
            return Node("training_set", "text_label", {}, {"task": texts})
        source = arm.reasons or "reasonings"
        inputs = {"task": texts, "reasonings": self._reasonings(source, texts)}
        parts = [arm.perturb, arm.reasons, "text_reasoning_label"]
        params: dict[str, Any] = {}
        if arm.perturb is not None:
            params, inputs["base"] = {"perturb": arm.perturb}, self._base(texts)
        return Node("training_set", "_".join(filter(None, parts)), params, inputs)

    def _reasonings(self, source: str, texts: Node) -> Node:
        """The reasonings of the section `reasonings`, or of one of `other_reasonings`.

        Texts with other labels than the task's get their own. Keywords are always those of the very
        texts, since more would tell of labels that a regime withholds.
        """
        config, inputs = self.config, {"task": self.task}
        section = config.reasons(source)
        if isinstance(section, Keywords):
            inputs = {"task": texts}
        elif texts.params.get("kind") == "label_noise" and isinstance(section, Sampling | Asked):
            inputs = {"task": texts, "known": self._reasonings(source, self.task)}
        params: dict[str, Any] = section.model_dump()
        settings: dict[str, Any] = {}
        name = "imported"
        if isinstance(section, Sampling):
            name, params = self.base.name, params | _generation(config)
            inputs["reasoner"] = self._reasoner() if isinstance(section, Written) else self.base
        elif isinstance(section, Asked):
            name = section.endpoint
            params["endpoint"], settings = _endpoint(config, section.endpoint)
        elif isinstance(section, ImportedFile):
            settings["path"] = params.pop("path")
            params["content"] = self._contents[_section_path(source)]
            settings["contents"] = {settings["path"]: params["content"]}
        elif isinstance(section, Column | Keywords):
            name = section.kind
        whole = Node("reasonings", name, params, inputs, settings)
        sharing = isinstance(section, Sampling) and config.shards > 1
        return _gathered(whole, config.shards) if sharing else whole

    def _reasoner(self) -> Node:
        config = self.config
        assert self.triples is not None  # the config was refused otherwise
        tokens = Node(
            "tokens",
            self.base.name,
            {"max_length": config.reasoner.recipe.max_length},
            {"base": self.base, "triples": self.triples},
            {"threads": config.compute.threads},
        )
        return Node(
            "reasoner",
            self.base.name,
            config.reasoner.model_dump() | _training_arithmetic(config),
            {"base": self.base, "tokens": tokens},
            _training_settings(config),
        )


def _gathered(whole: Node, count: int) -> Node:
    """A node of reasonings that so many others write, each its part of the rows."""
    shards = {
        f"shard {number}": replace(
            whole,
            name=f"{whole.name}-shard-{number}-of-{count}",
            params=whole.params | {"shard": [number, count]},
        )
        for number in range(1, count + 1)
    }
    texts = {role: node for role, node in whole.inputs.items() if role != "reasoner"}
    return replace(whole, inputs=texts | shards)


def _in_regimes(config: Experiment) -> list[str]:
    """The arms that regimes train: those that are named, or compared, or else all."""
    named = config.regimes.arms if config.regimes else None
    return named or [name for pair in compared(config)[:1] for name in pair] or list(config.arms)


def _of_true_labels(config: Experiment) -> list[str]:
    """The sources of reasonings that regimes need, and that nobody can write for other labels."""
    arms = {name: config.arms[name] for name in _in_regimes(config)}
    return [
        source
        for source in _sources(arms)
        if not isinstance(config.reasons(source), Sampling | Asked | Keywords)
    ]


def _notes(config: Experiment) -> list[str]:
    notes = []
    reasoner = any(isinstance(config.reasons(source), Written) for source in _sources(config.arms))
    base = isinstance(config.base, Scratch) and "triples" in config.base.corpus
    learners = ["the base model"] * base + ["the reasoner"] * reasoner
    own = not isinstance(config.task.source, GeneratedTask | Riddles)
    generated = config.triples and isinstance(config.triples.source, GeneratedTriples)
    if own and generated and learners:
        notes.append(
            f"{' and '.join(learners)} will learn from the default's generated triples, which say"
            " nothing about your texts: set triples (docs/own-data.md)"
        )
    given = _of_true_labels(config) if config.regimes and config.regimes.label_noise else []
    if given:
        notes.append(
            f"no regime has wrong labels: {' and '.join(given)} would still argue for the true ones"
        )
    return notes


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
    yield from _data_files(config)
    base = config.base
    if isinstance(base, Folder):
        yield "base.path", base.path
    if isinstance(base, Scratch):
        for index, entry in enumerate(base.corpus):
            if entry not in PARTS:
                yield f"base.corpus[{index}]", entry
    for source in _sources(config.arms):
        section = config.reasons(source)
        if isinstance(section, ImportedFile):
            yield _section_path(source), section.path


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


def _section_path(source: str) -> str:
    """The key of the file that a source of reasonings is read from."""
    return "reasonings.path" if source == "reasonings" else f"other_reasonings.{source}.path"


def _sources(arms: Mapping[str, Arm]) -> list[str]:
    """The sources of reasonings that arms need."""
    named = [arm.reasons or "reasonings" for arm in arms.values() if arm.reasoned]
    return list(dict.fromkeys(named))


def _conversations(config: Experiment, contents: dict[str, str]) -> Node | None:
    section = config.conversations
    if section is None:
        return None
    params: dict[str, Any] = section.model_dump()
    settings: dict[str, Any] = {"files": {}, "contents": {}}
    for name, talk in section.sources.items():
        if isinstance(talk.source, TalkFiles):
            where = f"conversations.sources.{name}.source.paths"
            paths = talk.source.paths
            read = [contents[f"{where}[{index}]"] for index in range(len(paths))]
            params["sources"][name]["source"] = {"kind": "files", "files": read}
            settings["files"][name] = paths
            settings["contents"] |= dict(zip(paths, read, strict=True))
    return Node("conversations", "pairs", params, settings=settings)


def _ratings(config: Experiment, contents: dict[str, str]) -> Node | None:
    """What all judges together make of the conversations, where the task is made of it."""
    pairs, judging = _conversations(config, contents), config.judging
    if not isinstance(config.task.source, Judged) or not (pairs and judging):
        return None
    asking = judging.model_dump(include={"max_new_tokens", "temperature", "seed"})
    inputs = {"conversations": pairs}
    for name, judge in judging.judges.items():
        # A simulated judge reads no words of ours.
        params: dict[str, Any] = {
            "judge": judge.model_dump(),
            "styles": judging.styles,
            "dimensions": {part: {} for part in judging.dimensions},
            "seed": judging.seed,
        }
        settings: dict[str, Any] = {}
        if isinstance(judge, AskedJudge):
            params |= asking
            params["dimensions"] = {
                part: one.model_dump() for part, one in judging.dimensions.items()
            }
            params["judge"]["endpoint"], settings = _endpoint(config, judge.endpoint)
        inputs[f"judge {name}"] = Node(
            "judgments", name, params, {"conversations": pairs}, settings
        )
    params, settings = {"dimensions": list(judging.dimensions), "merger": None}, {}
    if judging.merger is not None:
        params |= asking
        params["merger"], settings = _endpoint(config, judging.merger)
    return Node("ratings", "merged", params, inputs, settings)


def _task(config: Experiment, contents: dict[str, str], ratings: Node | None) -> Node:
    section = config.task
    source = section.source
    params: dict[str, Any] = {
        "source": source.model_dump(), "columns": {}, "labels": section.labels,
        "rows": section.rows.model_dump(), "split": None,
        "scale": section.scale and section.scale.model_dump(),
    }  # fmt: skip
    settings: dict[str, Any] = {}
    inputs = {"ratings": ratings} if ratings else {}
    if isinstance(source, Riddles):
        params["columns"] = {"reasoning": "reasoning"}
    elif isinstance(source, Judged):
        params["columns"] = JUDGED
    elif not isinstance(source, GeneratedTask):
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
    return Node("task", _told(source), params, inputs, settings)


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
        content = base.model_dump(exclude={"path"}) | {"content": contents["base.path"]}
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
    told = task.inputs["task"] if task.stage == "regime" else task
    params["reasoned"] = bool("task" in inputs and told.params["columns"].get("reasoning"))
    read = {path: contents[f"base.corpus[{base.corpus.index(path)}]"] for path in files}
    settings = {"files": files, "contents": read, **_training_settings(config)}
    return Node("base", "scratch", params, inputs, settings)


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


def _generation(config: Experiment) -> dict[str, Any]:
    """What the arithmetic of writing and scoring depends on."""
    return {
        "engine": config.engine,
        "compute": config.compute.model_dump(include=WRITING),
    }


def _training_arithmetic(config: Experiment) -> dict[str, Any]:
    return {"compute": config.compute.model_dump()}


def _training_settings(config: Experiment) -> dict[str, Any]:
    return {"checkpoint_steps": config.checkpoint_steps, "trackers": config.trackers}


def _setting(config: Experiment) -> dict[str, str]:
    """What produced our numbers, in the words that the fidelity table compares."""
    # Imported reasonings stand in for what a reasoner would have made of the triples.
    reasons: Any = config.reasonings
    if isinstance(reasons, Written) and config.triples is not None:
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
