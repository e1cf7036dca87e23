"""What the forecast looks at: trainings and writings of a plan, and what tells their lengths."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from infuse.config.experiment import Experiment
from infuse.config.model_params import TargetForm
from infuse.workflow.node import Node, reached
from infuse.workflow.plan import TRAINED, Plan

WRITERS = ("reasoner", "base")  # kinds of reasonings that a model writes here


def node(plan: Plan, config: Experiment) -> Node:
    """The forecast of the arms' trainings and writings, not of regimes, held-out parts, controls.

    It is another one as soon as a training set is here that was not.
    """
    own = reached(plan.arms.inputs["metrics"]).values()
    trainings = _alike(node for stage in TRAINED for node in own if node.stage == stage)
    writings = _alike(
        node
        for stage in ("reasonings", "predictions")
        for node in own
        if node.stage == stage and node.params.get("kind", WRITERS[0]) in WRITERS
        if "shard" not in node.params
    )
    inputs = {"task": plan.arms.inputs["task"]}
    for seeds in trainings:
        for source in seeds[0].inputs.values():
            if source.stage != "training_set" or Path(source.path).is_dir():
                inputs[_role(source)] = source
    params = {
        "gpu": config.gpu,
        "gpu_price": config.gpu_price,
        "distributed": config.distributed.model_dump(),
        "trainings": [_training(seeds) for seeds in trainings],
        "writings": [_writing(seeds) for seeds in writings],
    }
    return Node("forecast", plan.experiment, params, inputs, folder=f"results/{plan.experiment}")


def _alike(nodes: Iterable[Node]) -> Collection[list[Node]]:
    """Nodes that are alike but for the seed, together."""
    alike = defaultdict[tuple[str, str], list[Node]](list)
    for node in nodes:
        alike[node.stage, node.name.rpartition("-seed")[0] or node.id].append(node)
    return alike.values()


def _name(node: Node) -> str:
    """A node's name without its seed."""
    return node.name.rpartition("-seed")[0] or node.name


def _writing(seeds: list[Node]) -> dict[str, Any]:
    """What is written, once for each of its seeds; of answers, how their classifiers are asked."""
    first = seeds[0]
    told = {"stage": first.stage, "name": _name(first), "runs": len(seeds), "params": first.params}
    if first.stage == "predictions":
        asked = first.inputs["classifier"].params
        told["form"] = {part: asked[part] for part in TargetForm.model_fields}
    return told


def _role(source: Node) -> str:
    """How an input of a training is called among those of the forecast."""
    return f"training_set {source.id}" if source.stage == "training_set" else source.stage


def _training(seeds: list[Node]) -> dict[str, Any]:
    """A training with each of its seeds, and of each training set its name among the inputs and its
    longest reasoning.
    """
    first = seeds[0]
    sets = {role: source for role, source in first.inputs.items() if source.stage == "training_set"}
    limits = {
        role: source.inputs["reasonings"].params.get("max_new_tokens")
        if "reasonings" in source.inputs
        else 0
        for role, source in sets.items()
    }
    return {
        "stage": first.stage, "name": _name(first), "runs": len(seeds), "params": first.params,
        "sets": {role: _role(source) for role, source in sets.items()}, "limits": limits,
    }  # fmt: skip
