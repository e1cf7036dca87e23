"""Training sets: texts joined to their reasonings, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infuse.config.settings import Settings
from infuse.core.files import reasonings_file, write_json, write_rows
from infuse.core.schemas import RATED, REASONINGS, TASK, TEXT_LABEL, TEXT_REASONING_LABEL
from infuse.data.reasoning_checks import label_read
from infuse.workflow.job import Job
from stage_runner import RunStage
from training_set import training_set
from trees import Tree, nodes

SPLITS = ("train", "validation")
CHECKS = ("ended", "no_other_label")
Rows = Iterable[Mapping[str, Any]]


def reason(split: str, number: int, reasoning: str) -> dict[str, Any]:
    """A row of the reasonings."""
    return {"split": split, "id": number, "reasoning": reasoning, "finish": "stop", "tokens": 2}


def folders(root: Path, texts: Mapping[str, Rows], reasons: Rows) -> dict[str, Path]:
    """The folders of both inputs."""
    inputs = {"task": root / "task", "reasonings": root / "reasonings"}
    for folder in inputs.values():
        folder.mkdir()
    for split, rows in texts.items():
        write_rows(inputs["task"] / f"{split}.parquet", rows, TASK)
    write_rows(inputs["reasonings"] / "reasonings.parquet", reasons, REASONINGS)
    source = {
        "params": {"source": {"kind": "generated"}},
        "facts": {"train": {"labels": {"joy": 9}}},
    }
    write_json(inputs["task"] / "provenance.json", source)
    written = {"params": {"kind": "reasoner"}, "facts": {"rows": 2}}
    write_json(inputs["reasonings"] / "provenance.json", written)
    return inputs


TEXTS = {
    split: [{"id": n, "text": f"{split} {n}", "label": "joy"} for n in range(4)] for split in SPLITS
}
WORDS = st.sampled_from(["", " ", "\n", "so", " so it is "])
NUMBERS = st.dictionaries(st.integers(0, 12), WORDS, max_size=9)


@settings(max_examples=25)
@given(
    ids=st.fixed_dictionaries({split: st.sets(st.integers(0, 9)) for split in SPLITS}),
    reasons=st.fixed_dictionaries(dict.fromkeys(SPLITS, NUMBERS)),
)
def test_a_text_is_kept_with_its_own_reasoning_or_counted(
    ids: dict[str, set[int]],
    reasons: dict[str, dict[int, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.mktemp("training_set")
    ids["train"].add(11)
    reasons["train"][11] = "at least one"
    texts = {
        split: [{"id": n, "text": f"{split} {n}", "label": "joy"} for n in sorted(ids[split])]
        for split in SPLITS
    }
    reasonings = {
        split: {n: f"{why}{split}{n}" if why.strip() else why for n, why in reasons[split].items()}
        for split in SPLITS
    }
    lines = [reason(split, n, why) for split in SPLITS for n, why in reasonings[split].items()]
    job = Job("training_set", {}, Settings(), folders(root, texts, lines), root, root)
    facts = training_set(job)
    for split in SPLITS:
        table = pq.read_table(root / f"{split}.parquet")
        kept = [n for n in sorted(ids[split]) if reasonings[split].get(n, "").strip()]
        assert table.schema == TEXT_REASONING_LABEL
        assert table.to_pylist() == [
            {"id": n, "text": f"{split} {n}", "reasoning": reasonings[split][n], "label": "joy"}
            for n in kept
        ]
        missing = sorted(ids[split] - set(kept))
        assert facts[split] == {
            "rows": len(kept), "no_reasoning": {"rows": len(missing), "first": missing[:5]}
        }  # fmt: skip


def test_without_reasonings_every_text_is_kept(run_stage: RunStage, tmp_path: Path) -> None:
    done = run_stage("training_set", {}, {"task": folders(tmp_path, TEXTS, [])["task"]})
    for split in SPLITS:
        assert pq.read_schema(done.output / f"{split}.parquet") == TEXT_LABEL
        assert done.rows(f"{split}.parquet") == TEXTS[split]
        assert done.facts[split]["no_reasoning"] == {"rows": 0, "first": []}


def test_texts_without_a_reasoning_are_named(run_stage: RunStage, tmp_path: Path) -> None:
    inputs = folders(tmp_path, TEXTS, [reason("train", 2, "so"), reason("validation", 0, "so")])
    done = run_stage("training_set", {}, inputs)
    assert "train: 1 rows, 3 without a reasoning [0, 1, 3]\n" in done.stderr
    assert "validation: 1 rows, 3 without a reasoning [1, 2, 3]\n" in done.stderr


@pytest.mark.parametrize("lines", [[], [reason("validation", 1, "so"), reason("train", 1, " ")]])
def test_a_training_set_of_no_rows_is_refused(
    lines: list[dict[str, Any]], run_stage: RunStage, tmp_path: Path
) -> None:
    done = run_stage("training_set", {}, folders(tmp_path, TEXTS, lines))
    assert done.reason == "training set: no training text has a reasoning"


WHOLE = pa.Table.from_pylist([reason("train", 1, "so")], schema=REASONINGS)
NULL = REASONINGS.field("reasoning").with_nullable(True)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (None, "no such file"),
        (WHOLE.drop_columns(["finish"]),
         "column 'finish' is missing, found ['split', 'id', 'reasoning', 'tokens']"),
        (WHOLE.set_column(1, "id", pa.array(["1"])), "column 'id' is string, expected int64"),
        (WHOLE.set_column(2, NULL, pa.array([None], pa.string())),
         "column 'reasoning' has 1 empty value(s)"),
    ],
    ids=["gone", "a column less", "another type", "null"],
)  # fmt: skip
def test_a_damaged_input_is_named(
    table: pa.Table | None, expected: str, run_stage: RunStage, tmp_path: Path
) -> None:
    inputs = folders(tmp_path, TEXTS, [])
    file = inputs["reasonings"] / "reasonings.parquet"
    file.unlink() if table is None else pq.write_table(table, file)
    assert run_stage("training_set", {}, inputs).reason == f"{file}: {expected}"


KEPT = {  # reasonings of a joyful text, with what they fail
    "she laughs": set(), "Joyful, she laughs": set(), "joy after Sadness": {"no_other_label"},
    "she laughs, since": {"ended"}, "joy, no sadness, and": {"ended", "no_other_label"},
}  # fmt: skip


@settings(max_examples=25)
@given(
    reasonings=st.lists(st.sampled_from(sorted(KEPT)), max_size=9),
    checks=st.sets(st.sampled_from(CHECKS)),
)
def test_a_text_is_kept_if_its_reasoning_passes(
    reasonings: list[str], checks: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("training_set")
    reasonings = ["she laughs", *reasonings]
    texts = {
        split: [{"id": n, "text": f"{split} {n}", "label": "joy"} for n in range(len(reasonings))]
        for split in SPLITS
    }
    lines = [
        reason(split, n, why) | {"finish": "length" if "ended" in KEPT[why] else "stop"}
        for split in SPLITS
        for n, why in enumerate(reasonings)
    ]
    inputs = folders(root, texts, lines)
    write_json(inputs["task"] / "labels.json", ["joy", "sadness"])
    params = {"keep": sorted(checks)} if checks else {}
    facts = training_set(Job("training_set", params, Settings(), inputs, root, root))
    kept = {split: pq.read_table(root / f"{split}.parquet")["id"].to_pylist() for split in SPLITS}
    passing = [n for n, why in enumerate(reasonings) if not KEPT[why] & checks]
    assert kept == {"train": passing, "validation": list(range(len(reasonings)))}
    assert facts["train"]["rows"] == len(passing)
    failing = {check: sum(check in KEPT[why] for why in reasonings) for check in checks}
    assert facts["train"].get("failed", {}) == failing


def test_reasonings_are_read_by_what_is_of_other_clusters(
    run_stage: RunStage, tmp_path: Path
) -> None:
    """Each cluster has a word of its own for each label: none tells of another cluster's."""
    labels, inputs = ["1", "2"], folders(tmp_path, {}, [])
    rows = [
        {
            "id": n, "text": f"t {n}", "label": labels[n % 2], "rating": 1.0 + n % 2,
            "cluster": str(n // 16), "source": "", "dimension": "",
        }
        for n in range(96)
    ]  # fmt: skip
    for split, of_split in (("train", rows), ("validation", rows[:2])):
        write_rows(inputs["task"] / f"{split}.parquet", of_split, RATED)
    told = [reason("train", row["id"], f"w{row['cluster']}x{row['label']}") for row in rows]
    write_rows(inputs["reasonings"] / "reasonings.parquet", told, REASONINGS)
    write_json(inputs["task"] / "labels.json", labels)
    done = run_stage("training_set", {"keep": ["read"]}, inputs)
    read = label_read([row | why for row, why in zip(rows, told, strict=True)], "reasoning")
    assert done.facts["train"]["failed"] == {"read": read.count(False)}
    assert read.count(False) > 20


@settings(max_examples=25)
@given(
    drawn=st.lists(st.lists(st.sampled_from(["", *sorted(KEPT)]), max_size=4), max_size=6),
    checks=st.sets(st.sampled_from(CHECKS)),
)
def test_of_candidates_the_first_that_passes_is_taken(
    drawn: list[list[str]], checks: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("training_set")
    drawn = [["", "she laughs"], *drawn]
    inputs = folders(
        root, {s: [{"id": n, "text": f"t {n}", "label": "joy"} for n in range(len(drawn))]
               for s in SPLITS}, [],
    )  # fmt: skip
    for place in range(4):
        lines = [
            reason(split, n, own[place])
            | {"finish": "length" if "ended" in KEPT.get(own[place], set()) else "stop"}
            for split in SPLITS[: 2 if place == 0 else 1]
            for n, own in enumerate(drawn)
            if place < len(own)
        ]
        write_rows(inputs["reasonings"] / reasonings_file(place + 1), lines, REASONINGS)
    write_json(inputs["task"] / "labels.json", ["joy", "sadness"])
    params = {"keep": sorted(checks)} if checks else {}
    facts = training_set(Job("training_set", params, Settings(), inputs, root, root))
    passing = [[why for why in own if why and not KEPT[why] & checks] for own in drawn]
    expected = {
        "train": {n: own[0] for n, own in enumerate(passing) if own},
        "validation": {n: own[0] for n, own in enumerate(drawn) if own and own[0]},
    }
    for split in SPLITS:
        rows = pq.read_table(root / f"{split}.parquet").to_pylist()
        assert [(row["id"], row["reasoning"]) for row in rows] == [*expected[split].items()]
        assert facts[split]["rows"] == len(rows)
    every = [why for own in drawn for why in own]
    failing = {check: sum(check in KEPT.get(why, ()) for why in every) for check in checks}
    assert facts["train"].get("failed", {}) == failing
    assert facts["train"]["no_reasoning"]["rows"] == sum(not any(own) for own in drawn)


def test_a_filter_that_keeps_nothing_is_told(run_stage: RunStage, tmp_path: Path) -> None:
    lines = [reason(split, n, "so") | {"finish": "length"} for split in SPLITS for n in range(4)]
    inputs = folders(tmp_path, TEXTS, lines)
    write_json(inputs["task"] / "labels.json", ["joy"])
    said = run_stage("training_set", {"keep": ["ended"]}, inputs)
    assert said.reason == "training set: no reasoning passes `keep`, failed: {'ended': 4}"


def test_a_perturbation_that_changes_little_is_refused(
    built: Tree, run_stage: RunStage, tmp_path: Path
) -> None:
    """Reasonings of one word have no other order."""
    lines = [reason(split, n, "so" if n else "so it is") for split in SPLITS for n in range(4)]
    inputs = folders(tmp_path, TEXTS, lines) | {"base": nodes(built, "base")["scratch"]}
    write_json(inputs["task"] / "labels.json", ["joy"])
    said = run_stage("training_set", {"perturb": "shuffle"}, inputs)
    assert said.reason == (
        "training set: perturb shuffle leaves 3 of 4 reasonings as they are: nothing else has as"
        " many tokens; take another kind"
    )


def test_reasonings_that_are_one_text_have_none_to_change_with(
    built: Tree, run_stage: RunStage, tmp_path: Path
) -> None:
    lines = [reason(split, n, "so it is") for split in SPLITS for n in range(4)]
    inputs = folders(tmp_path, TEXTS, lines) | {"base": nodes(built, "base")["scratch"]}
    write_json(inputs["task"] / "labels.json", ["joy"])
    said = run_stage("training_set", {"perturb": "other_same_label"}, inputs)
    assert said.reason == (
        "training set: perturb other_same_label leaves 4 of 4 reasonings as they are: many are the"
        " same text; take another source of reasonings"
    )
