"""experiments/quality.yaml is the second paper's design, read back from what scripts are told."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from infuse import config, plan, revisions
from infuse.plan import Plan

FILE = Path(__file__).parents[1] / "experiments/quality.yaml"
TRAIN = 10_000  # rows, as in the paper
# Any task of ratings: what is held here does not depend on it.
TASK = {
    "source": {"kind": "hub", "id": "them/ratings"},
    "columns": {"text": "text", "label": "label", "reasoning": "explanation"},
    "labels": [1, 2, 3, 4, 5],
}
Params = Mapping[str, Any]


@pytest.fixture(scope="module")
def made() -> Plan:
    change = config.read_change(FILE) | {"task": TASK}
    return plan.build(revisions.filled(config.load(change), lambda *_: "0" * 40))


# What the paper tells of its student, then our choices for what it does not tell.
TABLE: dict[str, tuple[Any, Callable[[Params], Any]]] = {
    "bits": (4, lambda p: p["recipe"]["tuning"]["bits"]),
    "tuning": ("lora", lambda p: p["recipe"]["tuning"]["kind"]),
    "rank": (16, lambda p: p["recipe"]["tuning"]["rank"]),
    "alpha": (32, lambda p: p["recipe"]["tuning"]["alpha"]),
    "dropout": (0.05, lambda p: p["recipe"]["tuning"]["dropout"]),
    "modules": (["all-linear"], lambda p: p["recipe"]["tuning"]["modules"]),
    "learning rate": (2e-4, lambda p: p["recipe"]["learning_rate"]),
    "schedule": ("cosine", lambda p: p["recipe"]["schedule"]),
    "arithmetic": (
        ("cuda", "bfloat16", "packed"),
        lambda p: tuple(p["compute"][part] for part in ("device", "dtype", "layout")),
    ),
}


@pytest.mark.parametrize("setting", sorted(TABLE))
def test_each_classifier_is_trained_so(made: Plan, setting: str) -> None:
    expected, found = TABLE[setting]
    assert all(found(node.params) == expected for node in made.stage("classifier"))


def test_the_student_is_the_papers(made: Plan) -> None:
    (base,) = made.stage("base")
    told = {part: base.params[part] for part in ("id", "pad_token", "chat_template")}
    assert told == {
        "id": "mistralai/Mistral-7B-v0.1", "pad_token": "<unk>", "chat_template": "plain"
    }  # fmt: skip
    assert not list(made.stage("triples")) and not list(made.stage("reasoner"))
    assert {node.params["kind"] for node in made.stage("reasonings")} == {"column"}


def test_the_warm_up_is_three_hundredths_of_the_steps(made: Plan) -> None:
    for node in made.stage("classifier"):
        recipe = node.params["recipe"]
        assert recipe["batching"]["kind"] == "rows"  # else arms would differ in their steps
        steps = recipe["epochs"] * math.ceil(TRAIN / recipe["batching"]["rows"])
        assert recipe["warmup_steps"] == round(0.03 * steps)


def test_each_target_is_learned_with_and_without_the_instruction(made: Plan) -> None:
    """By three seeds; pseudo-explanations are made of the explanations' own words."""
    found = {}
    for node in made.stage("classifier"):
        name, _, seed = node.name.rpartition("-seed")
        learned = node.inputs["training_set"].params.get("perturb")
        form = node.params["target"], learned, bool(node.params["chat"]["system"])
        found.setdefault(name, form)
        assert found[name] == form and seed in "123"
    targets = [
        ("label", None), ("label_reason", None),
        ("label_reason", "shuffle"), ("label_reason", "bag_of_words"),
    ]  # fmt: skip
    assert sorted(found.values(), key=str) == sorted(
        ((*target, told) for target in targets for told in (True, False)), key=str
    )
    assert len(list(made.stage("classifier"))) == 3 * 8
    arms = {name.removesuffix("_bare") for name in found}
    assert arms == {"label", "label_explanation", "label_shuffled", "label_bag"}
