"""Answers and scores for each test text; a killed run goes on and ends in the same bytes."""

from __future__ import annotations

import signal
import subprocess

import numpy as np

from faults.harness import CHUNK, fault, run
from infuse.core.files import read_rows
from infuse.core.schemas import PREDICTIONS, TASK
from infuse.data.answers import OUTCOMES
from trees import Tree, again, nodes


def test_each_test_text_has_one_outcome_and_all_scores(built: Tree) -> None:
    test = read_rows(next(iter(nodes(built, "task").values())) / "test.parquet", TASK)
    for folder in nodes(built, "predictions").values():
        rows = read_rows(folder / "predictions.parquet", PREDICTIONS)
        assert [(row["id"], row["text"]) for row in rows] == [(r["id"], r["text"]) for r in test]
        assert {row["outcome"] for row in rows} <= set(OUTCOMES)
        for row in rows:
            assert (row["outcome"] == "right") == (row["predicted"] == row["label"])
            scores = np.array(row["log_probabilities"])
            assert len(scores) == 6 and (scores < 0).all() and np.exp(scores).sum() <= 1 + 1e-9


def test_killed_between_chunks_it_ends_in_the_same_bytes(built: Tree) -> None:
    folder = nodes(built, "predictions")["reason_label-seed1"]
    work = built.root / "results/unfinished/cut"
    command = again(built, folder, "cut", batch_rows=2)
    said = run(built, command, fault(CHUNK, "kill", 4))
    assert said.returncode == -signal.SIGKILL
    kept = {file: file.stat().st_mtime_ns for file in work.glob("chunk-*/rows.parquet")}
    assert len(kept) == 3
    subprocess.run(command, cwd=built.root, check=True, capture_output=True)
    whole = again(built, folder, "whole", batch_rows=2)
    subprocess.run(whole, cwd=built.root, check=True, capture_output=True)
    resumed, expected = (
        built.root / "results" / run / "predictions.parquet" for run in ("cut", "whole")
    )
    assert resumed.read_bytes() == expected.read_bytes()
