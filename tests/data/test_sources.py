"""Files of rows: what arrow, JSON and the file's first bytes hold is read as meant or refused."""

from __future__ import annotations

import datetime
import decimal
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infuse.core.errors import LINE, SCREEN, UserError, few, quoted
from infuse.data.labels import LabelRule, NoLabel
from infuse.data.sources import names_in_notes, read_file


def label_of(array: pa.Array, path: Path) -> str:
    """The name of the first label of a parquet column, or what is said of it."""
    pq.write_table(pa.table({"label": array}), path)
    try:
        return LabelRule().name(next(read_file(str(path), ["label"]))["label"])
    except (NoLabel, UserError) as refusal:
        return str(refusal)


CELLS: list[tuple[pa.Array, str]] = [
    (pa.array(["joy"]).dictionary_encode(), "joy"),
    (pa.array([3]).dictionary_encode(), "3"),
    (pa.array(["joy"], pa.large_string()), "joy"),
    (pa.array([decimal.Decimal("2.00")]), "2"),
    (pa.array([decimal.Decimal("2.50")]), "2.5"),
    (pa.array([2.0], pa.float32()), "2"),
    (pa.array([2**63], pa.uint64()), str(2**63)),
    (pa.array([True]), "True"),
    (pa.array([2.0**60]), "expected a label, found 1.152921504606847e+18 (a number that a float"
     " does not hold to the last digit)"),
    (pa.array([datetime.date(2024, 7, 26)]), "expected a label, found date 2024-07-26"),
    (pa.array([datetime.datetime(2024, 7, 26, 1, 2)]),
     "expected a label, found datetime 2024-07-26 01:02:00"),
    (pa.array([["joy", "anger"]]), "expected a label, found ['joy', 'anger']"),
    (pa.array([{"name": "joy"}]), "expected a label, found {'name': 'joy'}"),
    (pa.nulls(1), "expected a label, found None"),
    (pa.array([b"joy"]), "FILE, row 1: column 'label': expected text, found bytes b'joy'"),
    (pa.array([b"joy"]).dictionary_encode(),
     "FILE, row 1: column 'label': expected text, found bytes b'joy'"),
]  # fmt: skip


@pytest.mark.parametrize(("array", "said"), CELLS, ids=[str(array.type) for array, _ in CELLS])
def test_a_label_of_every_type(array: pa.Array, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    assert label_of(array, path).replace(str(path), "FILE") == said


def test_a_column_that_stands_twice(tmp_path: Path) -> None:
    path = str(tmp_path / "a.parquet")
    table = pa.table([["so"], ["joy"], ["anger"]], names=["text", "label", "label"])
    pq.write_table(table, path)
    with pytest.raises(UserError, match="column 'label' stands 2 times"):
        list(read_file(path, ["text", "label"]))
    assert list(read_file(path, ["text"])) == [{"text": "so"}]


CLASS = {"names": ["a", "b"], "_type": "ClassLabel"}
NOTES: list[tuple[Any, list[str] | None]] = [
    (CLASS, ["a", "b"]),
    ({"num_classes": 2, "names": ["a ", "b"], "names_file": None, "id": None}, ["a", "b"]),
    ([CLASS], None),
    ({"feature": CLASS, "_type": "List"}, None),
    ({"feature": CLASS, "length": -1, "_type": "Sequence"}, None),
    ({"dtype": "int64", "_type": "Value"}, None),
    ({"names": [], "_type": "ClassLabel"}, None),
    ({"names": "a b"}, None),
    (["names"], None),
    ("ClassLabel", None),
    (None, None),
]


@pytest.mark.parametrize(("note", "names"), NOTES)
def test_notes_of_every_form(note: Any, names: list[str] | None, tmp_path: Path) -> None:
    path = str(tmp_path / "a.parquet")
    for whole in ({"info": {"features": {"label": note}}}, {"info": [note]}, [note], note):
        notes = {b"huggingface": json.dumps(whole).encode()}
        pq.write_table(pa.table({"label": [0]}).replace_schema_metadata(notes), path)
        inner = isinstance(whole, dict) and isinstance(whole.get("info"), dict)
        assert names_in_notes(path, "label") == (names if inner else None)


LINES = [
    ('{"text": "so", "text": "no"}', "line 2: the key 'text' stands twice"),
    ('{"text": "so", "more": [{"a": 1, "a": 2}]}', "line 2: the key 'a' stands twice"),
    ("[1, 2]", "line 2: expected an object, found [1, 2]"),
    ("7", "line 2: expected an object, found 7"),
    ('{"text": "so",}', "line 2: not JSON ("),
    ('{"text": "so"}{"text": "no"}', "line 2: not JSON (Extra data"),
    ("[" * 99999, "line 2: not JSON ("),
    ('{"text": "s\0o"}', "line 2: not JSON ("),
    ("[" + "1, " * 9999 + "1]", "line 2: expected an object, found [1, 1, 1"),
]


@pytest.mark.parametrize(("line", "said"), LINES, ids=[line[:20] for line, _ in LINES])
def test_lines_that_are_no_rows(line: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "so"}\n' + line + "\n")
    with pytest.raises(UserError) as refusal:
        list(read_file(str(path), ["text"]))
    assert str(refusal.value).startswith(f"{path}, {said}") and len(str(refusal.value)) < 300


KINDS = [
    (gzip.compress(b"text\nso\n"), "gzip, to be unpacked"),
    (b"PK\x03\x04 a workbook", "a zip archive or a workbook, to be saved as one of these"),
    ("text\nso\n".encode("utf-16"), "UTF-16, to be saved as UTF-8"),
    (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS (git lfs pull"
     " fetches the file)"),
    (b"<!DOCTYPE html>\n", "a web page"),
    (b"PAR1", "parquet"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "kind"), KINDS, ids=[kind for _, kind in KINDS])
def test_other_files_under_such_a_name(content: bytes, kind: str, tmp_path: Path) -> None:
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError) as refusal:
            list(read_file(str(path), ["text"]))
        own = kind == "parquet" and name == "a.parquet"
        said = "not a readable file (" if own else f"expected what its name says, found {kind}"
        assert str(refusal.value).startswith(f"{path}: {said}")


def test_no_message_is_longer_than_a_screen() -> None:
    assert len(str(UserError("x" * 10**6))) <= LINE
    many = str(UserError("\n".join(f"line {n} {'x' * 99}" for n in range(10**4))))
    assert len(many) <= SCREEN + LINE and many.endswith(" more")
    assert len(quoted(["x"] * 10**5)) < 100 and len(few(["x" * 10**5] * 10**4)) < 200
    assert few(["a", "b"]) == "a, b" and few([]) == ""
