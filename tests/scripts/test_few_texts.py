"""From answers to tables and figures where texts are few and labels rare, in any script."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

import tiny
from infuse.config.arms import Arm, Match
from infuse.core.files import write_json, write_rows
from infuse.core.schemas import PREDICTIONS, REASONINGS, TASK, TEXT_REASONING_LABEL
from infuse.evaluation import fidelity
from infuse.workflow.compared_arms import arm_params
from stage_runner import Outcome, RunStage

LABELS = ["生气", "喜悦", "爱", "惊讶"]
ARMS = {
    "label": Arm(target="label"),
    "why": Arm(target="reason_label"),
    "same": Arm(target="label", match=Match(steps="why")),
}
COMPARED = {"arms": arm_params(ARMS), "seeds": [1, 2], "comparisons": [["why", "label"]]}
# Of the four test texts the second label has one, the third none; the fourth label no text has.
TEST = [LABELS[0], LABELS[0], LABELS[0], LABELS[1]]
TRAIN = [*TEST, LABELS[2]]
Row = dict[str, Any]


def answer(number: int, arm: str) -> Row:
    """Q->RA is right on all four texts, Q->A on none; `same` is never asked about the last."""
    label = TEST[number]
    said = {"why": label, "label": LABELS[2], "same": label}[arm]
    fits = arm != "same" or number < 3
    return {
        "id": number, "text": f"今天 {number}", "label": label, "generated": said, "reasoning": "",
        "predicted": said if fits else "", "tokens": 2, "closed_set": said if fits else "",
        "outcome": ("right" if said == label else "wrong") if fits else "too_long",
        "log_probabilities": [-float(said != name) * 3 for name in LABELS] if fits else [],
    }  # fmt: skip


@pytest.fixture
def numbers(tmp_path: Path, run_stage: RunStage) -> tuple[Outcome, dict[str, Path]]:
    """The metrics of two seeds, and what they were made from."""
    inputs = {name: tmp_path / name for name in ("task", "training_set")}
    for folder in inputs.values():
        folder.mkdir()
    for split, labels in (("train", TRAIN), ("validation", TEST), ("test", TEST)):
        rows = [{"id": at, "text": f"今天 {at}", "label": name} for at, name in enumerate(labels)]
        write_rows(inputs["task"] / f"{split}.parquet", rows, TASK)
    write_json(inputs["task"] / "labels.json", LABELS)
    learned = [row | {"reasoning": row["text"]} for row in rows]
    write_rows(inputs["training_set"] / "train.parquet", learned, TEXT_REASONING_LABEL)
    for arm in ARMS:
        for seed in (1, 2):
            folder = inputs[f"predictions {arm}-seed{seed}"] = tmp_path / f"{arm}-{seed}"
            folder.mkdir()
            write_rows(
                folder / "predictions.parquet", [answer(at, arm) for at in range(4)], PREDICTIONS
            )
    given = {name: path for name, path in inputs.items() if name != "training_set"}
    done = run_stage("metrics", COMPARED, given)
    assert done.code == 0, done.stderr + done.log
    return done, inputs


def table(done: Outcome, name: str) -> list[Row]:
    assert done.code == 0, done.stderr + done.log
    with (done.output / f"{name}.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_rare_labels_are_named_and_few_texts_prove_nothing(
    numbers: tuple[Outcome, dict[str, Path]], run_stage: RunStage
) -> None:
    done, inputs = numbers
    for warning in (
        "labels without a training text: 惊讶", "labels with a single training text: 喜悦, 爱",
        "labels without a test text: 爱, 惊讶", "labels with a single test text: 喜悦",
    ):  # fmt: skip
        assert warning in done.log
    for row in table(done, "comparisons"):
        assert float(row["low"]) < 0 and float(row["p"]) > 0.125
        assert row["bootstrap_low"] == ""
    recipe = tiny.RECIPE.model_dump()
    params = COMPARED | {
        "recipes": {"reasoner": recipe, "classifier": recipe},
        "setting": fidelity.PUBLISHED["setting"],
    }
    given = {name: path for name, path in inputs.items() if "predictions why-seed1" in name}
    given |= {"metrics": done.output, **{name: inputs[name] for name in ("task", "training_set")}}
    done = run_stage("tables", params, given)
    for row in table(done, "fidelity"):
        ours = row["verdict"] == "not comparable"
        assert ("task data is other rows of dair-ai/emotion, not dair" in row["note"]) == ours
    lines = {row["model"]: row for row in table(done, "table3")}
    assert lines["Q->RA"]["accuracy %"] == "100.00" and float(lines["Q->RA"]["low"]) < 50
    assert lines["Q->A, equal steps"]["too long"] == "1"
    assert lines["Q->A, equal steps"]["closed set %"] == ""
    more = lines["Q->RA minus Q->A"]
    assert (more["accuracy %"], more["high"]) == ("+100.00", "+100.00") and float(more["low"]) < 0
    assert more["by seed"] == "+100.00 +100.00" and more["McNemar p"] == "0.12 0.12"
    classes = {row["label"]: row for row in table(done, "table4")}
    assert [classes[name]["Q->RA recall %"] for name in LABELS] == ["100.00", "100.00", "", ""]
    assert classes["生气"]["Q->A precision %"] == "" and classes["生气"]["Q->A f1 %"] == "0.00"
    assert {row["model"]: row["macro F1"] for row in table(done, "table5")}["Q->RA"] == "1.0000"


def test_every_arm_and_figure_is_made_of_few_texts(
    numbers: tuple[Outcome, dict[str, Path]], run_stage: RunStage, tmp_path: Path
) -> None:
    done, inputs = numbers
    written = tmp_path / "reasonings"
    written.mkdir()
    told = {"split": "train", "finish": "stop", "tokens": 3}
    rows = [told | {"id": at, "reasoning": f"{name}\uff1a{at}"} for at, name in enumerate(TRAIN)]
    write_rows(written / "reasonings.parquet", rows, REASONINGS)
    write_json(written / "provenance.json", {"params": {"kind": "column"}})
    params = COMPARED | {"regimes": [], "controls": []}
    given = {"metrics": done.output, "task": inputs["task"], "reasonings reasonings": written}
    all_arms = run_stage("arms", params, given)
    [source] = table(all_arms, "sources")
    assert (source["source"], source["kind"], source["reasonings"]) == ("reasonings", "column", "5")
    assert source["names its label %"] == source["distinct %"] == "100.00"
    lines = {row["arm"]: row for row in table(all_arms, "arms")}
    assert "TF-IDF of characters, logistic regression" in lines
    assert (lines["why"]["macro f1"], lines["label"]["macro f1"]) == ("1.0000", "0.0000")
    assert lines["same"]["closed set nll"] == "" != lines["why"]["closed set nll"]
    given = {"metrics": done.output, "task": inputs["task"]}
    drawn = run_stage("figures", COMPARED, given)
    assert drawn.code == 0, drawn.stderr
    assert "UserWarning" not in drawn.stderr and drawn.log.count("figures show") <= 1
    assert (drawn.output / "figure3.png").read_bytes()[:4] == b"\x89PNG"
