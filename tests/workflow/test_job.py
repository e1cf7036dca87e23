"""The job around a stage: where it may write, what it says of other people's folders."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from infuse.core.resources import commit
from infuse.core.schemas import SPLITS
from infuse.workflow import job
from infuse.workflow.node import Node
from stage_runner import RunStage

TASK = {
    "source": {"kind": "generated", "train": 64, "validation": 16, "test": 24, "seed": 1},
    "columns": {}, "labels": None, "rows": dict.fromkeys(SPLITS), "split": None, "scale": None,
}  # fmt: skip
BASE = {"kind": "scratch", "corpus": ["task"]}


def test_a_work_folder_that_can_not_be_removed_harms_nobody(
    run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On NFS a file that is open, as its lock is, outlives its name, and so its folder."""
    rmtree = shutil.rmtree

    def busy(path: Path, ignore_errors: bool = False) -> None:
        rmtree(path, ignore_errors=ignore_errors)
        if not ignore_errors:
            raise OSError(39, os.strerror(39), str(path))

    monkeypatch.setattr(job.shutil, "rmtree", busy)
    done = run_stage("task", TASK)
    assert done.code == 0 and (done.output / "train.parquet").is_file(), done.stderr


def test_a_place_that_can_not_be_written_is_told_before_the_work(
    run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere, so the answer of the system is set here."""
    monkeypatch.setattr(job.os, "access", lambda *_: False)
    done = run_stage("task", TASK | {"source": None})  # which no work would survive
    assert done.reason == f"{done.output.parent}: can't be written to"


def test_who_has_told_a_mistake_ends_by_it(
    run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is stopped a moment later, as a rank is whose neighbour ended first."""

    def stopped(record: logging.LogRecord) -> bool:
        if record.levelno == logging.ERROR:
            os.kill(os.getpid(), signal.SIGTERM)
        return True

    monkeypatch.setattr(job.log, "filters", [stopped])
    monkeypatch.setattr(job.os, "access", lambda *_: False)
    done = run_stage("task", TASK)
    assert done.reason == f"{done.output.parent}: can't be written to"


def test_no_advice_destroys_work(run_stage: RunStage, tmp_path: Path) -> None:
    """What is in the way is moved, and what is foreign is named."""
    task = run_stage("task", TASK).output
    for name, change in {
        "notes.txt": "no part of what was made; move this file elsewhere",
        "labels.json": f"damaged, it has 1 bytes of {(task / 'labels.json').stat().st_size}; move "
        f"{task} elsewhere, and it is made anew",
    }.items():
        before = (task / name).read_bytes() if (task / name).exists() else None
        (task / name).write_bytes(b"?")
        assert run_stage("base", BASE, {"task": task}).reason == f"{task / name}: {change}"
        (task / name).unlink() if before is None else (task / name).write_bytes(before)
    other = task.rename(tmp_path / "another-key")
    said = run_stage("base", BASE, {"task": other}).reason
    key = task.name.removeprefix("task-test-")
    advice = f"holds what was made under key {key}; move it elsewhere (its own name is test-{key})"
    assert said == f"{other}: {advice}"


@pytest.mark.parametrize("letter", ["a", "\u4e2d"])
def test_a_name_is_as_long_as_file_systems_take(tmp_path: Path, letter: str) -> None:
    nodes = [Node("classifier", letter * length, {"a": length}) for length in (3, 400, 401)]
    assert nodes[0].id == f"{letter * 3}-{nodes[0].key}"
    for node in nodes:
        (tmp_path / f".{node.id}.json.part").touch()
    assert len(list(tmp_path.iterdir())) == 3


def test_the_commit_is_that_of_our_own_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that of a repository around an unpacked archive, nor of a hook's; and git may refuse."""

    def git(*arguments: str) -> None:
        author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *author, *arguments], cwd=tmp_path, check=True, capture_output=True)

    inner = tmp_path / "archive"
    inner.mkdir()
    (inner / "Snakefile").touch()
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message", "outer")
    assert commit(inner) is None
    git("add", "--all")
    git("commit", "--quiet", "--message", "a copy that is tracked")
    commit_id = commit(inner)
    assert commit_id is not None and len(commit_id) == 40
    (inner / "Snakefile").write_text("changed")
    assert commit(inner) == f"{commit_id}+"
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert commit(inner) == f"{commit_id}+"
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert commit(inner) is None
    monkeypatch.setenv("PATH", "")
    assert commit(inner) is None
