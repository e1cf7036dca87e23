"""experiments/paper.yaml is the paper's, value by value, read back from what scripts are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infuse.config import experiment, revisions
from infuse.config.recipe import Recipe
from infuse.evaluation import fidelity
from infuse.training import batching
from infuse.workflow import plan
from infuse.workflow.node import Node
from infuse.workflow.plan import Plan

ROOT = Path(__file__).parents[2]
PAPER, ADEQUATE = (ROOT / f"experiments/{name}.yaml" for name in ("paper", "adequate"))
Params = Mapping[str, Any]


def planned(*files: Path) -> Plan:
    """The plan of experiment files on top of each other, with a commit for what is on the hub."""
    change: dict[str, Any] = {}
    for file in files:
        change = experiment.merge(change, experiment.read_change(file))
    return plan.build(revisions.filled(experiment.load(change), lambda *_: "0" * 40))


def node_of(graph: Plan, stage: str, name: str = "") -> Node:
    return next(node for node in graph.stage(stage) if node.name.startswith(name))


# Tables A.1 and A.2: the value for the reasoner, for the classifiers, and where it stands here. A
# micro-batch is packed as one sequence.
TABLE: dict[str, tuple[Any, Any, Callable[[Params], Any]]] = {
    "learning rate": (2e-5, 2e-5, lambda p: p["recipe"]["learning_rate"]),
    "optimizer": ("paged_adamw_8bit",) * 2 + (lambda p: p["recipe"]["optimizer"],),
    "schedule": ("cosine", "cosine", lambda p: p["recipe"]["schedule"]),
    "warm-up steps": (100, 10, lambda p: p["recipe"]["warmup_steps"]),
    "weight decay": (0.0, 0.0, lambda p: p["recipe"]["weight_decay"]),
    "gradient accumulation": (8, 8, lambda p: p["recipe"]["batching"]["bins"]),
    "micro-batch size": (
        1, 2, lambda p: p["recipe"]["batching"]["bin_tokens"] / p["recipe"]["max_length"],
    ),
    "effective batch size": (
        8, 16,
        lambda p: p["recipe"]["batching"]["bins"] * p["recipe"]["batching"]["bin_tokens"]
        / p["recipe"]["max_length"],
    ),
    "epochs": (1, 1, lambda p: p["recipe"]["epochs"]),
    "maximum sequence length": (16384, 8192, lambda p: p["recipe"]["max_length"]),
    "sample packing": (True, True, lambda p: p["recipe"]["batching"]["kind"] == "tokens"),
    "documents of a bin, by the framework's default": (
        200, 200, lambda p: p["recipe"]["batching"]["bin_rows"],
    ),
    "whole steps alone, by the framework's default": (
        True, True, lambda p: p["recipe"]["batching"]["drop_last"],
    ),
    "pad to length": (True, True, lambda p: p["compute"]["compile"]),
    "a pass is one bin": (
        True, True,
        lambda p: p["compute"]["micro_tokens"] == p["recipe"]["batching"]["bin_tokens"],
    ),
    "bf16": (
        ("bfloat16", "bfloat16"), ("bfloat16", "bfloat16"),
        lambda p: (p["compute"]["dtype"], p["recipe"]["weights"]),
    ),
    "gradient checkpointing": (
        "always", "always", lambda p: p["compute"]["gradient_checkpointing"],
    ),
    "flash attention": (
        ("cuda", "packed"), ("cuda", "packed"),
        lambda p: (p["compute"]["device"], p["compute"]["layout"]),
    ),
    "evaluations per epoch": (2, 2, lambda p: p["recipe"]["evaluations_per_epoch"]),
    "tuning": ("full", "full", lambda p: p["recipe"]["tuning"]["kind"]),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_recipes_are_the_papers(name: str) -> None:
    reasoner, classifier, read = TABLE[name]
    graph = planned(PAPER)
    assert read(node_of(graph, "reasoner").params) == reasoner
    for node in graph.stage("classifier"):
        assert read(node.params) == classifier


def test_models_and_data_are_the_papers() -> None:
    graph = planned(PAPER)
    base, task, triples = (node_of(graph, stage).params for stage in ("base", "task", "triples"))
    assert (base["id"], base["pad_token"]) == (
        "meta-llama/Llama-3.2-1B-Instruct", "<|end_of_text|>"
    )  # fmt: skip
    assert (task["source"]["id"], task["source"]["config"]) == ("dair-ai/emotion", "split")
    assert (triples["source"]["id"], triples["train_share"]) == ("syvai/reasoning-gen", 0.8)
    assert task["labels"] == ["sadness", "joy", "love", "anger", "fear", "surprise"]
    chat = node_of(graph, "classifier").params["chat"]
    assert chat == {"system": "Find the emotion in the text.", "date_string": "26 Jul 2024"}
    tables = node_of(graph, "tables").params
    assert tables["setting"] | {"zero_shot_model": "gpt-4.1", "recipe": "paper"} == {
        part: fidelity.PUBLISHED["setting"][part] for part in fidelity.PUBLISHED["setting"]
    }
    assert fidelity.recipe_name(tables["recipes"]) == "paper"
    assert {node.name.rpartition("-seed")[0] for node in graph.stage("classifier")} == {
        "label", "reason_label", "label_same_steps"
    }  # fmt: skip
    assert node_of(graph, "tokens").params == {"max_length": 16384}


@pytest.mark.parametrize("less", ["rows: 1000", "max_reasoning_characters: 220"])
def test_a_part_of_the_papers_triples_is_not_the_papers(less: str, tmp_path: Path) -> None:
    change = tmp_path / "less.yaml"
    change.write_text(f"triples: {{{less}}}\n")
    setting = node_of(planned(PAPER, change), "tables").params["setting"]
    assert setting["triples_data"] == "a part of syvai/reasoning-gen"


def test_the_adequate_recipe_takes_enough_steps() -> None:
    """A thousand for each pass over 16,000 texts, whatever the arm's targets."""
    graph = planned(PAPER, ADEQUATE)
    for node in graph.stage("classifier"):
        recipe = Recipe.model_validate(node.params["recipe"])
        for longest in (70, 350):
            lengths = np.random.default_rng(0).integers(50, longest, 16_000)
            steps = batching.steps(lengths, recipe.batching, recipe.epochs, 1)
            assert len(steps) == 3000 > 20 * recipe.warmup_steps
    assert fidelity.recipe_name(node_of(graph, "tables").params["recipes"]) == "our own"
    assert node_of(graph, "reasoner").key == node_of(planned(PAPER), "reasoner").key
