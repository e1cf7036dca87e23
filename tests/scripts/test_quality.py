"""Tables of a task with a scale: by hand where numbers are few, by other routes elsewhere."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from goldens import compare
from infuse.config.arms import Arm, plain_label
from infuse.core.files import write_json, write_rows
from infuse.core.schemas import PREDICTIONS, RATED
from infuse.evaluation import scores as ev
from infuse.evaluation import stats
from infuse.reporting import rating_tables
from infuse.workflow.compared_arms import arm_params
from stage_runner import RunStage
from trees import STUDY, Tree, short_study, tiny

LABELS = list("12345")
ARMS = {
    "label": Arm(target="label"),
    "explained": Arm(target="label_reason"),
    "bare": Arm(target="label_reason", system=False),
}
Row = dict[str, Any]
calm = settings(max_examples=30)


def texts(count: int, sources: str = "xy") -> list[Row]:
    """Rated texts, three of a conversation; each conversation is of one source and dimension."""
    return [
        {
            "id": at, "text": f"text {at}", "label": str(1 + at % 5),
            "rating": 1 + at % 5 - 0.25 * (at % 5 > 0),
            "cluster": f"talk {at // 3}", "source": sources[at // 3 % len(sources)],
            "dimension": ("calm", "clear")[at // 6 % 2],
        }
        for at in range(count)
    ]  # fmt: skip


def answer(text: Row, said: int, sure: float = 0.0) -> Row:
    """An answer that says a rating, of which it is more or less sure."""
    scores = [-abs(said - label) * (1 + sure) for label in range(1, 6)]
    predicted = str(said)
    return {
        "id": text["id"], "text": text["text"], "label": text["label"], "generated": predicted,
        "reasoning": "", "predicted": predicted,
        "outcome": "right" if predicted == text["label"] else "wrong", "tokens": 2,
        "closed_set": predicted, "log_probabilities": scores,
    }  # fmt: skip


@calm
@given(said=st.lists(st.integers(1, 5), min_size=12, max_size=12), sure=st.floats(0, 5))
def test_errors_of_ratings_are_scikit_learns(said: list[int], sure: float) -> None:
    test = texts(12)
    answers = [answer(row, rating, sure) for row, rating in zip(test, said, strict=True)]
    rows = ev.join_answers(test, answers)
    errors = ev.rating_errors(rows, LABELS)
    gold = [row["rating"] for row in test]
    assert errors["mae"] == pytest.approx(mean_absolute_error(gold, said))
    true = [int(row["label"]) for row in test]
    kappa = cohen_kappa_score(true, said, labels=range(1, 6), weights="quadratic")
    assert errors["quadratic_kappa"] == pytest.approx(kappa)
    chances = np.exp([row["log_probabilities"] for row in rows])
    expected = (chances * range(1, 6)).sum(1) / chances.sum(1)
    assert errors["expected_mae"] == pytest.approx(mean_absolute_error(gold, expected))


def test_an_answer_without_a_rating_has_no_error() -> None:
    test = texts(2)
    rows = [row | {"predicted": "" if row["id"] else "1"} for row in test]
    assert ev.rating_errors(rows, LABELS) == {}


def test_arms_are_held_against_the_label_alone_with_the_same_instruction() -> None:
    other = Arm(target="label", system=False)
    assert plain_label(ARMS, "explained") == plain_label(ARMS, "bare") == "label"
    assert plain_label(ARMS, "label") is None
    assert plain_label(ARMS | {"bare_label": other}, "bare") == "bare_label"


def study(count: int = 24) -> tuple[list[Row], dict[tuple[str, int], list[Row]]]:
    """Two seeds of three arms: the label alone is right on the first half of the texts, with an
    explanation on all, without instruction on none.
    """
    test = texts(count)
    says = {
        "label": lambda row: int(row["label"]) if row["id"] < 12 else 1 + int(row["label"]) % 5,
        "explained": lambda row: int(row["label"]),
        "bare": lambda row: 1 + int(row["label"]) % 5,
    }
    return test, {
        (arm, seed): ev.join_answers(test, [answer(row, says[arm](row)) for row in test])
        for arm in ARMS
        for seed in (1, 2)
    }


def test_every_setting_is_won_by_the_arm_that_is_right_there() -> None:
    test, written = study()
    *lines, against, won, lost, p, holm = rating_tables.quality(test, written, ARMS)
    assert [(line["source"], line["dimension"]) for line in lines] == rating_tables.settings(test)
    assert {line["explained %"] for line in lines} == {"100.00"}
    assert {line["label %"] for line in lines} == {"50.00"}
    assert {line["majority label %"] for line in lines} == {"33.33"}
    assert against["explained %"] == against["bare %"] == "label"
    assert (won["explained %"], lost["bare %"]) == ("4 of 4", "4 of 4")
    assert "label %" not in won
    assert (p["explained %"], holm["explained %"]) == ("0.12", "0.25")  # 2 / 2**4, twice


def test_parts_add_up_to_the_whole() -> None:
    test, written = study()
    lines = {
        (line["source"], line["dimension"], line["arm"]): line
        for line in rating_tables.every_setting(test, written, ARMS, LABELS)
    }
    for arm in ARMS:
        whole = lines["all", "all", arm]
        parts = [lines[*setting, arm] for setting in rating_tables.settings(test)]
        assert sum(int(part["n"]) for part in parts) == int(whole["n"]) == len(test)
        for name in ("accuracy %", "MAE"):
            mean = sum(float(part[name]) * int(part["n"]) for part in parts) / len(test)
            assert float(whole[name]) == pytest.approx(mean, abs=0.01)
    assert lines["all", "all", "explained"]["accuracy, points more"] == "+50.00"
    assert lines["all", "all", "explained"]["clusters"] == "8"


@given(places=st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("abc")), min_size=1))
@pytest.mark.parametrize("absent", [(), ("source",), ("dimension",), ("source", "dimension")])
def test_no_texts_are_told_twice(absent: tuple[str, ...], places: list[tuple[str, str]]) -> None:
    test = [
        row | {"source": source, "dimension": dimension} | dict.fromkeys(absent, "")
        for row, (source, dimension) in zip(texts(len(places)), places, strict=True)
    ]
    written = {("label", 1): ev.join_answers(test, [answer(row, 1) for row in test])}
    table = rating_tables.every_setting(test, written, {"label": ARMS["label"]}, LABELS)
    told = [
        frozenset(
            row["id"]
            for row in test
            if all(line[part] in ("all", row[part]) for part in ("source", "dimension"))
        )
        for line in table
        if line["arm"] == "label"
    ]
    assert [len(ids) for ids in told] == [int(line["n"]) for line in table[::2]]
    assert len(set(told)) == len(told)
    assert set(told) >= {
        frozenset(row["id"] for row in test if (row["source"], row["dimension"]) == setting)
        for setting in rating_tables.settings(test)
    }


@pytest.mark.parametrize("held", [["same_steps", "explained"], ["explained", "bare"], ["label"]])
def test_held_out_arms_are_held_against_one_that_was_held_out(held: list[str]) -> None:
    arms = {"label": ARMS["label"], "same_steps": ARMS["label"]} | ARMS
    _, written = study()
    runs = {(arm, 1): written[arm.replace("same_steps", "label"), 1] for arm in held}
    parts = dict.fromkeys("xy", rating_tables.HeldOut([], runs, None))
    reference = held[0] if arms[held[0]].target == "label" else None
    for line in rating_tables.transfer(parts, arms, LABELS):
        if line["arm"] != rating_tables.FLOOR:
            assert line.get("against") == (None if line["arm"] == reference else reference)


def test_transfer_is_measured_on_the_part_alone() -> None:
    _, written = study()
    arms = ("label", "explained")
    parts = {}
    for part, seen in (("x", True), ("y", False)):
        runs = {
            (arm, seed): [row for row in written[arm, seed] if row["source"] == part]
            for arm in arms
            for seed in (1, 2)
        }
        train = [row for row in texts(60) if row["source"] != part and row["label"] != "3"]
        parts[part] = rating_tables.HeldOut(train, runs, runs if seen else None)
    table = rating_tables.transfer(parts, ARMS, LABELS)
    assert [line["held out"] for line in table] == ["x"] * 3 + ["y"] * 3 + ["all parts"] * 2
    assert [line["n"] for line in table] == ["12"] * 6 + ["24"] * 2
    accuracies = [
        line.get("accuracy % where it was seen") for line in table if line["arm"] == "label"
    ]
    assert accuracies == ["50.00", None, None]
    floor = table[0]
    assert floor["arm"] == "majority label" and 0 < float(floor["accuracy %"]) < 50


def test_intervals_of_shares_stay_shares() -> None:
    test = texts(60)
    low, high = stats.share(np.ones((1, 60)), ev.clusters_of(test))
    assert 0.8 < low < 0.9 and high == 1.0  # of 20 conversations, not of 60 texts
    arms = {"label": Arm(target="label")}
    written = {
        ("label", seed): ev.join_answers(
            test, [answer(row, int(row["label"]) if seed == 1 else 1) for row in test]
        )
        for seed in (1, 2)
    }
    (_, line, *_) = rating_tables.every_setting(test, written, arms, LABELS)
    ends = [float(end) for end in line["accuracy %, 95 %"].split(" to ")]
    assert 0 <= ends[0] < ends[1] <= 100


def test_a_judge_is_summed_up_with_what_it_cost() -> None:
    none = dict.fromkeys(("no_score", "out_of_range", "truncated", "empty"), 1)
    rows = [{"judge": name, "n": 9, "rated": 5, **none} for name in ("a", "a", "b")]
    spent = {"a": {"prompt_tokens": 123456789, "completion_tokens": 80, "cost": 0.0125}}
    ours, other, merger = rating_tables.judge_totals(rows, spent | {"merger": {"cost": 1.5}})
    assert (merger["judge"], merger["cost"], merger.get("n")) == ("merger", "1.5", None)
    assert (ours["n"], ours["rated"], ours["empty"], ours["cost"]) == ("18", "10", "2", "0.0125")
    assert ours["prompt tokens"] == "123456789"
    assert (other["n"], other["prompt tokens"], other["cost"]) == ("9", "", "")


def test_the_spread_of_ratings_adds_up() -> None:
    table = rating_tables.spread({"train": texts(24), "test": texts(6)}, LABELS)
    assert len(table) == 2 * 4
    for line in table:
        if line["rows"] != "0":
            assert sum(float(line[f"{label} %"]) for label in LABELS) == pytest.approx(
                100, abs=0.05
            )


def test_the_stage_writes_every_table_and_the_figure(tmp_path: Path, run_stage: RunStage) -> None:
    test, written = study()
    task = tmp_path / "task"
    task.mkdir()
    for split in ("train", "validation", "test"):
        write_rows(task / f"{split}.parquet", test, RATED)
    write_json(task / "labels.json", LABELS)
    inputs = {"task": task}
    for (arm, seed), rows in written.items():
        for role in (f"predictions {arm}-seed{seed}", f"without x: {arm}-seed{seed}"):
            inputs[role] = tmp_path / role.replace(" ", "-").replace(":", "")
            inputs[role].mkdir()
            some = [row for row in rows if role.startswith("pred") or row["source"] == "x"]
            write_rows(inputs[role] / "predictions.parquet", some, PREDICTIONS)
    inputs["held out x"] = tmp_path / "regime"
    inputs["held out x"].mkdir()
    for split, inside in (("test", True), ("train", False)):
        part = [row for row in test if (row["source"] == "x") == inside]
        write_rows(inputs["held out x"] / f"{split}.parquet", part, RATED)
    held = {"parts": [["source", "x"]], "arms": list(ARMS)}
    params = {"arms": arm_params(ARMS), "seeds": [1, 2], "held_out": held}
    done = run_stage("quality", params, inputs)
    assert done.code == 0, done.stderr
    first = {
        "quality": ("label %", "50.00"), "settings": ("source", "all"),
        "transfer": ("held out", "x"), "ratings": ("split", "train"),
        "judges": ("judge", "not run"), "dimensions": ("source", "not run"),
    }  # fmt: skip
    for name, (column, cell) in first.items():
        with (done.output / f"{name}.csv").open() as stream:
            assert next(csv.DictReader(stream))[column] == cell
    assert (done.output / "quality.png").read_bytes()[:4] == b"\x89PNG"
    assert (done.output / "quality.pdf").read_bytes()[:4] == b"%PDF"


def test_the_second_papers_study_runs_through(rated: Tree) -> None:
    """Conversations, judges, ratings, arms, a held-out source, probes: in short."""
    results, short = rated.root / "results", short_study()
    with (results / "quality.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    settings = [(line["source"], line["dimension"]) for line in lines if line["dimension"]]
    sources, dimensions = (short[part] for part in ("conversations", "judging"))
    assert sorted(settings) == sorted(
        itertools.product(sources["sources"], dimensions["dimensions"])
    )
    assert {line["n"] for line in lines if line["dimension"]} == {"4"}
    with (results / "transfer.csv").open() as stream:
        assert [line["held out"] for line in csv.DictReader(stream)] == ["shop"] * 2
    with (results / "judges.csv").open() as stream:
        judges = list(csv.DictReader(stream))
    assert [line["n"] for line in judges] == ["288"] * 3 + ["48"] * (3 * 2 * 3)
    for name in ("quality", "entropy", "rankings"):
        assert (results / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    compare(rated.root, tiny() | short)
    again = rated.run("--dry-run", "--quiet", "host", "--", *STUDY, **short)
    assert "Nothing to be done" in again.stdout + again.stderr
