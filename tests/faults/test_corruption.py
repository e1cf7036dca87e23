"""A flipped byte or a cut file is found before it is used, and named."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from faults.harness import (
    CHUNK,
    STEP,
    Work,
    contents,
    fault,
    generation,
    one_line,
    run,
    some,
    training,
)
from trees import Tree, again, nodes

# stage, artifact, file; and the stage that reads it next
FILES = [
    ("task", "generated", "train.parquet", "reasonings", "scratch"),
    ("task", "generated", "labels.json", "predictions", "label-seed1"),
    ("triples", "generated", "train.parquet", "tokens", "scratch"),
    ("tokens", "scratch", "train.tokens", "reasoner", "scratch"),
    ("base", "scratch", "model.safetensors", "reasoner", "scratch"),
    ("base", "scratch", "tokenizer.json", "classifier", "label-seed1"),
    ("base", "scratch", "config.json", "classifier", "label-seed1"),
    ("reasoner", "scratch", "model.safetensors", "reasonings", "scratch"),
    ("reasonings", "scratch", "reasonings.parquet", "training_set", "text_reasoning_label"),
    ("training_set", "text_label", "train.parquet", "classifier", "label-seed1"),
    ("classifier", "label-seed1", "model.safetensors", "predictions", "label-seed1"),
    ("classifier", "label-seed1", "classifier.json", "predictions", "label-seed1"),
    ("classifier", "label-seed1", "history.json", "metrics", "tiny-tables"),
    ("classifier", "label-seed1", "provenance.json", "metrics", "tiny-tables"),
    ("predictions", "label-seed1", "predictions.parquet", "metrics", "tiny-tables"),
    ("metrics", "tiny-tables", "classifiers.csv", "tables", "tiny"),
    ("metrics", "tiny-tables", "classifiers.csv", "figures", "tiny"),
]


def flip(file: Path) -> None:
    """Change one bit in the middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    """Leave the first half."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@contextmanager
def damaged(file: Path, how: str) -> Iterator[None]:
    """The file is damaged while the block runs."""
    before = file.read_bytes()
    {"flipped": flip, "cut": cut}[how](file)
    try:
        yield
    finally:
        file.write_bytes(before)


CASES = [(*place, how) for place in FILES for how in ("flipped", "cut")]


@pytest.mark.parametrize(
    ("stage", "name", "file", "reader", "read", "how"), some(CASES, 5),
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_damage_in_an_artifact(
    built: Tree, stage: str, name: str, file: str, reader: str, read: str, how: str, tmp_path: Path
) -> None:
    path = nodes(built, stage)[name] / file
    with damaged(path, how):
        said = run(built, again(built, nodes(built, reader)[read], tmp_path.name))
        assert f"{path.relative_to(built.root)}: " in one_line(said)
        if how == "cut":  # seen without reading, before anything starts
            dry = built.run("--dry-run")
            assert dry.returncode and f"{path.relative_to(built.root)}: " in dry.stdout + dry.stderr
            assert "and it is made anew" in dry.stdout + dry.stderr
    assert not (built.root / f"results/{tmp_path.name}").exists()


@pytest.mark.parametrize("how", some(["flipped", "cut"], 1))
@pytest.mark.parametrize("file", some(["state.safetensors", "history.json", "provenance.json"], 1))
def test_damage_in_a_checkpoint(
    built: Tree, undisturbed: dict[Work, Any], file: str, how: str, tmp_path: Path
) -> None:
    """The one before it is taken, and the end is the same."""
    said = run(built, training(built, tmp_path.name), fault(STEP, "kill", 11))
    assert said.returncode == -signal.SIGKILL
    work = built.root / f"results/unfinished/{tmp_path.name}"
    assert sorted(path.name for path in work.glob("checkpoint-*")) == [
        "checkpoint-6",
        "checkpoint-9",
    ]
    {"flipped": flip, "cut": cut}[how](work / f"checkpoint-9/{file}")
    said = run(built, training(built, tmp_path.name))
    assert said.returncode == 0 and f"checkpoint-9/{file}: " in said.stderr
    assert "resumed after step 6\n" in said.stderr
    assert contents(built.root / f"results/{tmp_path.name}") == undisturbed[training]


@pytest.mark.parametrize("how", some(["flipped", "cut"], 1))
def test_damage_in_a_chunk(
    built: Tree, undisturbed: dict[Work, Any], how: str, tmp_path: Path
) -> None:
    """Its rows are written again, and those of no other chunk."""
    run(built, generation(built, tmp_path.name), fault(CHUNK, "kill", 4))
    work = built.root / f"results/unfinished/{tmp_path.name}"
    {"flipped": flip, "cut": cut}[how](work / "chunk-000001/rows.parquet")
    said = run(built, generation(built, tmp_path.name))
    assert said.returncode == 0 and "chunk-000001/rows.parquet: damaged" in said.stderr
    assert contents(built.root / f"results/{tmp_path.name}") == undisturbed[generation]


def test_an_artifact_under_a_wrong_key(built: Tree, tmp_path: Path) -> None:
    """Another classifier's folder, planted under this one's name."""
    right, wrong = (nodes(built, "classifier")[f"{arm}-seed1"] for arm in ("label", "reason_label"))
    aside = right.rename(tmp_path / "aside")
    shutil.copytree(wrong, right)
    try:
        said = run(built, again(built, nodes(built, "predictions")["label-seed1"], tmp_path.name))
        assert f"holds what was made under key {wrong.name[-12:]}" in one_line(said)
    finally:
        shutil.rmtree(right)
        shutil.move(aside, right)


def test_state_under_a_wrong_key(built: Tree, tmp_path: Path) -> None:
    """The unfinished work of another run, planted in this one's folder."""
    run(built, training(built, tmp_path.name), fault(STEP, "kill", 11))
    unfinished = built.root / "results/unfinished"
    (unfinished / tmp_path.name).rename(unfinished / f"{tmp_path.name}-other")
    said = run(built, training(built, f"{tmp_path.name}-other"))
    assert f"holds state of key {tmp_path.name}, not {tmp_path.name}-other" in one_line(said)


def test_without_the_check_damage_is_used(built: Tree, tmp_path: Path) -> None:
    """The inverse: a wrong digit goes all the way into the table."""
    blind: Any = fault("infuse.workflow.job:check", "infuse.core.manifest:sealed")
    path = nodes(built, "metrics")["tiny-tables"] / "means.csv"
    out = built.root / f"results/{tmp_path.name}"
    copies = {"current": f"results/{tmp_path.name}/.tables"}
    before = path.read_text()
    try:
        heading, first, *others = before.splitlines()
        cells = first.split(",")
        cells[4] = "0.875"  # the mean accuracy of the first arm
        path.write_text("\n".join([heading, ",".join(cells), *others, ""]))
        said = run(
            built, again(built, nodes(built, "tables")["tiny"], tmp_path.name, copies), blind
        )
        assert said.returncode == 0, said.stderr
        assert (out / "table3.csv").read_text().count(",87.50,") == 1
    finally:
        path.write_text(before)
    shutil.rmtree(out)
