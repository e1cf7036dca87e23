"""What the paper published, when a number of ours is held against it, and its own arithmetic."""

from __future__ import annotations

import copy
import hashlib
from itertools import combinations
from typing import Any

import pytest

from infuse.evaluation import fidelity

SETTING = {
    "zero_shot_model": "gpt-4.1",
    "base_model": "meta-llama/Llama-3.2-1B-Instruct",
    "task_data": "dair-ai/emotion",
    "triples_data": "syvai/reasoning-gen",
    "recipe": "paper",
}
TRAINED = {"base_model", "task_data", "triples_data", "recipe"}
MODELS = ("zero-shot", "Q->A", "Q->RA")
ROWS = {"joy": 695, "sadness": 581, "anger": 275, "fear": 224, "love": 159, "surprise": 66}
ACCURACIES = (32.0, 49.7, 58.4)
RECALLS = {
    "sadness": (27.9, 44.3, 63.9),
    "joy": (52.2, 73.5, 75.5),
    "love": (12.5, 21.0, 20.8),
    "anger": (33.3, 40.7, 44.7),
    "fear": (20.4, 32.7, 50.9),
    "surprise": (2.9, 13.8, 1.5),
}
F1 = {"macro": (0.2500, 0.3975, 0.4317), "weighted": (0.3200, 0.4923, 0.5695)}
PUBLISHED = {
    **{f"table 1, {label}, rows": rows for label, rows in ROWS.items()},
    **{f"table 3, {m}, accuracy %": a for m, a in zip(MODELS, ACCURACIES, strict=True)},
    "table 3, improvement, points": 8.7,
    **{
        f"table 4, {model}, {label}, recall %": recall
        for label, recalls in RECALLS.items()
        for model, recall in zip(MODELS, recalls, strict=True)
    },
    **{
        f"table 5, {model}, {kind} F1": score
        for kind, scores in F1.items()
        for model, score in zip(MODELS, scores, strict=True)
    },
}
RECIPE: dict[str, Any] = {  # tables A.1 and A.2 in the form of an experiment's recipe
    "epochs": 1,
    "learning_rate": 2e-5,
    "schedule": "cosine",
    "weight_decay": 0.0,
    "batching": {
        "kind": "tokens", "bin_tokens": 16384, "bin_rows": 200, "bins": 8, "drop_last": True
    },
    "tuning": {"kind": "full"},
    "optimizer": "paged_adamw_8bit",
    "weights": "bfloat16",
    "max_grad_norm": 1.0,
}  # fmt: skip
RECIPES = {
    "reasoner": {**RECIPE, "max_length": 16384, "warmup_steps": 100},
    "classifier": {**RECIPE, "max_length": 8192, "warmup_steps": 10},
}


def judged(
    ours: dict[str, float | None], setting: dict[str, str] = SETTING
) -> dict[str, fidelity.Line]:
    """The lines that compare with a published number, by quantity."""
    return {
        line.quantity: line
        for line in fidelity.fidelity(ours, setting)
        if line.quantity in PUBLISHED
    }


def arithmetic() -> dict[str, fidelity.Line]:
    return {line.quantity: line for line in fidelity.arithmetic()}


def test_every_published_number_is_there() -> None:
    assert {quantity: value for quantity, value, *_ in fidelity.published()} == PUBLISHED
    percents = {name: entry["percent"] for name, entry in fidelity.PUBLISHED["table1"].items()}
    assert percents == {
        "joy": 34.8, "sadness": 29.1, "anger": 13.8, "fear": 11.2, "love": 8.0, "surprise": 3.3
    }  # fmt: skip
    assert fidelity.PUBLISHED["setting"] == SETTING


def test_each_quantity_has_one_line() -> None:
    quantities = [line.quantity for line in fidelity.fidelity({}, SETTING)]
    assert len(quantities) == len(set(quantities)) == len(PUBLISHED) + len(arithmetic())


@pytest.mark.parametrize("sign", [-1, 1])
def test_in_the_papers_setting_the_difference_decides(sign: int) -> None:
    bounds = {quantity: tolerance for quantity, _, tolerance, _ in fidelity.published()}

    def verdicts(excess: float) -> set[str]:
        ours: dict[str, float | None] = {
            quantity: value + sign * (bounds[quantity] + excess)
            for quantity, value in PUBLISHED.items()
        }
        return {line.verdict for line in judged(ours).values()}

    assert verdicts(0) == {"agrees"}
    assert verdicts(1e-3) == {"differs"}


@pytest.mark.parametrize(
    "changed", [changed for size in range(1, 6) for changed in combinations(SETTING, size)]
)
def test_in_another_setting_nothing_that_depends_on_it_is_judged(changed: tuple[str, ...]) -> None:
    setting = SETTING | dict.fromkeys(changed, "scratch")
    for quantity, line in judged(dict(PUBLISHED), setting).items():
        depends = {
            "table 1": {"task_data"}, "zero-shot": {"zero_shot_model", "task_data"},
        }  # fmt: skip
        parts = next((set_ for key, set_ in depends.items() if key in quantity), TRAINED)
        named = "; ".join(
            f"{part.replace('_', ' ')} is scratch, not {SETTING[part]}"
            for part in SETTING
            if part in parts and part in changed
        )
        verdict = "not comparable" if named else "agrees"
        assert (line.verdict, line.note) == (verdict, named)


@pytest.mark.parametrize("base", ["scratch", SETTING["base_model"]])
def test_what_we_have_no_number_of_was_not_run(base: str) -> None:
    ours: dict[str, float | None] = {"table 1, joy, rows": None}
    lines = judged(ours, SETTING | {"base_model": base})
    assert {line.verdict for line in lines.values()} == {"not run"}


def test_arithmetic_is_judged_in_any_setting_and_whatever_we_ran() -> None:
    lines = fidelity.fidelity(dict.fromkeys(PUBLISHED, 0.0), dict.fromkeys(SETTING, "scratch"))
    assert lines[len(PUBLISHED) :] == fidelity.arithmetic()


def test_what_the_published_numbers_say_of_each_other() -> None:
    """Table 4 holds recalls: weighted they give the accuracy, plain they miss macro F1."""
    lines = arithmetic()
    verdicts = {quantity: line.verdict for quantity, line in lines.items()}
    assert {quantity for quantity, verdict in verdicts.items() if verdict != "agrees"} == {
        "accuracy from table 4, zero-shot, %",
        *(f"macro F1 from table 4, {model}, %" for model in MODELS),
    }
    assert set(verdicts.values()) == {"agrees", "differs"}
    for quantity, published, ours in (
        ("table 1, sum of printed shares, %", 100, 100.2),
        ("accuracy from table 4, zero-shot, %", 32.0, 34.20),
        ("accuracy from table 4, Q->A, %", 49.7, 49.79),
        ("accuracy from table 4, Q->RA, %", 58.4, 58.35),
        ("macro F1 from table 4, zero-shot, %", 25.00, 24.87),
        ("macro F1 from table 4, Q->A, %", 39.75, 37.67),
        ("macro F1 from table 4, Q->RA, %", 43.17, 42.88),
        ("hits from table 4, Q->RA", 1167, 371 + 525 + 33 + 123 + 114 + 1),
        ("z of Q->RA against Q->A", 5.52, 5.52),
        ("gain in sadness, Q->RA over Q->A, points", 19.6, 19.6),
        ("gain in anger, Q->RA over Q->A, points", 4.0, 4.0),
        ("gain in fear, Q->RA over Q->A, points", 18.2, 18.2),
        ("gain in accuracy, Q->RA over Q->A, points", 8.7, 8.7),
        ("gain in accuracy, Q->RA over zero-shot, points", 26.4, 26.4),
    ):
        assert lines[quantity].published == pytest.approx(published)
        assert lines[quantity].ours == pytest.approx(ours, abs=0.005)


@pytest.mark.parametrize(
    ("path", "value", "quantity"),
    [
        (("table1", "joy", "percent"), 35.1, "table 1, sum of printed shares, %"),
        (("table4", "Q->RA", "joy"), 76.3, "accuracy from table 4, Q->RA, %"),
        (("table4", "Q->RA", "love"), 21.0, "hits from table 4, Q->RA"),
        (("table4", "Q->A", "fear"), 32.5, "gain in fear, Q->RA over Q->A, points"),
        (("table3", "Q->A"), 49.8, "z of Q->RA against Q->A"),
        (("gains", "accuracy, Q->RA over zero-shot"), 26.5,
         "gain in accuracy, Q->RA over zero-shot, points"),
    ],
)  # fmt: skip
def test_arithmetic_notices_a_misprint(
    path: tuple[str, ...], value: float, quantity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    *folders, name = path
    printed = copy.deepcopy(fidelity.PUBLISHED)
    entry = printed
    for folder in folders:
        entry = entry[folder]
    entry[name] = value
    monkeypatch.setattr(fidelity, "PUBLISHED", printed)
    assert arithmetic()[quantity].verdict == "differs"


def test_the_papers_recipes_are_known() -> None:
    assert fidelity.recipe_name(RECIPES) == "paper"


@pytest.mark.parametrize("stage", RECIPES)
@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 2},
        {"max_length": 4096},
        {"learning_rate": 1e-5},
        {"schedule": "linear"},
        {"warmup_steps": 11},
        {"weight_decay": 0.01},
        {"batching": {"kind": "rows", "rows": 16}},
        {"batching": {**RECIPE["batching"], "bin_tokens": 8192}},
        {"batching": {**RECIPE["batching"], "bins": 4}},
        {"tuning": {"kind": "lora"}},
        {"batching": {**RECIPE["batching"], "bin_rows": 5}},
        {"batching": {**RECIPE["batching"], "drop_last": False}},
        {"optimizer": "adamw"},
        {"weights": "float32"},
        {"max_grad_norm": 0.1},
    ],
    ids=str,
)
def test_a_recipe_with_one_other_value_is_our_own(stage: str, change: dict[str, Any]) -> None:
    recipes = {**RECIPES, stage: {**RECIPES[stage], **change}}
    assert fidelity.recipe_name(recipes) == "our own"


def test_the_published_split_is_known_by_its_texts_labels_and_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [{"text": "i feel low", "label": "sadness"}, {"text": "i feel fine", "label": "joy"}]
    digest = hashlib.sha256(b"i feel low\tsadness\ni feel fine\tjoy\n").hexdigest()
    monkeypatch.setitem(fidelity.PUBLISHED, "task_lines", digest)
    paper = SETTING["task_data"]
    others = (
        [rows[::-1]], [rows[:1]], [[rows[0], rows[1] | {"label": "love"}]],
        [[rows[0], rows[1] | {"text": "i feel well"}]],
    )  # fmt: skip
    for source, otherwise in (("files", "files"), (paper, f"other rows of {paper}")):
        assert fidelity.task_data([rows[:1], rows[1:]], source) == paper
        assert {fidelity.task_data(splits, source) for splits in others} == {otherwise}
