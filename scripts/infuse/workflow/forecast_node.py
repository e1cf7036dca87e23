"""What the forecast looks at: the trainings of a plan, and the files that tell their lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infuse.config.experiment import Experiment
from infuse.workflow.node import Node, reached
from infuse.workflow.plan import Plan

WRITERS = ("reasoner", "base")  # kinds of reasonings that a model writes here


def node(plan: Plan, config: Experiment) -> Node:
    """The forecast of the arms' trainings and writings, not of regimes, held-out parts, controls.

    It is another one as soon as a training set is here that was not.
    """
    trainings: dict[tuple[str, str], list[Node]] = {}
    for planned in sorted(plan.own, key=lambda planned: planned.stage != "reasoner"):
        if planned.stage != "training_set":
            name = planned.name.rpartition("-seed")[0] or planned.name
            trainings.setdefault((planned.stage, name), []).append(planned)
    writings = [
        {"stage": planned.stage, "name": planned.name, "params": planned.params}
        for planned in reached(plan.arms.inputs["metrics"]).values()
        if planned.params.get("kind") in WRITERS and "shard" not in planned.params
    ]
    inputs = {"task": plan.arms.inputs["task"]}
    for seeds in trainings.values():
        for source in seeds[0].inputs.values():
            if source.stage != "training_set" or Path(source.path).is_dir():
                inputs[_role(source)] = source
    params = {
        "gpu": config.gpu,
        "gpu_price": config.gpu_price,
        "distributed": config.distributed.model_dump(),
        "trainings": [_training(name, seeds) for (_, name), seeds in trainings.items()],
        "writings": writings,
    }
    return Node("forecast", plan.experiment, params, inputs, folder=f"results/{plan.experiment}")


def _role(source: Node) -> str:
    """How an input of a training is called among those of the forecast."""
    return f"training_set {source.id}" if source.stage == "training_set" else source.stage


def _training(name: str, seeds: list[Node]) -> dict[str, Any]:
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
        "stage": first.stage, "name": name, "runs": len(seeds), "params": first.params,
        "sets": {role: _role(source) for role, source in sets.items()}, "limits": limits,
    }  # fmt: skip
