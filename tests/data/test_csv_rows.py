"""CSV: what was written comes back, or is refused with its line."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infuse.core.errors import UserError
from infuse.data.sources import read_file

COLUMNS = ["text", "label"]
HOSTILE = st.text(st.sampled_from("ab ,;\"'\\\n\r\t\u2028\x85\ufeff\x00é"), max_size=8)
TEXTS = HOSTILE | st.text(st.characters(codec="utf-8"), max_size=8)
ROWS = st.lists(st.tuples(TEXTS, st.sampled_from(["joy", "anger", "1"])), max_size=12)


def write(path: Path, rows: Sequence[Sequence[str]], **dialect: Any) -> str:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, **dialect)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return str(path)


def read(path: str) -> list[tuple[str, str]]:
    return [(row["text"], row["label"]) for row in read_file(path, COLUMNS)]


@settings(max_examples=300)
@given(
    rows=ROWS,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_a_standard_writer_writes_comes_back(
    rows: list[tuple[str, str]], quoting: Any, end: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Line ends alone that a writer leaves without quotes may end a row too early: then its line is
    refused.
    """
    path = write(
        tmp_path_factory.mktemp("csv") / "a.csv", rows, quoting=quoting, lineterminator=end
    )
    bare = quoting == csv.QUOTE_MINIMAL and any("\r" in text or "\n" in text for text, _ in rows)
    try:
        assert read(path) == rows
    except UserError as refusal:
        swallowed = "like whole rows" in str(refusal)
        assert f"{path}, line " in str(refusal) and (bare or swallowed)


@settings(max_examples=300)
@given(
    rows=st.lists(
        st.tuples(st.text(st.sampled_from('ab ,"'), max_size=8), st.sampled_from(["joy", "1"])),
        max_size=12,
    ),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE]),
)
@example(rows=[(',"', "joy"), ('"', "1")], quoting=csv.QUOTE_MINIMAL)
def test_quotes_escaped_by_backslashes_are_refused_with_their_line(
    rows: list[tuple[str, str]], quoting: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    how = {"quoting": quoting, "doublequote": False, "escapechar": "\\"}
    path = write(tmp_path_factory.mktemp("csv") / "a.csv", rows, **how)
    try:
        assert read(path) == rows
    except UserError as refusal:
        assert f"{path}, line " in str(refusal)


LONG = "".join(f"text {n},joy\n" for n in range(5))
QUOTE = "a quote mark opens a cell here, and none closes it where the cell ends"
CELLS = "the header has 2; a cell with a comma or a line break stands in quotes"
# what stands in the file after the header, the line that is named, what is said of it
WRONG = [
    (f'so,joy\n"tall table,joy\n{LONG}"small bench,joy\n', 3, QUOTE),
    (f'so,joy\n"tall table,joy\n{LONG}', 3, QUOTE),
    (f'"one\ntwo",joy\n"three\nfour",joy\n"tall,joy\n{LONG}', 6, QUOTE),
    (f'"one\ntwo","joy\n{LONG}', 3, QUOTE),
    (f'so,joy\n"tall table,joy\n{LONG}small bench",joy\n', 3, "a cell in quotes holds lines"),
    (f'"tall table,joy\nsmall bench",joy\n{LONG}', 2, "a cell in quotes holds lines"),
    ('"he said \\"no\\" twice",joy\n', 2, QUOTE),
    ('he said \\"no\\" twice,joy\n', 2, "a backslash before a quote mark"),
    ('so,joy\nso, "joy"\n', 3, "white space before the quote mark"),
    ('",\\"",joy\n\\",1\n', 2, "a backslash before a quote mark makes a cell hold lines"),
    ("so,joy\nso\n", 3, f"1 cell(s), {CELLS}"),
    ("so,joy\nso, and so,joy\n", 3, f"3 cell(s), {CELLS}"),
    ("so,joy\ntext,label\nno,joy\n", 3, "the header stands among the rows once more"),
    ("so,joy\n\ufefftext,label\nno,joy\n", 3, "the header stands among the rows once more"),
    ("so,joy\nso\rand so,joy\n", 3, "another line end than the header's, outside quotes"),
]


@pytest.mark.parametrize(("rows", "line", "said"), WRONG)
def test_rows_that_cannot_be_meant_are_refused(
    rows: str, line: int, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\n" + rows.encode())
    with pytest.raises(UserError) as refusal:
        read(str(path))
    assert str(refusal.value).startswith(f"{path}, line {line}: {said}")


def test_swallowed_rows_are_seen_where_the_label_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('label,text\njoy,so\njoy,"tall table\nanger,and so\njoy,bench"\nanger,no\n')
    with pytest.raises(UserError, match="line 3: a cell in quotes holds lines"):
        read(str(path))


MEANT = [
    ('5" nail,joy\n', [('5" nail', "joy")]),
    ('so "great" a film,joy\n', [('so "great" a film', "joy")]),
    ('"say ""no""",joy\n', [('say "no"', "joy")]),
    ('"C:\\",joy\n', [("C:\\", "joy")]),
    ('"Dear John,\nthank you, joy\nand more",joy\nso,joy\n',
     [("Dear John,\nthank you, joy\nand more", "joy"), ("so", "joy")]),
    ('"{""said"": ""\\""no\\"",\n twice""}",joy\n', [('{"said": "\\"no\\",\n twice"}', "joy")]),
    ('"a\r\nb",joy\r\n\r\nso,joy', [("a\r\nb", "joy"), ("so", "joy")]),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "meant"), MEANT)
def test_rows_that_are_odd_are_read_as_meant(
    rows: str, meant: list[tuple[str, str]], tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbftext,label\n" + rows.encode())
    assert read(str(path)) == meant


HEADERS = [
    ("text,label,label", "column 'label' stands 2 times"),
    ("text,Label", "column 'label' is missing, found ['text', 'Label'], did you mean 'Label'?"),
    ("text, label", "column 'label' is missing, found ['text', ' label'], did you mean ' label'?"),
    ("text;label", "column 'text' is missing, found ['text;label']; expected commas"),
    ("text\tlabel", "column 'text' is missing, found ['text\\tlabel']; expected commas"),
    ("t\0e\0x\0t\0", "column 'text' is missing, found ['t\\x00e\\x00x\\x00t\\x00']; is it UTF-16?"),
    (",".join(f"c{n}" for n in range(600)), "column 'text' is missing, found ['c0', 'c1', 'c2',"),
]


@pytest.mark.parametrize(("header", "said"), HEADERS)
def test_headers_that_cannot_be_meant_are_refused(header: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\n")
    with pytest.raises(UserError) as refusal:
        read(str(path))
    assert str(refusal.value).startswith(f"{path}: {said}") and len(str(refusal.value)) < 400


def test_columns_that_nobody_reads_may_stand_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,,label,\nso,1,joy,2\n")
    assert read(str(path)) == [("so", "joy")]
