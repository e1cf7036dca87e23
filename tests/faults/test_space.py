"""No space, no rights: one line, nothing half-written in place of a result, and a way on."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from faults.harness import LONG, Work, contents, fault, generation, one_line, run, some, training
from trees import ALL, Tree

WRITES: list[tuple[Work, str, int]] = [
    (training, "infuse.training.checkpoints:save_file", 2),
    (training, "infuse.training.checkpoints:settle", 2),
    (training, "infuse.core.files:os.fsync", 9),
    (training, "infuse.models.loading:save", 1),
    (training, "infuse.workflow.job:seal", 1),
    (generation, "infuse.core.files:pq.write_table", 3),
    (generation, "infuse.core.files:pq.write_table", 8),
    (generation, "infuse.core.files:os.fsync", 4),
    (generation, "infuse.workflow.job:settle", 1),
]


@pytest.mark.parametrize(
    ("work", "at", "time"),
    some(WRITES, 2),
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_full_disk(
    built: Tree, undisturbed: dict[Work, Any], work: Work, at: str, time: int, tmp_path: Path
) -> None:
    """Found at one of the writes; with space again, the same command ends in the same bytes."""
    said = run(built, work(built, tmp_path.name), fault(at, "full", time))
    assert "No space left on device" in one_line(said)
    assert not (built.root / f"results/{tmp_path.name}").exists()
    assert run(built, work(built, tmp_path.name)).returncode == 0
    assert contents(built.root / f"results/{tmp_path.name}") == undisturbed[work]


def mounted(folder: Path, *options: str) -> bool:
    """Whether a small tmpfs could be mounted there."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("work", some([training, generation], 1))
def test_a_disk_that_is_really_full(
    built: Tree, undisturbed: dict[Work, Any], work: Work, tmp_path: Path
) -> None:
    folder = built.root / f"results/unfinished/{tmp_path.name}"
    if not mounted(folder, "-o", "size=48k"):
        pytest.skip("no right to mount a tmpfs")
    try:
        assert "No space left on device" in one_line(run(built, work(built, tmp_path.name)))
        assert not (built.root / f"results/{tmp_path.name}").exists()
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert run(built, work(built, tmp_path.name)).returncode == 0
    assert contents(built.root / f"results/{tmp_path.name}") == undisturbed[work]


def test_results_that_can_not_be_written(built: Tree, tmp_path: Path) -> None:
    """Read-only, even for root."""
    results = built.root / "results"
    if not mounted(tmp_path / "probe"):
        pytest.skip("no right to mount a tmpfs")
    subprocess.run(["umount", str(tmp_path / "probe")], check=True)
    assert built.run(*ALL).returncode == 0  # whichever experiment was asked for last
    (results / "table3.csv").unlink()
    subprocess.run(["mount", "--bind", str(results), str(results)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(results)], check=True)
        said = built.run("results/table3.csv")
        assert said.returncode == 1
        assert "Write-protected output files" in said.stdout + said.stderr  # Snakemake's own words
    finally:
        subprocess.run(["umount", str(results)], check=True)
    assert built.run("results/table3.csv").returncode == 0


ODD = ["with space", "um laut-\u00e4\u00f6\u4e2d", "quote's", 'a "double" one', "$HOME & ;"]


@pytest.mark.skipif(not LONG, reason="make faults runs this; the tree of all tests has an odd path")
@pytest.mark.parametrize("name", ODD)
def test_a_path_that_shells_dislike(built: Tree, name: str, tmp_path: Path) -> None:
    """Moved there, nothing reruns; a table that is missing is made."""
    root = tmp_path / name
    shutil.copytree(built.root, root, symlinks=True)
    tree = Tree(root)
    assert tree.scheduled() == {}
    (root / "results/table3.csv").unlink()
    shutil.rmtree(next(root.glob("results/artifacts/predictions/label-*")))
    said = tree.run("all", **{"prediction": {"max_new_tokens": 25, "batch_rows": 16}})
    assert said.returncode == 0, said.stderr
    assert (root / "results/table3.csv").exists()


def test_without_publishing_at_the_end_a_half_would_stand_there(
    built: Tree, tmp_path: Path
) -> None:
    """The inverse: a run that writes in place leaves what looks like a result."""
    in_place = {"at": "infuse.workflow.job:Job", "do": "__main__:in_place"}
    for taken_out in ([], [in_place]):
        command = training(built, tmp_path.name)
        said = run(built, command, fault("infuse.workflow.job:seal", "full"), *taken_out)
        assert "No space left on device" in one_line(said)
        result = built.root / f"results/{tmp_path.name}/model.safetensors"
        assert result.exists() == bool(taken_out)
    shutil.rmtree(built.root / f"results/{tmp_path.name}")
