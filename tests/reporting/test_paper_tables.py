"""Tables say what the numbers say, and invent none."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from infuse.core.files import read_csv
from infuse.core.render import markdown
from infuse.evaluation import scores as ev
from infuse.reporting import cells, paper_tables
from trees import Tree, nodes


def _table(tree: Tree, name: str) -> dict[str, dict[str, str]]:
    with Path(tree.root / f"results/{name}.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    return {next(iter(row.values())): row for row in rows}


@given(st.lists(st.tuples(*[st.text(st.sampled_from('a ,"|\r\n\u2028'))] * 2), min_size=1))
def test_each_line_of_a_table_is_one_row(rows: list[tuple[str, str]]) -> None:
    """Whatever ends a line elsewhere stands in its cells."""
    table = [{"a": one, "b": other} for one, other in rows]
    read = csv.DictReader(io.StringIO(cells.csv_text(table), newline=""))
    assert list(read) == table
    assert len(markdown(["a", "b"], rows).split("\n")) == len(rows) + 3


def test_no_p_is_zero() -> None:
    assert [cells.p_value(p) for p in (1.0, 0.0231, 1e-54, 0.0)] == [
        "1", "0.023", "1e-54", "<1e-300"
    ]  # fmt: skip


def test_table_3_holds_the_measured_accuracies(built: Tree) -> None:
    table = _table(built, "table3")
    measured = {
        row["arm"]: row
        for row in read_csv(
            nodes(built, "metrics")["tiny-tables"] / "classifiers.csv", ev.CLASSIFIERS
        )
    }
    for model, arm in (
        ("Q->A", "label"), ("Q->A, equal steps", "label_same_steps"), ("Q->RA", "reason_label")
    ):  # fmt: skip
        assert table[model]["accuracy %"] == cells.percent(measured[arm]["accuracy"])
        assert table[model]["steps"] == str(measured[arm]["steps"])
    assert table["zero-shot API model"]["accuracy %"] == "not run"


def test_fidelity_judges_nothing_that_is_not_the_papers(built: Tree) -> None:
    table = _table(built, "fidelity")
    assert {row["verdict"] for name, row in table.items() if name.startswith("table 4,")} <= {
        "not comparable",
        "not run",
    }
    assert "base model is scratch" in table["table 3, Q->A, accuracy %"]["note"]
    assert table["z of Q->RA against Q->A"]["verdict"] == "agrees"


def test_table_2_sorts_cases_by_what_the_reasoning_argues_for() -> None:
    """Words stand for labels here, so which label a reasoning argues for is plain."""
    training = [
        {"reasoning": f"{word} {word} indeed", "label": label}
        for word, label in (("tears", "sadness"), ("smiles", "joy"))
        for _ in range(5)
    ]
    cases = [
        ("joy", "joy", "smiles"), ("joy", "joy", "tears"), ("joy", "sadness", "tears"),
        ("joy", "sadness", "smiles"),
    ]  # fmt: skip
    rows = [
        {
            "id": number, "text": f"text {number}", "label": label, "predicted": predicted,
            "reasoning": reasoning, "outcome": "right" if label == predicted else "wrong",
        }
        for number, (label, predicted, reasoning) in enumerate(cases)
    ]  # fmt: skip
    table = paper_tables.table2(training, rows)
    assert [line["kind"] for line in table] == list(paper_tables.KINDS)
    assert [line["text"] for line in table] == [f"text {number}" for number in range(4)]
    assert [line["argues for"] for line in table] == ["joy", "sadness", "sadness", "joy"]


def test_reasonings_that_no_linear_model_can_learn_from_are_told_as_such() -> None:
    for training in ([{"reasoning": "so it is", "label": "joy"}], [
        {"reasoning": " ", "label": label} for label in ("joy", "fear")
    ]):  # fmt: skip
        assert {line["rows"] for line in paper_tables.table2(training, [])} == {cells.NOT_RUN}


def test_missing_arms_are_said_to_be_missing() -> None:
    assert {line["rows"] for line in paper_tables.table2([], None)} == {cells.NOT_RUN}
    table = paper_tables.table3({}, [], [], [])
    assert {line["accuracy %"] for line in table} == {cells.NOT_RUN}
