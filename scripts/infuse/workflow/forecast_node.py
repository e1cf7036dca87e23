"""What the forecast looks at: trainings and writings of a plan, and what tells their lengths."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
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
    answers = _alike(node for node in own if node.stage == "predictions")
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
        "writings": [*_reasonings(plan), *map(_answers, answers)],
    }
    return Node("forecast", plan.experiment, params, inputs, folder=f"results/{plan.experiment}")


def _alike(nodes: Iterable[Node]) -> Collection[list[Node]]:
    """Nodes that are alike but for the seed, together."""
    alike = defaultdict[tuple[str, str], list[Node]](list)
    for node in nodes:
        alike[node.stage, _name(node)].append(node)
    return alike.values()


def _name(node: Node) -> str:
    """A node's name without its seed."""
    return node.name.rpartition("-seed")[0] or node.name


def _reasonings(plan: Plan) -> Iterator[dict[str, Any]]:
    """What a model writes here, by the name of its section in the config; what is alike, once."""
    told = set[str]()
    for role, source in plan.arms.inputs.items():
        if source.stage != "reasonings" or source.params["kind"] not in WRITERS:
            continue
        if source.path not in told:
            told.add(source.path)
            params = source.inputs.get("shard 1", source).params  # the first of all that share it
            name = role.removeprefix("reasonings ")
            yield {"stage": source.stage, "name": name, "runs": 1, "params": params}


def _answers(seeds: list[Node]) -> dict[str, Any]:
    """The answers of an arm, once for each of its seeds, and how its classifiers are asked."""
    first = seeds[0]
    asked = first.inputs["classifier"].params
    form = {part: asked[part] for part in TargetForm.model_fields}
    return {
        "stage": first.stage, "name": _name(first), "runs": len(seeds), "params": first.params,
        "form": form,
    }  # fmt: skip


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
