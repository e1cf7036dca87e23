"""What YAML makes of a text without a word is told by its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from infuse.config import yaml_text
from infuse.core.errors import UserError
from trees import ROOT

SAID = [
    ("task: {labels: [010, 020, 100]}", [
        "line 1: task.labels[0]: YAML takes 010 for the number 8 (put quotes around it)",
        "line 1: task.labels[1]: YAML takes 020 for the number 16 (put quotes around it)",
    ]),
    ("task:\n  labels:\n  - 1:30\n  - 2:45.5", [
        "line 3: task.labels[0]: YAML takes 1:30 for the number 90 (put quotes around it)",
        "line 4: task.labels[1]: YAML takes 2:45.5 for the number 165.5 (put quotes around it)",
    ]),
    ("task: {labels: [0x10, 1_000, +1]}", [
        "line 1: task.labels[0]: YAML takes 0x10 for the number 16 (put quotes around it)",
        "line 1: task.labels[1]: YAML takes 1_000 for the number 1000 (put quotes around it)",
        "line 1: task.labels[2]: YAML takes +1 for the number 1 (put quotes around it)",
    ]),
    ("seeds: [007]", ["line 1: seeds[0]: YAML takes 007 for the number 7 (put quotes around it)"]),
    ("arms: {010: {target: label}}", [
        "line 1: the key arms.010: YAML takes 010 for the number 8 (put quotes around it)",
    ]),
    ("seeds: [1]\ntask:\n  rows: {train: 3,\n    train: 4}\nseeds: [2]", [
        "line 4: task.rows.train stands in line 3 already",
        "line 5: seeds stands in line 1 already",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "lines"), SAID)
def test_what_was_not_meant_is_told(text: str, lines: list[str], tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as refusal:
        yaml_text.check([file])
    errors = [f"my.yaml, {line}" for line in lines]
    assert str(refusal.value).split("\n  ") == [f"{len(lines)} error(s) in the config:", *errors]


MEANT = [
    "task: {labels: ['010', \"1:30\", 1, 0, -1, 1.5]}\nseeds: [1_000]\nlr: 1.0e-3",
    "a: &a {b: 1}\nc: {<<: *a, b: 2}\nd: *a",
    "a: &a [*a]",
    "a: [",
    "",
]


@pytest.mark.parametrize("text", MEANT)
def test_the_rest_is_passed_over(text: str, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(text)
    yaml_text.check([tmp_path / "my.yaml", tmp_path / "none.yaml"])


TEXTS = st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=4,
)


@settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])  # it shrinks for minutes
@given(value=VALUES)
@example(value={"learning_rate": 1e-05})
def test_a_value_is_one_line_that_is_read_as_that_value(value: Any) -> None:
    line = yaml_text.flow(value)
    assert len(line.splitlines()) == 1 and yaml.safe_load(line) == value


def test_our_own_files_are_plain() -> None:
    yaml_text.check([ROOT / "config.yaml", *ROOT.glob("experiments/*.yaml")])
