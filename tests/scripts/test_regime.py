"""Another training split: what each regime changes, and that it changes nothing else."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import regime
from infuse.core.files import write_json, write_rows
from infuse.core.schemas import RATED, REASONING, TASK
from stage_runner import RunStage

LABELS = ["joy", "anger", "fear"]
SHARES = st.floats(0.05, 0.95)
ROWS = st.lists(st.sampled_from(LABELS), min_size=12, max_size=60).map(
    lambda labels: [
        {"id": 3 * at, "text": f"text {at}", "label": label} for at, label in enumerate(labels)
    ]
)
Row = dict[str, Any]


@given(rows=ROWS, share=SHARES, seed=st.integers(0, 5))
def test_fewer_rows_are_some_of_them_with_labels_at_their_share(
    rows: list[Row], share: float, seed: int
) -> None:
    kept = regime.fewer(rows, share, LABELS, seed)
    assert kept == [row for row in rows if row in kept]
    before, after = (Counter(row["label"] for row in some) for some in (rows, kept))
    for label in before:
        assert abs(after[label] - share * before[label]) <= 1.5 or after[label] == 1


@given(rows=ROWS, share=SHARES, seed=st.integers(0, 5))
def test_wrong_labels_are_as_many_as_told_and_all_wrong(
    rows: list[Row], share: float, seed: int
) -> None:
    done = regime.wrong(rows, share, LABELS, seed)
    assert [row["text"] for row in done] == [row["text"] for row in rows]
    wrong = sum(a["label"] != b["label"] for a, b in zip(done, rows, strict=True))
    assert wrong == round(share * len(rows))


@given(rows=ROWS, share=SHARES, seed=st.integers(0, 5))
def test_the_most_frequent_label_keeps_its_rows_and_the_others_their_share(
    rows: list[Row], share: float, seed: int
) -> None:
    kept = regime.rare(rows, share, LABELS, seed)
    assert kept == [row for row in rows if row in kept]
    before, after = (Counter(row["label"] for row in some) for some in (rows, kept))
    most = max(LABELS, key=lambda label: before[label])
    assert after[most] == before[most]
    assert all(
        after[k] == min(before[k], max(1, round(share * before[k]))) for k in LABELS if k != most
    )


@given(rows=ROWS, share=st.floats(0.05, 1), seed=st.integers(0, 5))
def test_a_cue_gives_the_label_away(rows: list[Row], share: float, seed: int) -> None:
    done = regime.cued(rows, share, LABELS, seed)
    planted: dict[str, set[str]] = {}
    for row, own in zip(done, rows, strict=True):
        assert row["label"] == own["label"]
        if row["text"] != own["text"]:
            cue, text = row["text"].split(" ", 1)
            assert text == own["text"]
            planted.setdefault(cue, set()).add(row["label"])
    assert all(len(labels) == 1 for labels in planted.values())
    assert len({label for labels in planted.values() for label in labels}) == len(planted)
    changed = sum(a["text"] != b["text"] for a, b in zip(done, rows, strict=True))
    assert changed == round(share * len(rows))


def task(root: Path, labels: list[str]) -> Path:
    """A task's folder."""
    rows = [{"id": at, "text": f"text {at}", "label": label} for at, label in enumerate(labels)]
    for split in ("train", "validation", "test"):
        write_rows(root / f"{split}.parquet", rows, TASK)
    write_json(root / "labels.json", sorted(set(labels)))
    return root


def test_what_has_changed_is_told(run_stage: RunStage, tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    folder = task(tmp_path / "task", ["joy", "fear"] * 20)
    params = {"kind": "label_noise", "value": 0.25, "seed": 1}
    outcome = run_stage("regime", params, {"task": folder})
    changed = json.loads((outcome.output / "changed.json").read_text())
    assert len(changed) == outcome.facts["changed_labels"] == 10
    before = ["joy", "fear"] * 20
    for row in outcome.rows("train.parquet"):
        assert (row["label"] != before[row["id"]]) == (row["id"] in changed)
    assert outcome.rows("validation.parquet")[0]["label"] == "joy"


def test_a_label_without_a_row_is_refused(run_stage: RunStage, tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    folder = task(tmp_path / "task", ["joy"] * 20 + ["fear"])
    write_json(folder / "labels.json", ["anger", "fear", "joy"])
    params = {"kind": "imbalance", "value": 0.3, "seed": 1}
    reason = run_stage("regime", params, {"task": folder}).reason
    assert reason == "regimes.imbalance: at 0.3 no training row has the label(s) anger"


@pytest.mark.parametrize("kind", ["rows", "imbalance", "cue"])
def test_reasonings_stay_beside_their_texts(run_stage: RunStage, tmp_path: Path, kind: str) -> None:
    """A base from scratch reads them there."""
    rows = [
        {"id": at, "text": f"text {at}", "label": label, "reasoning": f"why {at}"}
        for at, label in enumerate(["joy", "joy", "fear"] * 10)
    ]
    folder = tmp_path / "task"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        write_rows(folder / f"{split}.parquet", rows, TASK.append(REASONING))
    write_json(folder / "labels.json", ["fear", "joy"])
    params = {"kind": kind, "value": 0.5, "seed": 1}
    left = run_stage("regime", params, {"task": folder}).rows("train.parquet")
    assert left and all(row["reasoning"] == f"why {row['id']}" for row in left)


@pytest.mark.parametrize("kind", ["rows", "cue"])
def test_the_same_seed_draws_the_same(run_stage: RunStage, tmp_path: Path, kind: str) -> None:
    (tmp_path / "task").mkdir()
    folder = task(tmp_path / "task", ["joy", "fear"] * 20)
    params = {"kind": kind, "value": 0.5, "seed": 1}
    once, again, other = (
        run_stage("regime", params | {"seed": seed}, {"task": folder}, name=name).rows(
            "train.parquet"
        )
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert once == again != other


RATED_ROWS = [
    {
        "id": at, "text": f"text {at}", "label": str(1 + at % 5), "rating": 1.0 + at % 5,
        "cluster": f"talk {at // 4}", "source": "ab"[at // 4 % 2], "dimension": "",
    }
    for at in range(120)
]  # fmt: skip


def rated(root: Path) -> Path:
    """A task with a scale: 20 clusters of training rows, 4 of validation, 6 of test."""
    folder = root / "task"
    folder.mkdir()
    for split, part in (
        ("train", slice(80)),
        ("validation", slice(80, 96)),
        ("test", slice(96, 120)),
    ):
        write_rows(folder / f"{split}.parquet", RATED_ROWS[part], RATED)
    write_json(folder / "labels.json", list("12345"))
    return folder


def test_a_held_out_source_is_the_test_and_nowhere_else(
    tmp_path: Path, run_stage: RunStage
) -> None:
    done = run_stage(
        "regime", {"kind": "source", "value": ["b"], "seed": 0}, {"task": rated(tmp_path)}
    )
    for split in ("train", "validation"):
        assert {row["source"] for row in done.rows(f"{split}.parquet")} == {"a"}
    assert done.rows("test.parquet") == [row for row in RATED_ROWS[96:] if row["source"] == "b"]


def test_folds_part_the_training_rows_by_cluster(tmp_path: Path, run_stage: RunStage) -> None:
    task, tested = rated(tmp_path), []
    for fold in (1, 2, 3):
        params = {"kind": "fold", "value": [fold, 3], "seed": 0}
        done = run_stage("regime", params, {"task": task}, name=f"fold{fold}")
        train, test = (done.rows(f"{split}.parquet") for split in ("train", "test"))
        assert not {row["cluster"] for row in train} & {row["cluster"] for row in test}
        assert sorted(row["id"] for row in [*train, *test]) == list(range(80))
        assert len({row["cluster"] for row in test}) in (6, 7)
        tested += test
    assert sorted(row["id"] for row in tested) == list(range(80))


def test_a_scale_may_have_points_that_no_row_has(tmp_path: Path, run_stage: RunStage) -> None:
    task = rated(tmp_path)
    write_json(task / "labels.json", list("0123456"))
    params = {"kind": "label_noise", "value": 0.3, "seed": 0}
    rows = run_stage("regime", params, {"task": task}).rows("train.parquet")
    assert all(row["label"] == str(int(row["rating"])) for row in rows)
    assert {row["label"] for row in rows} - set("12345")


def test_a_source_that_is_not_there_is_refused(tmp_path: Path, run_stage: RunStage) -> None:
    params = {"kind": "source", "value": ["c", "d"], "seed": 0}
    done = run_stage("regime", params, {"task": rated(tmp_path)})
    assert done.reason == "held_out: source c + d leaves the test split no row"
