"""Stage 1: trained, evaluated while it trains, accounted for."""

from __future__ import annotations

import json

import pytest

from trees import Tree, nodes


def test_it_learns_and_is_evaluated_while_it_does(built: Tree) -> None:
    folder = nodes(built, "reasoner")["scratch"]
    history = json.loads((folder / "history.json").read_text())
    assert history["steps"][-1]["loss"] < history["steps"][0]["loss"]
    assert [entry["step"] for entry in history["evaluations"]] == [len(history["steps"])]


def test_provenance_adds_up(built: Tree) -> None:
    folder = nodes(built, "reasoner")["scratch"]
    provenance = json.loads((folder / "provenance.json").read_text())
    steps = json.loads((folder / "history.json").read_text())["steps"]
    facts = provenance["facts"]
    assert facts["steps"] == len(steps)
    assert facts["supervised_tokens"] == sum(step["supervised_tokens"] for step in steps)
    assert facts["sum_of_learning_rates"] == pytest.approx(
        sum(step["learning_rate"] for step in steps)
    )
    assert provenance["key"] == folder.name.rsplit("-", 1)[1]
    assert provenance["cost"]["seconds"] > 0 and provenance["cost"]["peak_memory_mb"] > 0
    assert provenance["versions"]["torch"].startswith("2.13.0")
