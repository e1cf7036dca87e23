"""Numbers follow from the predictions."""

from __future__ import annotations

import pytest

from infuse.config.arms import Arm, Match, roles
from infuse.core.files import read_csv, read_rows
from infuse.core.schemas import PREDICTIONS
from infuse.evaluation import scores as ev
from trees import Tree, nodes


def test_counts_add_up(built: Tree) -> None:
    folder = nodes(built, "metrics")["tiny"]
    cells = read_csv(folder / "confusion.csv", ev.CONFUSION)
    classes = read_csv(folder / "classes.csv", ev.CLASSES)
    for line in read_csv(folder / "classifiers.csv", ev.CLASSIFIERS):
        rows = read_rows(
            nodes(built, "predictions")[f"{line['arm']}-seed{line['seed']}"]
            / "predictions.parquet",
            PREDICTIONS,
        )
        right = sum(row["label"] == row["predicted"] for row in rows)
        assert line["n"] == len(rows) == sum(line[outcome] for outcome in ev.OUTCOMES)
        assert line["right"] == right and line["accuracy"] == right / len(rows)
        assert line["low"] <= line["accuracy"] <= line["high"]
        mine = [cell for cell in cells if cell["arm"] == line["arm"]]
        assert sum(cell["rows"] for cell in mine) == len(rows)
        assert sum(c["rows"] for c in mine if c["label"] == c["predicted"]) == right
        recalls = [c["recall"] * c["support"] for c in classes if c["arm"] == line["arm"]]
        assert sum(recalls) == pytest.approx(right)


def test_every_artifact_is_in_the_costs(built: Tree) -> None:
    costs = read_csv(nodes(built, "metrics")["tiny"] / "costs.csv", ev.COSTS)
    stages = [cost["stage"] for cost in costs]
    assert stages.count("classifier") == stages.count("predictions") == 3
    early = {"task", "triples", "base", "tokens", "reasoner", "reasonings", "training_set"}
    assert early <= set(stages)


def test_roles_are_told_by_form() -> None:
    arms = {
        "another": Arm(target="label", match=Match(steps="hints")),
        "hints": Arm(target="reason_label", reasons="keywords"),
        "later": Arm(target="label", match=Match(steps="why")),
        "why": Arm(target="reason_label"),
        "bare": Arm(target="label"),
    }
    assert roles(arms) == {
        "zero-shot": None, "Q->A": "bare", "Q->A, equal steps": "later", "Q->RA": "why",
    }  # fmt: skip
    assert set(roles({}).values()) == {None}
