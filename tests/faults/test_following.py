"""A model that was trained writes in the same process, and a fault there costs no training."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from faults.harness import CHUNK, contents, fault, one_line, run
from trees import Tree, again, nodes

TRAINED = {"classifier": ("predictions", "label-seed1"), "reasoner": ("reasonings", "scratch")}


def pair(tree: Tree, stage: str, name: str) -> tuple[list[str], list[str]]:
    """The commands that train a model once more and let it write; the first may do both."""
    follows, which = TRAINED[stage]
    first = again(tree, nodes(tree, stage)[which], name)
    second = again(tree, nodes(tree, follows)[which], f"{name}-2")
    trained, written = (tree.root / command[2] for command in (first, second))
    trained.write_text(json.dumps(json.loads(trained.read_text()) | {"following": [second[2]]}))
    spec = json.loads(written.read_text())
    spec["inputs"][stage] = f"results/{name}"
    written.write_text(json.dumps(spec))
    return first, second


def again_folder(tree: Tree, name: str) -> Path:
    """The folder of a result."""
    return tree.root / f"results/{name}"


def test_each_trained_model_writes_at_once(built: Tree) -> None:
    for stage, (follows, _) in TRAINED.items():
        logs = built.root / "results/logs"
        for folder in nodes(built, stage).values():
            said = (logs / stage / f"{folder.name}.log").read_text()
            assert f"goes on with {follows} " in said
        for folder in nodes(built, follows).values():
            own = (logs / follows / f"{folder.name}.log").read_text().splitlines()
            assert len(own) == 1 and "wrote " in own[0], own


@pytest.mark.parametrize("stage", TRAINED)
def test_killed_there_it_neither_trains_nor_writes_twice(
    built: Tree, stage: str, tmp_path: Path
) -> None:
    name, (follows, which) = tmp_path.name, TRAINED[stage]
    first, second = pair(built, stage, name)
    assert run(built, first, fault(CHUNK, "kill", 2)).returncode == -signal.SIGKILL
    assert not again_folder(built, name).exists()
    said = run(built, first)
    assert said.returncode == 0 and "goes on" not in said.stderr, said.stderr
    (chunk,) = (built.root / f"results/unfinished/{name}-2").glob("chunk-*/rows.parquet")
    before = chunk.stat().st_mtime_ns
    assert run(built, second, fault("infuse.workflow.job:seal", "kill")).returncode < 0
    assert chunk.stat().st_mtime_ns == before
    assert run(built, second).returncode == 0
    assert contents(again_folder(built, name)) == contents(nodes(built, stage)[which])
    assert contents(again_folder(built, f"{name}-2")) == contents(nodes(built, follows)[which])
    for folder in (name, f"{name}-2"):
        shutil.rmtree(again_folder(built, folder))


def test_what_fails_there_is_left_to_its_own_job(built: Tree, tmp_path: Path) -> None:
    first, second = pair(built, "classifier", tmp_path.name)
    full = fault("infuse.inference.generation:write_rows", "full")
    said = run(built, first, full)
    assert said.returncode == 0 and "left to its own job" in said.stderr, said.stderr
    assert "No space left on device" in one_line(run(built, second, full))
    assert run(built, second).returncode == 0
