"""What the forecast looks at: the trainings of a plan, and the files that tell their lengths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infuse.workflow.node import Node, reached
from infuse.workflow.plan import Plan

WRITERS = ("reasoner", "base")  # kinds of reasonings that a model writes here


def node(plan: Plan, gpu: str | None) -> Node:
    """The forecast of the arms' trainings and writings, not of regimes, held-out parts, controls.

    It is another one as soon as a training set is here that was not.
    """
    alike: dict[tuple[str, str], list[Node]] = {}
    for one in sorted(plan.own, key=lambda one: one.stage != "reasoner"):
        if one.stage != "training_set":
            name = one.name.rpartition("-seed")[0] or one.name
            alike.setdefault((one.stage, name), []).append(one)
    writings = [
        {"stage": one.stage, "name": one.name, "params": one.params}
        for one in reached(plan.arms.inputs["metrics"]).values()
        if one.params.get("kind") in WRITERS and "shard" not in one.params
    ]
    inputs = {"task": plan.arms.inputs["task"]}
    for ones in alike.values():
        for source in ones[0].inputs.values():
            if source.stage != "training_set" or Path(source.path).is_dir():
                inputs[_role(source)] = source
    trainings = [_told(*kind, len(ones), ones[0]) for kind, ones in alike.items()]
    params = {"gpu": gpu, "trainings": trainings, "writings": writings}
    return Node("forecast", plan.experiment, params, inputs, folder=f"results/{plan.experiment}")


def _role(source: Node) -> str:
    """How an input of a training is called among those of the forecast."""
    return f"training_set {source.id}" if source.stage == "training_set" else source.stage


def _told(stage: str, name: str, runs: int, one: Node) -> dict[str, Any]:
    """A training, and of each training set its name among the inputs and its longest reasoning."""
    sets = {role: source for role, source in one.inputs.items() if source.stage == "training_set"}
    limits = {
        role: source.inputs["reasonings"].params.get("max_new_tokens")
        if "reasonings" in source.inputs
        else 0
        for role, source in sets.items()
    }
    return {
        "stage": stage, "name": name, "runs": runs, "params": one.params,
        "sets": {role: _role(source) for role, source in sets.items()}, "limits": limits,
    }  # fmt: skip
