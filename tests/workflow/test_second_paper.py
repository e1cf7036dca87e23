"""experiments/quality.yaml is the second paper's design, read back from what scripts are told."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from infuse.config import experiment, revisions
from infuse.workflow import plan
from infuse.workflow.plan import Plan

FILE = Path(__file__).parents[2] / "experiments/quality.yaml"
SOURCES = {
    "chatbot_arena", "hh_rlhf_chosen", "hh_rlhf_rejected", "amazon_qa", "coqa", "cornell"
}  # fmt: skip
DIMENSIONS = ["naturalness", "comprehensiveness", "on_topic"]
Params = Mapping[str, Any]


@pytest.fixture(scope="module")
def graph() -> Plan:
    change = experiment.load(experiment.read_change(FILE))
    return plan.build(revisions.filled(change, lambda *_: "0" * 40))


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
def test_each_classifier_is_trained_so(graph: Plan, setting: str) -> None:
    expected, read_setting = TABLE[setting]
    assert all(read_setting(node.params) == expected for node in graph.stage("classifier"))


def test_the_student_is_the_papers(graph: Plan) -> None:
    (base,) = graph.stage("base")
    identity = {part: base.params[part] for part in ("id", "pad_token", "chat_template")}
    assert identity == {
        "id": "mistralai/Mistral-7B-v0.1", "pad_token": "<unk>", "chat_template": "plain"
    }  # fmt: skip
    assert not list(graph.stage("triples")) and not list(graph.stage("reasoner"))
    assert {node.params["kind"] for node in graph.stage("reasonings")} == {"column"}


def test_six_sources_give_ten_and_five_thousand_conversations(graph: Plan) -> None:
    (pairs,) = graph.stage("conversations")
    assert pairs.params["sources"].keys() == SOURCES
    rows = {split: count * len(SOURCES) for split, count in pairs.params["rows"].items()}
    assert abs(rows["train"] - 10_000) < 6 and abs(rows["test"] - 5_000) < 6


def test_three_judges_ask_in_four_styles_and_one_merges(graph: Plan) -> None:
    """Twelve ratings of each conversation on each dimension."""
    asked = list(graph.stage("judgments"))
    assert {node.name for node in asked} == {"titan", "mixtral", "mistral"}
    for node in asked:
        assert len(node.params["styles"]) == 4 and sorted(node.params["dimensions"]) == sorted(
            DIMENSIONS
        )
    (ratings,) = graph.stage("ratings")
    assert ratings.params["dimensions"] == DIMENSIONS
    assert ratings.params["merger"]["model"].startswith("mistralai/Mixtral-8x7B")


def test_every_source_is_held_out_once(graph: Plan) -> None:
    """Those with the same contexts together."""
    held = [name for node in graph.stage("regime") for name in node.params["value"]]
    assert sorted(held) == sorted(SOURCES) and graph.quality is not None
    assert len([role for role in graph.quality.inputs if role.startswith("without ")]) == 5 * 2 * 3
    together = {"hh_rlhf_chosen", "hh_rlhf_rejected"}
    assert together in [set(node.params["value"]) for node in graph.stage("regime")]


def test_what_is_held_out_is_not_read_before() -> None:
    """Where the base learns its language from the task, it has not read the part either."""
    change = experiment.read_change(FILE.with_name("quality-small.yaml"))
    for held in ({"sources": ["shop", "help_chosen"]}, {"sources": None, "folds": 2}):
        held |= {"arms": ["label", "label_shuffled"]}
        graph = plan.build(experiment.load(change | {"held_out": held}))
        assert graph.quality is not None
        tried = [node for role, node in graph.quality.inputs.items() if role.startswith("without ")]
        assert len(tried) == 2 * 2 * 2
        for answers in tried:
            classifier = answers.inputs["classifier"]
            read = [classifier.inputs["base"], classifier.inputs["training_set"]]
            for source in read:
                assert source.inputs["task"].stage == "regime"
                assert source.inputs["task"] == answers.inputs["task"]
            assert read[1].inputs.get("base", read[0]) == read[0]


def test_fetch_asks_no_judge(graph: Plan) -> None:
    assert {node.stage for node in graph.fetched} == {"conversations", "base"}


def test_the_warm_up_is_three_hundredths_of_the_steps(graph: Plan) -> None:
    for node in graph.stage("classifier"):
        recipe = node.params["recipe"]
        assert recipe["batching"]["kind"] == "rows"  # else arms would differ in their steps
        (pairs,) = graph.stage("conversations")
        ratings = pairs.params["rows"]["train"] * len(SOURCES) * len(DIMENSIONS)
        steps = recipe["epochs"] * math.ceil(ratings / recipe["batching"]["rows"])
        assert recipe["warmup_steps"] == round(0.03 * steps)


def test_each_target_is_learned_with_and_without_the_instruction(graph: Plan) -> None:
    """By three seeds; pseudo-explanations are made of the explanations' own words."""
    forms = {}
    trained = [node for node in graph.own if node.stage == "classifier"]
    for node in trained:
        name, _, seed = node.name.rpartition("-seed")
        learned = node.inputs["training_set"].params.get("perturb")
        form = node.params["target"], learned, bool(node.params["chat"]["system"])
        forms.setdefault(name, form)
        assert forms[name] == form and seed in "123"
    targets = [
        ("label", None), ("label_reason", None),
        ("label_reason", "shuffle"), ("label_reason", "bag_of_words"),
    ]  # fmt: skip
    assert sorted(forms.values(), key=str) == sorted(
        ((*target, instructed) for target in targets for instructed in (True, False)), key=str
    )
    assert len(trained) == 3 * 8
    arms = {name.removeprefix("bare_") for name in forms}
    assert arms == {"label", "label_explanation", "label_shuffled", "label_bag"}
