"""Through a real Slurm: the same bytes, whatever the cluster does to a job meanwhile."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

import slurm_cluster
from faults.harness import artifacts
from infuse.core.errors import UserError
from infuse.workflow import slurm
from patience import PATIENCE, wait_until
from slurm_cluster import Script
from trees import ROOT, Tree, environment, nodes

SCREEN = "screen.txt"
PLUGIN = "snakemake_executor_plugin_slurm"
no_plugin = (
    None if importlib.util.find_spec(PLUGIN) else "its plugin is not installed: make test-slurm"
)
why = slurm_cluster.lacking() or no_plugin


def unless(lacking: str | None) -> pytest.MarkDecorator:
    """A test that fails, and is not skipped, where Slurm is asked for."""
    return pytest.mark.skipif(
        lacking is not None and "WITH_SLURM" not in os.environ, reason=str(lacking)
    )


needs_slurm, needs_plugin = unless(why), unless(no_plugin)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cluster of one node, and where its state lies."""
    root = tmp_path_factory.mktemp("slurm")
    with slurm_cluster.cluster(root):
        yield root


@pytest.fixture
def tree(built: Tree, tmp_path: Path) -> Tree:
    """A copy of the built tree without classifiers and their answers."""
    shutil.copytree(built.root, tmp_path / "tree", ignore=shutil.ignore_patterns(".snakemake"))
    for stage in ("classifier", "predictions"):
        shutil.rmtree(tmp_path / "tree/results/artifacts" / stage)
    return Tree(tmp_path / "tree")


@contextmanager
def submitted(tree: Tree, *arguments: str, **own: str) -> Iterator[subprocess.Popen[str]]:
    """Ask through the profile for the answers of all classifiers; a test that fails ends it all."""
    answers = [str(path.relative_to(tree.root)) for path in nodes(tree, "predictions").values()]
    with (tree.root / SCREEN).open("w") as screen:
        run = subprocess.Popen(
            [sys.executable, ROOT / "tests/impatient.py", "--profile", "profiles/slurm",
             "--configfile", "tiny.yaml", "--latency-wait", "20",
             "--slurm-init-seconds-before-status-checks", "1", *arguments, "--", *answers],
            cwd=tree.root, env=environment() | own, text=True, stdout=screen,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield run
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()
            slurm_cluster.clear()


def screen_of(tree: Tree, run: subprocess.Popen[str]) -> str:
    """What a run has said, once it has ended."""
    run.wait(PATIENCE)
    return (tree.root / SCREEN).read_text()


def saved(tree: Tree, training: str) -> int:
    """The step of a training's last saved state."""
    states = tree.root.glob(f"results/unfinished/classifier-{training}/checkpoint-*[0-9]")
    return max((int(state.name.rpartition("-")[2]) for state in states), default=0)


def begun(
    tree: Tree, run: subprocess.Popen[str], past: Mapping[str, float] | None = None
) -> Script:
    """A training that has saved a state, held where it is until a signal lets it go on.

    Args:
        past: steps, by training; its state must lie behind.
    """
    found: list[Script] = []

    def ready() -> bool:
        scripts = slurm_cluster.running("classifier")
        found[:] = [one for one in scripts if saved(tree, one.id) > (past or {}).get(one.id, 0)]
        return bool(found)

    wait_until(ready, run)
    os.kill(found[0].process, signal.SIGSTOP)
    return found[0]


@needs_slurm
def test_the_same_bytes_whatever_the_cluster_does(built: Tree, cluster: Path, tree: Tree) -> None:
    """One training is warned before its time is over, one is out of time, one is cancelled: they
    save their states. Then the node crashes, somebody with more priority takes it, and the
    controller is away for a while.
    """
    with submitted(tree) as run:
        disturb(tree, run, cluster)
        screen = screen_of(tree, run)
    assert run.returncode == 0, screen
    assert artifacts(tree) == artifacts(built)
    # Three trainings, their answers, and those that have ended; what Slurm starts again is none.
    assert screen.count("has been submitted with SLURM jobid") == 3 + 3 + 3, screen


def disturb(tree: Tree, run: subprocess.Popen[str], cluster: Path) -> None:
    """Do all that a cluster may do."""
    update = ["scontrol", "update"]
    steps = stop(tree, run, {}, [[*update, "EndTime=now+100"], [*update, "EndTime=now"]])
    steps |= stop(tree, run, steps, [["scancel"]])
    assert resumed(tree, begun(tree, run, steps))
    slurm_cluster.crash_node(cluster)
    steps = {id: saved(tree, id) for id in steps}
    slurm_cluster.start_node()
    training = begun(tree, run, steps)
    assert resumed(tree, training)
    urgent = ["sbatch", "-p", "urgent", "--exclusive", "-o", "/dev/null", "--wrap", "true"]
    subprocess.run(urgent, check=True)
    wait_until(lambda: not slurm_cluster.alive(training.process), run)
    slurm_cluster.stop(cluster / "slurmctld.pid")
    slurm_cluster.start_controller()


def stop(
    tree: Tree, run: subprocess.Popen[str], others: Mapping[str, int], orders: list[list[str]]
) -> dict[str, int]:
    """Have trainings that are none of `others` stopped, each by one of the orders; they have saved
    their state when they end. Gives its step, by training.
    """
    before: dict[Script, int] = {}
    after: dict[str, int] = {}
    for _ in orders:
        known = [*others, *(one.id for one in before)]
        training = begun(tree, run, dict.fromkeys(known, math.inf))
        before[training] = saved(tree, training.id)
    for order, training in zip(orders, before, strict=True):
        job = f"JobId={training.job}" if order[0] == "scontrol" else training.job
        subprocess.run([*order, job], check=True)

    def ended() -> bool:
        for training in before:
            if training.id not in after and not slurm_cluster.alive(training.process):
                after[training.id] = saved(tree, training.id)
        return len(after) == len(before)

    wait_until(ended, run)
    assert all(after[one.id] > step for one, step in before.items()), (before, after)
    return after


def resumed(tree: Tree, training: Script) -> bool:
    """Whether a training goes on from a saved state."""
    return "resumed after" in (tree.root / f"results/logs/classifier/{training.id}.log").read_text()


@needs_slurm
def test_a_job_that_takes_too_much_memory_is_told_in_a_line(cluster: Path, tree: Tree) -> None:
    small = ["--set-resources", "classifier:mem_mb=300", "predictions:mem_mb=300"]
    with submitted(tree, "--retries", "0", "--jobs", "1", *small) as run:
        screen = screen_of(tree, run)
    assert run.returncode != 0 and "Traceback" not in screen
    (line,) = (line for line in screen.splitlines() if line.startswith("error: "))
    told = "error: Slurm: a job took more memory than it asked for: give it more (mem_mb in"
    assert line.startswith(told) and re.search(r"\(results/logs/slurm/\S+\.log\)$", line), line
    assert not [*tree.root.glob("results/artifacts/classifier/*")]
    assert not [*tree.root.glob("results/unfinished/*/made")]


def refusal(tree: Tree, *arguments: str, **own: str) -> str:
    """The line that a run is refused with before any job starts."""
    with submitted(tree, *arguments, **own) as run:
        screen = screen_of(tree, run)
    assert run.returncode == 1 and "Traceback" not in screen, screen
    (where,) = (at for at, line in enumerate(screen.splitlines()) if "WorkflowError" in line)
    assert "submitted" not in screen and not [*tree.root.glob("results/artifacts/classifier/*")]
    return screen.splitlines()[where + 1].strip()


@needs_slurm
def test_a_partition_that_is_not_there_is_told_in_a_line(cluster: Path, tree: Tree) -> None:
    said = refusal(tree, "--set-resources", "classifier:slurm_partition=mian")
    expected = "expected one of main, urgent, did you mean 'main'?"
    assert said == f"slurm_partition: 'mian' is not there, {expected}"


@needs_slurm
def test_a_slurm_that_does_not_answer_is_told_in_a_line(tree: Tree) -> None:
    said = refusal(tree, SLURM_CONF="/nowhere/slurm.conf")
    assert said.startswith("executor: slurm, but Slurm does not answer (sinfo: ")


@needs_plugin
def test_a_machine_without_slurm_is_told_in_a_line(tree: Tree, tmp_path: Path) -> None:
    for name in ("bash", "sh", "which"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    path = f"{Path(sys.executable).parent}{os.pathsep}{tmp_path}"
    assert refusal(tree, PATH=path).startswith("executor: slurm, but sbatch is not on the path: ")


def test_each_program_of_slurm_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for program in ("sbatch", "sinfo"):
        with pytest.raises(UserError, match=f"{program} is not on the path: start on"):
            slurm.require([])
        (tmp_path / program).touch(mode=0o755)


# What Snakemake and its plugin say of a job, and of two that failed: one by itself, one of a group.
SUBMITTED = "Job {job} has been submitted with SLURM jobid {number} (log: {log})."
ALONE = """[Sat Nov 28 15:47:29 2026]
Error in rule classifier:
    message: None
    jobid: {job}
    output: results/artifacts/classifier/label-seed1-6fb838a60f2a
    log: results/logs/classifier/label-seed1.log, {log} (check log file(s) for error details)
    shell:
        python scripts/classifier.py results/specs/classifier/label-seed1-6fb838a60f2a.json
        (command exited with non-zero exit code)"""
IN_A_GROUP = """[Sat Nov 28 15:47:29 2026]
    message: Error in group sets
    log: {log} (check log file(s) for error details)
    jobs:
        rule training_set:
            jobid: 3
            output: results/artifacts/training_set/label-af6e2d1f3a30
            log: results/logs/training_set/label.log (check log file(s) for error details)"""


def test_why_jobs_have_failed_is_read_in_the_logs_of_their_last_submissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    killed = "slurmstepd-a: error: Detected 1 oom-kill event(s) in StepId=3.0. Some of your ..."
    late = "error: *** STEP 1.0 ON a CANCELLED AT 2026-11-28T15:43:53 DUE TO TIME LIMIT ***"
    ours = "classifier label: error: step 3 (rows 1): no token bears loss"
    preempted = "error: *** JOB 7 ON a CANCELLED AT 2026-11-28T15:44:20 DUE TO PREEMPTION ***"
    warned = "classifier label: stopped by SIGTERM; the same command goes on from what is saved"
    submissions = [
        ("a", late, ALONE),
        ("a", "all is well", ""),
        ("b", killed, ALONE),
        ("c", killed, IN_A_GROUP),
        ("d", f"{ours}\n{late}", ALONE),
        ("e", None, ALONE),
        ("f", preempted, ""),  # and done, when Slurm had started it again
        ("g", warned, ALONE),
    ]
    said = []
    for number, (job, text, failure) in enumerate(submissions):
        log = tmp_path / f"{number}.log"
        if text is not None:
            log.write_text(f"{text}\n")
        told = {"job": job, "number": number, "log": log}
        said += [SUBMITTED.format(**told), failure.format(**told)]
    memory, mistake, stopped = slurm.failures("\n".join(said))
    assert "more memory" in memory and memory.endswith("(2.log and 1 more)")
    assert mistake == f"{ours} (4.log)"
    assert "told to stop" in stopped and "runtime" in stopped and stopped.endswith("(7.log)")


def test_the_profile_names_what_is_there() -> None:
    """Every group that it names is one of a rule that exists."""
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    rules = "".join(file.read_text() for file in (ROOT / "rules").glob("*.smk"))
    for line in profile["groups"]:
        rule, _ = line.split("=")
        assert re.search(rf"^(rule|use rule task as) {rule}\b", rules, re.MULTILINE)
    assert profile["executor"] == "slurm"
