"""Killed and taken up again, a run ends in the same bytes, and little of it is done twice."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from faults.harness import (
    CHUNK,
    EVERY,
    LONG,
    PASS,
    STEP,
    Work,
    artifacts,
    contents,
    fault,
    generation,
    one_line,
    run,
    some,
    training,
)
from infuse.workflow.node import reached
from patience import wait_until
from trees import ALL, Tree, environment, tiny_plan

FOR_LONG = 10_000  # epochs of a training that is at work until it is ended
# Where a run can be killed, how, and about how often it comes by there.
IN_TRAINING = [
    (STEP, "kill", 20),
    (PASS, "kill", 90),
    ("infuse.training.checkpoints:save_file", "half", 6),
    ("infuse.training.checkpoints:save_file", "kill", 6),
    ("infuse.training.checkpoints:settle", "kill", 6),
    ("infuse.training.checkpoints:seal", "kill", 6),
    ("infuse.workflow.job:settle", "kill", 1),
    ("infuse.workflow.job:seal", "kill", 1),
]
IN_GENERATION = [
    (CHUNK, "kill", 8),
    ("infuse.inference.generation:write_rows", "kill", 8),
    ("infuse.core.files:pq.write_table", "half", 9),
    ("infuse.inference.generation:seal", "kill", 8),
    ("infuse.inference.generation:settle", "kill", 8),
    ("infuse.workflow.job:settle", "kill", 1),
]


def points(places: list[tuple[str, str, int]], count: int) -> list[Any]:
    """Random points to be killed at, one after the other in each place."""
    draw = random.Random(count)
    drawn = [(*place[:2], draw.randint(1, place[2])) for place in places * count][:count]
    return [pytest.param(point, id="-".join(map(str, point)).split(":")[1]) for point in drawn]


def killed(tree: Tree, work: Work, point: tuple[str, str, int], name: str) -> str:
    """Kill a run, and give what the next one says that ends well."""
    said = run(tree, work(tree, name), fault(*point))
    assert said.returncode == -signal.SIGKILL, said.stderr
    assert not (tree.root / f"results/{name}").exists()
    said = run(tree, work(tree, name))
    assert said.returncode == 0, said.stderr
    assert not (tree.root / f"results/unfinished/{name}").exists()
    return said.stderr


@pytest.mark.parametrize("point", some(points(IN_TRAINING, 20), 2))
def test_sigkill_in_a_training(
    built: Tree, undisturbed: dict[Work, Any], point: tuple[str, str, int], tmp_path: Path
) -> None:
    at, _, time = point
    said = killed(built, training, point, tmp_path.name)
    assert contents(built.root / f"results/{tmp_path.name}") == undisturbed[training]
    kept = int(resumed[1]) if (resumed := re.search(r"resumed after step (\d+)", said)) else 0
    if at == STEP:
        assert time - 1 - EVERY < kept + 1


@pytest.mark.parametrize("point", some(points(IN_GENERATION, 20), 2))
def test_sigkill_in_a_generation(
    built: Tree, undisturbed: dict[Work, Any], point: tuple[str, str, int], tmp_path: Path
) -> None:
    killed(built, generation, point, tmp_path.name)
    assert contents(built.root / f"results/{tmp_path.name}") == undisturbed[generation]


@pytest.mark.parametrize("place", some(["after a chunk", "in a chunk"], 1))
def test_finished_chunks_are_not_written_again(built: Tree, place: str, tmp_path: Path) -> None:
    time = 4
    said = run(built, generation(built, tmp_path.name), fault(CHUNK, "kill", time))
    assert said.returncode == -signal.SIGKILL
    work = built.root / f"results/unfinished/{tmp_path.name}"
    before = {path: path.stat().st_mtime_ns for path in work.glob("chunk-*/rows.parquet")}
    assert len(before) == time - 1
    stop = (
        fault("infuse.workflow.job:seal", "kill")
        if place == "after a chunk"
        else fault(CHUNK, "kill", 2)
    )
    run(built, generation(built, tmp_path.name), stop)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    shutil.rmtree(work)


SIGNALS = [("term", 143), ("int", 130)]


@pytest.mark.parametrize(("name", "code"), SIGNALS)
@pytest.mark.parametrize("step", some([1, 4, 11], 1))
def test_a_signal_saves_the_state_of_a_training(
    built: Tree, undisturbed: dict[Work, Any], name: str, code: int, step: int, tmp_path: Path
) -> None:
    said = run(built, training(built, tmp_path.name), fault(STEP, name, step))
    assert said.returncode == code, said.stderr
    assert "Traceback" not in said.stderr
    assert f"stopped by SIG{name.upper()}; the same command goes on" in said.stderr
    said = run(built, training(built, tmp_path.name))
    assert f"resumed after step {step}\n" in said.stderr  # not one step is lost
    assert contents(built.root / f"results/{tmp_path.name}") == undisturbed[training]


@pytest.mark.parametrize(("name", "code"), some(SIGNALS, 1))
def test_a_signal_when_the_result_is_there_does_nothing(
    built: Tree, name: str, code: int, tmp_path: Path
) -> None:
    """A failure then would make Snakemake remove a whole result."""
    for at, expected in (("infuse.workflow.job:seal", code), ("infuse.workflow.job:settle", 0)):
        said = run(built, generation(built, tmp_path.name), fault(at, name))
        assert said.returncode == expected, said.stderr
        assert (built.root / f"results/{tmp_path.name}").exists() == (expected == 0)


@pytest.mark.parametrize(("name", "code"), some(SIGNALS, 1))
def test_a_signal_keeps_the_chunks_of_a_generation(
    built: Tree, undisturbed: dict[Work, Any], name: str, code: int, tmp_path: Path
) -> None:
    said = run(built, generation(built, tmp_path.name), fault(CHUNK, name, 3))
    assert said.returncode == code and "Traceback" not in said.stderr, said.stderr
    work = built.root / f"results/unfinished/{tmp_path.name}"
    assert len(list(work.glob("chunk-*"))) == 2
    assert run(built, generation(built, tmp_path.name)).returncode == 0
    assert contents(built.root / f"results/{tmp_path.name}") == undisturbed[generation]


def test_a_time_limit_saves_the_state(built: Tree, tmp_path: Path) -> None:
    """As a cluster does it: SIGTERM, to a run that may be anywhere."""
    command = training(built, tmp_path.name, FOR_LONG)
    work = built.root / f"results/unfinished/{tmp_path.name}"
    with subprocess.Popen(
        command, cwd=built.root, env=environment(), stderr=subprocess.DEVNULL
    ) as process:
        wait_until((work / "checkpoint-9").exists, process)
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 143
    [*_, last] = sorted(int(path.name.split("-")[1]) for path in work.glob("checkpoint-*"))
    said = run(built, command, fault(STEP, "term", 1))
    assert said.returncode == 143 and f"resumed after step {last}\n" in said.stderr


def test_without_checkpoints_more_is_lost(built: Tree, tmp_path: Path) -> None:
    """The inverse: this is what the checkpoints are for."""
    save = fault("infuse.training.checkpoints:Checkpoints.save", "skip")
    said = run(built, training(built, tmp_path.name), save, fault(STEP, "kill", 11))
    assert said.returncode == -signal.SIGKILL
    said = run(built, training(built, tmp_path.name))
    assert "resumed" not in said.stderr


# --- the whole workflow


def begin(tree: Tree) -> subprocess.Popen[str]:
    """Start the workflow as the leader of its own process group."""
    tree.run("--version")  # writes tiny.yaml
    command = ["snakemake", "--cores", "1", "--configfile", "tiny.yaml", "--", *ALL]
    return subprocess.Popen(
        command, cwd=tree.root, env=environment(), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def fresh(tree: Tree, root: Path) -> Tree:
    """The same tree with nothing made."""
    shutil.copytree(tree.root, root, ignore=shutil.ignore_patterns("results", ".snakemake"))
    return Tree(root)


def begun(tree: Tree, root: Path, *missing: str) -> Tree:
    """The same tree with its artifacts but for those of some stages; no tables, no figures."""
    fresh(tree, root)
    for node in reached(*tiny_plan().last).values():
        if node.path.startswith("results/artifacts/") and node.stage not in missing:
            shutil.copytree(tree.root / node.path, root / node.path)
    return Tree(root)


@pytest.mark.parametrize("whole", some([True, False], 1))
def test_the_workflow_killed_at_rule_boundaries(built: Tree, tmp_path: Path, whole: bool) -> None:
    """At each boundary in one long build; or Snakemake alone, whose job lives on as an orphan."""
    root, kills = tmp_path / "tree", 0
    tree = fresh(built, root) if LONG else begun(built, root, "predictions")
    for _ in range(30 if LONG else 1):
        with begin(tree) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("Finished jobid"):
                    os.killpg(process.pid, signal.SIGKILL) if whole else process.kill()
                    kills += 1
                    break
                assert "LockException" not in line
        if not whole:
            _wait_for_orphans(tree)
        if process.returncode == 0:
            break
    said = tree.run(*ALL)
    assert said.returncode == 0, said.stdout + said.stderr
    assert artifacts(tree) == {
        path: content for path, content in artifacts(built).items() if path in artifacts(tree)
    }
    assert len(artifacts(tree)) > 10 and kills >= (10 if LONG else 1)
    assert not list((tree.root / "results/unfinished").iterdir())


def _wait_for_orphans(tree: Tree) -> None:
    wait_until(lambda: not _at_work(tree))


def _at_work(tree: Tree) -> bool:
    from infuse.core.locks import lock

    with lock(tree.root / "results/.lock", True) as alone:
        return not alone


def test_while_an_orphan_lives_nothing_else_starts(built: Tree, tmp_path: Path) -> None:
    """The lock of a dead Snakemake stays as long as a job of it is at work, and goes then."""
    locks = built.root / ".snakemake/locks"
    locks.mkdir(parents=True, exist_ok=True)
    table = built.root / "results/table3.csv"
    command = training(built, tmp_path.name, FOR_LONG)
    with subprocess.Popen(command, cwd=built.root, env=environment(), stderr=-3) as orphan:
        wait_until(lambda: _at_work(built), orphan)
        (locks / "0.output.lock").write_text(str(table.relative_to(built.root)) + "\n")
        table.unlink()
        said = built.run("results/table3.csv")
        orphan.kill()
    assert said.returncode and "LockException" in said.stderr
    said = built.run("results/table3.csv")
    assert said.returncode == 0 and table.exists(), said.stderr


def test_a_second_workflow_is_refused(built: Tree, tmp_path: Path) -> None:
    """In one line, even where it wants other files; a dry run is not in the way."""
    command = training(built, tmp_path.name, FOR_LONG)
    table = built.root / "results/table3.csv"
    before = table.read_bytes()
    table.unlink()
    with _begun(built, command, tmp_path.name) as first:
        dry = built.run("--dry-run", "results/table3.csv")
        said = built.run("results/table3.csv")
        first.terminate()
    assert dry.returncode == 0
    assert (
        said.returncode == 1 and said.stderr.count("another run, or a job that outlived one") == 1
    )
    assert "Traceback" not in said.stdout + said.stderr
    assert built.run("results/table3.csv").returncode == 0 and table.read_bytes() == before


def test_two_runs_at_once(built: Tree, tmp_path: Path) -> None:
    """The second is refused in one line; the first does not feel it."""
    command = training(built, tmp_path.name, FOR_LONG)
    with _begun(built, command, tmp_path.name) as first:
        said = run(built, command)
        first.terminate()
    assert first.returncode == 143
    assert f"{tmp_path.name}: another process is at work there" in one_line(said)


def test_without_the_lock_two_runs_would_share_a_folder(built: Tree, tmp_path: Path) -> None:
    """The inverse."""
    command = training(built, tmp_path.name, FOR_LONG)
    free = fault("infuse.core.locks:_lock", "skip")
    with _begun(built, command, tmp_path.name) as first:
        said = run(built, command, free, fault(STEP, "term", 2))
        first.kill()
    assert said.returncode and "at work there" not in said.stderr


@contextmanager
def _begun(tree: Tree, command: list[str], name: str) -> Iterator[subprocess.Popen[str]]:
    """A run, from the moment when it is at work in its folder."""
    with subprocess.Popen(
        command, cwd=tree.root, env=environment(), stderr=subprocess.DEVNULL, text=True
    ) as process:
        wait_until((tree.root / f"results/unfinished/{name}/spec.json").exists, process)
        yield process
