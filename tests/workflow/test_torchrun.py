"""The true script, as `torchrun` starts it on several ranks."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from faults.harness import training
from infuse.config.compute import Distributed
from infuse.core.errors import UserError
from infuse.workflow import torchrun
from patience import PATIENCE, wait_until
from trees import Tree, tiny_plan

KEPT = "the last saved state is kept"
TWO = {"ranks": 2, "nodes": 1, "sharded": False}


def history(folder: Path) -> list[dict[str, float]]:
    steps: list[dict[str, float]] = json.loads((folder / "history.json").read_text())["steps"]
    return steps


def near(folder: Path, other: Path) -> None:
    for ours, theirs in zip(history(folder), history(other), strict=True):
        assert ours == {name: pytest.approx(theirs[name], rel=1e-4) for name in ours}


def command(tree: Tree, name: str, distributed: Mapping[str, Any]) -> list[str]:
    """That of a training whose state is saved after each step."""
    own = {"distributed": distributed, "checkpoint_steps": 1, "trackers": ["tensorboard"]}
    return training(tree, name, **own)


def start(tree: Tree, words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words, cwd=tree.root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def saved(tree: Tree, name: str) -> bool:
    return any((tree.root / "results/unfinished" / name).glob("checkpoint-*"))


def test_stopped_on_two_ranks_a_training_goes_on_on_one(built: Tree) -> None:
    undisturbed = command(built, "two-ranks", TWO)
    subprocess.run(undisturbed, cwd=built.root, check=True, capture_output=True)
    process = start(built, command(built, "stopped", TWO))
    wait_until(lambda: saved(built, "stopped"), process)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 128 + signal.SIGTERM, said
    assert not (built.root / "results/stopped").exists()
    assert "Traceback" not in said
    with_one = command(built, "stopped", TWO | {"ranks": 1})
    log = subprocess.run(with_one, cwd=built.root, check=True, capture_output=True, text=True)
    assert re.search(r"resumed after step [1-9]", log.stderr)
    near(built.root / "results/stopped", built.root / "results/two-ranks")
    for name in ("stopped", "two-ranks"):
        assert any((built.root / "results/trackers").glob(f"{name}*"))


def test_a_rank_that_is_killed_ends_all_in_one_line(built: Tree) -> None:
    name, victim = "killed", "1"
    process = start(built, command(built, name, TWO))
    wait_until(lambda: saved(built, name), process)
    for other in psutil.process_iter(["environ", "cwd"]):
        rank = (other.info["environ"] or {}).get("RANK")
        if rank == victim and other.info["cwd"] == str(built.root):
            other.kill()
    said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 1
    complaints = [line for line in said.splitlines() if "error:" in line]
    assert complaints == [
        f"classifier reason_label-seed1: error: rank {victim} ended with signal 9;"
        " the last saved state is kept"
    ]
    assert "Traceback" not in said
    assert saved(built, name)


def test_a_mistake_is_told_once(built: Tree) -> None:
    words = command(built, "mistaken", TWO)
    spec = json.loads((built.root / "mistaken.json").read_text())
    spec["params"]["separator"] = "joy"
    (built.root / "mistaken.json").write_text(json.dumps(spec))
    process = start(built, words)
    said = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 1
    complaints = [line for line in said.splitlines() if "error:" in line]
    assert len(complaints) == 1, said
    assert "beside 'joy', the label 'joy' can't be read" in complaints[0]


def test_nodes_are_those_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_NUM_NODES", raising=False)
    node = next(iter(tiny_plan().stage("classifier")))
    settings = node.settings | {"distributed": Distributed(ranks=2, nodes=2)}
    with pytest.raises(UserError) as refusal:
        torchrun.launch(replace(node, settings=settings).spec())
    assert str(refusal.value) == (
        "distributed.nodes: expected a Slurm job of 2 nodes, found 1;"
        " set the rule's resources nodes and tasks"
    )


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ({0: 75, 1: -9}, "rank 1 ended with signal 9; " + KEPT),
        ({0: -9, 1: 1}, "what rank 1 said"),
        ({0: 1, 1: -9}, None),
        ({0: -15, 1: 1}, "what rank 1 said"),
        (
            {0: 143, 1: 75},
            "the ranks were stopped, or lost each other; the last saved state is kept",
        ),
    ],
)
def test_the_rank_that_failed_is_told(
    codes: dict[int, int], said: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, failures = logging.Logger("a rank"), {}
    for rank, code in codes.items():
        file = tmp_path / f"{rank}.json"
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(file))
        log.handlers.clear()
        torchrun.tell_launcher(log)
        if code == 1:
            log.error("error: what rank %d said", rank)
        failures[rank] = ProcessFailure(rank, 0, code, str(file))
    assert torchrun._complaint(failures) == said
