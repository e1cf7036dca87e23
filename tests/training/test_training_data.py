"""What is expected of training sets that are not here yet is what they are at their longest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from infuse.config.model_params import ClassifierParams, TargetForm
from infuse.core.files import write_json, write_rows
from infuse.core.schemas import TASK, TEXT_REASONING_LABEL
from infuse.data.encoder import Encoder
from infuse.data.targets import REASONED
from infuse.training.matching import lesson
from infuse.training.training_data import ExpectedSets, TrainingSets

LABELS = ["joy", "sadness"]
CHAT = {"system": "Find it.", "date_string": ""}
LIMIT = 12
RECIPE = tiny.RECIPE | {"batching": {"kind": "rows", "rows": 3}, "epochs": 2}


def form(target: str = "reason_label") -> ClassifierParams:
    return ClassifierParams.model_validate({
        "chat": CHAT, "target": target, "separator": " so ", "recipe": RECIPE, "seed": 1,
        "match": {}, "label_weight": None, "compute": tiny.COMPUTE,
    })  # fmt: skip


def folders(root: Path, reasonings: list[str]) -> dict[str, Path]:
    """A task, and a training set with a reasoning for each of its texts."""
    rows = [
        {"id": row, "text": f"i feel {row}", "label": LABELS[row % 2], "reasoning": reasoning}
        for row, reasoning in enumerate(reasonings)
    ]
    inputs = {"task": root / "task", "training_set": root / "set"}
    for role, schema in (("task", TASK), ("training_set", TEXT_REASONING_LABEL)):
        inputs[role].mkdir(exist_ok=True)
        write_rows(
            inputs[role] / "train.parquet",
            [{name: row[name] for name in schema.names} for row in rows],
            schema,
        )
    write_json(inputs["task"] / "labels.json", LABELS)
    return inputs


def expected(inputs: dict[str, Path], limit: int = LIMIT) -> ExpectedSets:
    task = {"task": inputs["task"]}
    return ExpectedSets(task, tiny.tokenizer(), 1000, {"training_set": limit})


@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(1, LIMIT), min_size=1, max_size=9),
    target=st.sampled_from(REASONED),
)
def test_no_training_set_is_longer_than_expected(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], target: str
) -> None:
    encoder = Encoder(tiny.tokenizer())
    (word,) = encoder.plain([" happy"])
    reasonings = [encoder.text((word * LIMIT)[:length]).strip() or "so" for length in lengths]
    inputs = folders(tmp_path_factory.mktemp("sets"), reasonings)
    arm = form(target)
    real, _ = TrainingSets(inputs, tiny.tokenizer(), 1000).read("training_set", arm)
    most, _ = expected(inputs).read("training_set", arm)
    assert (real.lengths <= most.lengths).all() and (real.supervised <= most.supervised).all()
    taken = np.array([len(ids) for ids in encoder.plain(reasonings)])
    more = most.lengths - real.lengths
    if target == "multi_task":  # labels, and between them reasonings
        assert not more[::2].any()
        more = more[1::2]
    assert (more == LIMIT - taken).all()
    tight = int(real.lengths.max())  # all that is real fits, and so it is expected to
    fewer = ExpectedSets({"task": inputs["task"]}, tiny.tokenizer(), tight, {"training_set": LIMIT})
    fitted, dropped = fewer.read("training_set", arm)
    assert not dropped and (real.lengths <= fitted.lengths).all() and fitted.lengths.max() <= tight


@pytest.mark.parametrize("target", ["label", "head"])
def test_without_reasonings_the_expected_set_is_the_real_one(tmp_path: Path, target: str) -> None:
    inputs = folders(tmp_path, ["so"] * 7)
    real = TrainingSets({**inputs, "training_set": inputs["task"]}, tiny.tokenizer(), 1000)
    planned, wanted = (
        lesson(sets, form(target)) for sets in (expected(inputs, limit=0), real)
    )  # fmt: skip
    assert (planned.documents.tokens == wanted.documents.tokens).all()
    assert [rows.tolist() for rows in planned.steps] == [rows.tolist() for rows in wanted.steps]


def test_a_matched_arm_is_expected_to_take_as_many_steps(tmp_path: Path) -> None:
    inputs = folders(tmp_path, ["so it is"] * 7)
    batching = {
        "kind": "tokens", "bin_tokens": 64, "bin_rows": 9, "bins": 1, "drop_last": False
    }  # fmt: skip
    recipe = RECIPE | {"batching": batching}
    steps = form().model_dump(include=TargetForm.model_fields.keys())
    arm = form("label") | {"recipe": recipe, "match": {"steps": steps, "by": "splitting"}}
    roles = {"training_set": 0, "match steps": LIMIT}
    sets = ExpectedSets({"task": inputs["task"]}, tiny.tokenizer(), 1000, roles)
    other = lesson(expected(inputs), form() | {"recipe": recipe})
    assert len(lesson(sets, arm).steps) == len(other.steps) > 2
