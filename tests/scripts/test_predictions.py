"""Answers and scores for each test text; a killed run goes on and ends in the same bytes."""

from __future__ import annotations

import signal
import subprocess

import numpy as np
import pytest

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


VOTE = {"answers": 3, "temperature": 0.9, "top_p": 0.95, "seed": 4}


def test_answers_vote_in_the_same_bytes_however_they_are_asked(built: Tree) -> None:
    """Killed in the middle, in batches of another size, and with more of them to come."""
    folder = nodes(built, "predictions")["reason_label-seed1"]

    def asked(name: str, vote: dict[str, object], size: int) -> list[str]:
        return again(built, folder, name, batch_rows=size, vote=vote)

    command = asked("voted-cut", VOTE, 5)
    assert run(built, command, fault(CHUNK, "kill", 4)).returncode == -signal.SIGKILL
    commands = [command, asked("voted", VOTE, 5), asked("voted-16", VOTE, 16)]
    commands += [asked("voted-seed", VOTE | {"seed": 5}, 16)]
    for again_ in commands:
        subprocess.run(again_, cwd=built.root, check=True, capture_output=True)
    cut, whole, other, redrawn = (
        built.root / f"results/voted{name}/predictions.parquet"
        for name in ("-cut", "", "-16", "-seed")
    )
    assert cut.read_bytes() == whole.read_bytes() == other.read_bytes() != redrawn.read_bytes()
    rows, greedy = (
        read_rows(path, PREDICTIONS) for path in (whole, folder / "predictions.parquet")
    )
    assert [row["id"] for row in rows] == [row["id"] for row in greedy]
    assert sum(row["tokens"] for row in rows) > 2 * sum(row["tokens"] for row in greedy)
    for row in rows:
        assert row["closed_set"] == row["predicted"]
        assert (row["outcome"] == "right") == (row["predicted"] == row["label"])
        shares = np.exp(row["log_probabilities"])
        assert shares.sum() == pytest.approx(1)
        assert any(shares * of == pytest.approx(np.rint(shares * of)) for of in (1, 2, 3, 6))


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
