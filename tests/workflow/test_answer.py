"""The tables of the study on a pretrained model follow from the answers that lie beside them."""

from __future__ import annotations

import sys

import pytest

from trees import ROOT, committed

sys.path.append(str(ROOT / "benchmarks"))
import answer


def test_the_tables_follow_from_the_answers() -> None:
    for name, table in answer.tables(answer.read_classifiers(), answer.read_baselines()).items():
        held = committed(f"answer/{name}.csv")
        assert held == [{column: line.get(column, "") for column in held[0]} for line in table]


def test_arms_without_a_common_seed_count_as_planned_alone() -> None:
    row = {"id": 0, "label": "joy", "predicted": "joy", "outcome": "right", "closed_set": "joy"}
    runs = {("x", 1): [row], ("y", 2): [row], ("x", 2): [row]}
    assert answer.compared([["x", "y"]], {run: runs[run] for run in [("x", 1), ("y", 2)]}) == []
    assert answer.afterwards({("label", 1): [row], ("bag_label", 2): [row]}) == []
    (line, _) = answer.compared([["x", "y"], ["x", "z"]], runs)
    assert line["seeds"] == 1


def test_every_run_has_all_answers_and_one_line() -> None:
    runs = {(row["arm"], row["seed"]): row for row in answer.read_classifiers()}
    right = dict.fromkeys(runs, 0)
    for row in answer.read_readings():
        right[row["arm"], row["seed"]] += row["outcome"] == "right"
        assert (row["outcome"] == "right") == (row["predicted"] == row["label"])
    for run, line in runs.items():
        assert right[run] == line["right"]
        assert line["accuracy"] == pytest.approx(right[run] / line["n"])
