"""The plan: one pure function from config to a graph of artifacts, from which all paths follow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from infuse.config.arms import AnyArm, ZeroShotArm, roles
from infuse.config.experiment import DEFAULTS, Experiment, load, read_change
from infuse.config.messages import refusal
from infuse.config.reasonings import Written
from infuse.config.revisions import pinned
from infuse.core.errors import UserError
from infuse.data.targets import EXPLAINED, ZERO_SHOT
from infuse.workflow.compared_arms import compared
from infuse.workflow.graph import Graph
from infuse.workflow.local_files import PARTS, contents_of_files
from infuse.workflow.node import Node, reached
from infuse.workflow.notes import notes

TRAINED = ("reasoner", "classifier")  # whoever trained one lets it write, in the same process


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
    layers: Node
    browse: Node
    verdict: Node
    notes: list[str]

    @cached_property
    def nodes(self) -> dict[tuple[str, str], Node]:
        """All nodes by (stage, id), inputs before those that need them."""
        return reached(*self.last, self.layers, self.browse, self.verdict)

    @property
    def last(self) -> tuple[Node, ...]:
        """The nodes that people read, but for those which need every classifier itself."""
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
        trained = reached(self.arms.inputs["metrics"]).values()
        return [node for node in trained if node.stage in stages]

    @property
    def example(self) -> Node:
        """The classifier to try first: one that reasons, if there is one."""
        classifiers = [node for node in self.own if node.stage == "classifier"]
        return next(
            (node for node in classifiers if node.params["target"] in EXPLAINED), classifiers[0]
        )

    def write_specs(self) -> None:
        """Write each node's spec to its file."""
        following = defaultdict[str, list[Node]](list)
        for node in self.nodes.values():
            # What other jobs share, or another engine writes, is not for the job that trained.
            if node.params.get("backend") == "transformers" and "shard" not in node.params:
                for source in node.inputs.values():
                    following[source.path].append(node)
        for node in self.nodes.values():
            node.write_spec(following[node.path] if node.stage in TRAINED else ())


def build(config: Experiment, places: Sequence[Path] = ()) -> Plan:
    """The plan of an experiment.

    Args:
        places: where a user may think that the paths of the config begin.

    Raises:
        UserError: files that the config names do not exist, one line for each.
    """
    graph = Graph(config, contents_of_files(config, places))
    arms: dict[str, AnyArm] = {**config.arms}
    if config.zero_shot is not None:
        arms[ZERO_SHOT] = ZeroShotArm()
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
        | graph.sources()
        | {f"regime {kind} {value:.15g}": node for (kind, value), node in points.items()}
        | {f"control {name}": node for name, (_, node) in controls.items()},
    )
    quality = graph.quality(every) if config.task.scale else None
    return Plan(
        config.experiment, metrics, tables, figures, last, quality, graph.layers(),
        graph.browse(every), graph.verdict(every), notes(config),
    )  # fmt: skip


def _controls(config: Experiment) -> dict[str, tuple[Experiment, Node]]:
    """The experiments whose result is known, by name, with the numbers of their arms.

    They run with the arithmetic of the experiment that they stand beside, and on transformers: vLLM
    takes no heads as small as theirs.

    Raises:
        UserError: one can't be read, does not say what is expected of it, or has another's name.
    """
    instrument = config.model_dump(include={"compute", "checkpoint_steps", "trackers"})
    controls: dict[str, tuple[Experiment, Node]] = {}
    for index, path in enumerate(config.controls):
        own = Path(path)
        where, file = f"controls[{index}]: {path}", own if own.exists() else DEFAULTS.parent / path
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
        if control.experiment in controls:
            expected = f"expected an experiment of its own, found {control.experiment!r} twice"
            raise refusal([f"{where}: {expected}"])
        graph = Graph(control, contents_of_files(control))
        controls[control.experiment] = control, graph.metrics(control.arms, compared(control))
    return controls


def _setting(config: Experiment) -> dict[str, str]:
    """What produced our numbers, in the words that the fidelity table compares."""
    # Imported reasonings stand in for what a reasoner would have made of the triples.
    reasons: Any = config.reasonings
    part = ""
    if isinstance(reasons, Written) and config.triples is not None:
        reasons = config.triples.source
        if config.triples.rows or config.triples.max_reasoning_characters:
            part = "a part of "
    asked = config.zero_shot and config.endpoints[config.zero_shot.endpoint].model
    return {
        "zero_shot_model": asked or "none",
        "base_model": getattr(config.base, "id", config.base.kind),
        "task_data": getattr(config.task.source, "id", config.task.source.kind),
        "triples_data": f"{part}{getattr(reasons, 'id', reasons.kind)}",
    }
