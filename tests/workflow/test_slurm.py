"""Through a real Slurm: the same bytes, whatever the cluster does to a job meanwhile."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import slurm_cluster
from faults.harness import artifacts
from patience import wait_until
from trees import ALL, ROOT, Tree, environment

PLUGIN = "snakemake_executor_plugin_slurm"
why = slurm_cluster.lacking() or (
    None if importlib.util.find_spec(PLUGIN) else "its plugin is not installed: make test-slurm"
)
needs_slurm = pytest.mark.skipif(
    why is not None and "WITH_SLURM" not in os.environ, reason=str(why)
)
SUBMITTED = re.compile(r"SLURM jobid \d+ \(log: \S+?/(?:rule|group)_([^/]+)")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cluster of one node, and where its state lies."""
    root = tmp_path_factory.mktemp("slurm")
    with slurm_cluster.cluster(root):
        yield root


def submit(tree: Tree) -> subprocess.Popen[str]:
    """Start the tiny experiment through the profile."""
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", "--configfile",
         "tiny.yaml", "--latency-wait", "20", "--slurm-init-seconds-before-status-checks", "2",
         "--default-resources", "mem_mb=1000", "runtime=60", "--config", "checkpoint_steps=1",
         "--", *ALL],
        cwd=tree.root, env=environment(), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def unfinished(built: Tree, root: Path, *stages: str) -> Tree:
    """A copy of the built tree without what these stages made."""
    shutil.copytree(built.root, root, ignore=shutil.ignore_patterns(".snakemake"))
    for stage in stages:
        shutil.rmtree(root / "results/artifacts" / stage)
    for last in ("metrics", "tables", "figures", "arms"):
        shutil.rmtree(root / "results/tiny" / last)
    for page in (root / "results").glob("*.*"):
        if page.is_file():
            page.unlink()
    return Tree(root)


@needs_slurm
def test_the_same_bytes_whatever_the_cluster_does(
    built: Tree, cluster: Path, tmp_path: Path
) -> None:
    """One training is cancelled and one is put back into the queue, as where a job with more
    priority takes its node; then the controller is away for a while.
    """
    tree = unfinished(built, tmp_path / "tree", "classifier", "predictions")
    run = submit(tree)
    done: set[str] = set()
    for disturb in (["scancel"], ["scontrol", "requeue"]):
        training: list[str] = []

        def begun(training: list[str] = training) -> bool:
            """Whether a job of ours has saved a state of its training."""
            for job in slurm_cluster.jobs() - done:
                log = next(tree.root.glob(f"results/logs/slurm/*/{job}.log"), None)
                name = re.search(
                    r"training the classifier \((\S+)\)", log.read_text() if log else ""
                )
                if name and any(tree.root.glob(f"results/unfinished/classifier-{name[1]}/check*")):
                    training.append(job)
            return bool(training)

        wait_until(begun, run)
        subprocess.run([*disturb, training[0]], check=True)
        done.add(training[0])
    slurm_cluster.stop(cluster / "slurmctld.pid")
    slurm_cluster.start_controller()
    screen = run.communicate()[0]
    assert run.returncode == 0, screen
    assert artifacts(tree) == artifacts(built)
    submissions = SUBMITTED.findall(screen)
    assert submissions.count("classifiers_classifier_predictions") == 3 + 1  # one was cancelled


@needs_slurm
def test_a_partition_that_is_not_there_is_told_in_a_line(built: Tree, cluster: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "snakemake", "--profile", "profiles/slurm", "--configfile",
         "tiny.yaml", "--default-resources", "slurm_partition=nowhere", "--forcerun", "tables",
         "--", "results/table3.csv"],
        cwd=built.root, env=environment(), text=True, capture_output=True, check=False,
    )  # fmt: skip
    screen = said.stdout + said.stderr
    assert said.returncode != 0 and "Traceback" not in screen
    assert "nowhere" in screen or "invalid partition" in screen


def test_the_profile_names_what_is_there() -> None:
    """Every group that it names is one of a rule that exists."""
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    rules = "".join(file.read_text() for file in (ROOT / "rules").glob("*.smk"))
    for line in profile["groups"]:
        rule, _ = line.split("=")
        assert re.search(rf"^(rule|use rule task as) {rule}\b", rules, re.MULTILINE)
    assert profile["executor"] == "slurm"
