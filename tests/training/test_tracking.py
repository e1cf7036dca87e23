"""Trackers see what history.json records, and change nothing of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from infuse.training import tracking
from trees import Tree, again, nodes


def test_tensorboard_shows_the_history(built: Tree) -> None:
    folder = nodes(built, "classifier")["label-seed1"]
    command = again(built, folder, "tracked", settings={"trackers": ["tensorboard"]})
    subprocess.run(command, cwd=built.root, check=True, capture_output=True)
    tracked = built.root / "results/tracked"
    history = json.loads((tracked / "history.json").read_text())
    assert history == json.loads((folder / "history.json").read_text())
    (run,) = (built.root / "results/trackers").glob("tracked*")
    events = EventAccumulator(str(run)).Reload()
    for name in ("loss", "learning_rate", "grad_norm", "supervised_tokens"):
        seen = [(event.step, event.value) for event in events.Scalars(name)]
        assert [step for step, _ in seen] == [entry["step"] for entry in history["steps"]]
        assert [value for _, value in seen] == pytest.approx(
            [entry[name] for entry in history["steps"]], rel=1e-6
        )
    held_out = [event.value for event in events.Scalars("validation_loss")]
    assert held_out == pytest.approx([entry["loss"] for entry in history["evaluations"]])


def test_a_run_that_goes_on_has_no_step_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after five steps, of which three were saved."""
    monkeypatch.chdir(tmp_path)
    for last in (5, 8):
        with tracking.watched(["tensorboard"], "run", {"seed": 1}) as watch:
            for step in range(1, last + 1):
                watch(step, {"loss": 1 / step})
    events = EventAccumulator(str(tmp_path / tracking.FOLDER / "run")).Reload()
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 9))


def test_a_tracker_without_its_package_is_refused_before_training(built: Tree) -> None:
    folder = nodes(built, "classifier")["label-seed1"]
    command = again(built, folder, "untracked", settings={"trackers": ["wandb"]})
    said = subprocess.run(command, cwd=built.root, text=True, capture_output=True, check=False)
    shutil.rmtree(built.root / "results/unfinished/untracked")
    assert said.returncode == 1
    assert said.stderr.splitlines()[-1].endswith(
        "error: trackers: the package of 'wandb' is not installed"
    )
