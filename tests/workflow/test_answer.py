"""The tables of the study on a pretrained model follow from the answers that lie beside them."""

from __future__ import annotations

import sys

import pytest

from trees import ROOT, committed

sys.path.append(str(ROOT / "benchmarks"))
import answer


def test_the_tables_follow_from_the_answers() -> None:
    for name, table in answer.tables().items():
        held = committed(f"answer/{name}.csv")
        assert held == [{column: line.get(column, "") for column in held[0]} for line in table]


def test_every_run_has_all_answers_and_one_line() -> None:
    runs = {(row["arm"], row["seed"]): row for row in answer.read_classifiers()}
    right = dict.fromkeys(runs, 0)
    for row in answer.read_readings():
        right[row["arm"], row["seed"]] += row["outcome"] == "right"
        assert (row["outcome"] == "right") == (row["predicted"] == row["label"])
    for run, line in runs.items():
        assert right[run] == line["right"]
        assert line["accuracy"] == pytest.approx(right[run] / line["n"])
