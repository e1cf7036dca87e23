"""Published numbers are judged where they can be, and only there."""

from __future__ import annotations

from typing import Any

import pytest

from infuse import config, fidelity

PAPER: dict[str, str] = fidelity.PUBLISHED["setting"]
ALL = {quantity: value for quantity, value, _, _ in fidelity.published()}


def _verdicts(ours: dict[str, float], setting: dict[str, str]) -> dict[str, fidelity.Line]:
    return {line.quantity: line for line in fidelity.fidelity(ours, setting)}


def test_every_published_number_is_there() -> None:
    assert sum(name.startswith("table 1") for name in ALL) == 6
    assert sum(name.startswith("table 3") for name in ALL) == 4
    assert sum(name.startswith("table 4") for name in ALL) == 18
    assert sum(name.startswith("table 5") for name in ALL) == 6
    assert sum(entry["rows"] for entry in fidelity.PUBLISHED["table1"].values()) == 2000


def test_the_papers_own_numbers_agree_and_others_differ() -> None:
    same, other = _verdicts(ALL, PAPER), _verdicts({q: v + 3 for q, v in ALL.items()}, PAPER)
    assert {same[name].verdict for name in ALL} == {"agrees"}
    assert {other[name].verdict for name in ALL} == {"differs"}
    assert {_verdicts({}, PAPER)[name].verdict for name in ALL} == {"not run"}


@pytest.mark.parametrize("part", list(PAPER))
def test_another_setting_is_named_and_not_judged(part: str) -> None:
    lines = _verdicts(ALL, PAPER | {part: "something else"})
    line = lines["table 3, Q->RA, accuracy %"]
    assert line.verdict == "not comparable"
    assert line.note == f"{part.replace('_', ' ')} is something else, not {PAPER[part]}"
    judged = lines["table 1, joy, rows"].verdict
    assert judged == ("not comparable" if part == "task_data" else "agrees")


def test_the_papers_arithmetic() -> None:
    """Recalls give the accuracies of the trained models; no column holds F1."""
    lines = {line.quantity: line for line in fidelity.arithmetic()}
    for model, verdict in (("Q->A", "agrees"), ("Q->RA", "agrees"), ("zero-shot", "differs")):
        assert lines[f"accuracy from table 4, {model}, %"].verdict == verdict
        assert lines[f"macro F1 from table 4, {model}, %"].verdict == "differs"
    assert lines["hits from table 4, Q->RA"].ours == 1167
    gains = [line for name, line in lines.items() if name.startswith("gain")]
    assert len(gains) == 5 and {line.verdict for line in gains} == {"agrees"}


def test_a_recipe_is_the_papers_only_with_all_its_values() -> None:
    bins = {"kind": "tokens", "bin_tokens": 16384, "bin_rows": 200, "bins": 8}
    shared: dict[str, Any] = {
        "epochs": 1, "learning_rate": 2e-5, "schedule": "cosine", "weight_decay": 0.0,
        "batching": bins, "tuning": {"kind": "full"},
    }  # fmt: skip
    recipes = {
        "reasoner": shared | {"max_length": 16384, "warmup_steps": 100},
        "classifier": shared | {"max_length": 8192, "warmup_steps": 10},
    }
    assert fidelity.recipe_name(recipes) == "paper"
    for stage, recipe in recipes.items():
        for name, value in (("epochs", 2), ("warmup_steps", 11), ("tuning", {"kind": "lora"})):
            changed = recipes | {stage: recipe | {name: value}}
            assert fidelity.recipe_name(changed) == "our own"
    default = config.load({})
    ours = {
        "reasoner": default.reasoner.recipe.model_dump(),
        "classifier": default.classifier.recipe.model_dump(),
    }
    assert fidelity.recipe_name(ours) == "our own"


def test_another_split_is_not_taken_for_the_published_one() -> None:
    assert not fidelity.is_published_split([{"text": "i feel fine", "label": "joy"}])
