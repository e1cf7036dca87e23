"""CSV, read strictly: each row as it is meant, or a refusal with its line.

Commas part the cells, double quotes enclose them and stand twice inside (RFC 4180); a line ends
with LF, CRLF or CR.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from infuse.core.errors import UserError, few, first_line, meant, quoted
from infuse.data.texts import folded

_QUOTED = re.compile(r'"[^"]*+(?:""[^"]*+)*+"(?=,|\r|\n|\Z)')
_BARE = re.compile(r"[^,\r\n]*+")
_ESCAPED = r'(?:"(?:[^"\\]|\\.)*+"|(?:[^",\r\n\\]|\\.)*+)'
_BREAK = re.compile(r"\r\n|\r|\n")
_MOST = 200  # different values of a column that may be one of labels


class _Record:
    """Lines for `csv.reader`, which takes no more of them than the record under way has."""

    def __init__(self, stream: TextIO, path: str) -> None:
        self._stream, self._path = stream, path
        self._first, self._lines = 1, list[str]()

    def __iter__(self) -> Iterator[str]:
        for line in self._stream:
            self._lines.append(line)
            yield line

    def begin(self) -> None:
        """The next line is the first of another record."""
        self._first += len(self._lines)
        self._lines.clear()

    @property
    def raw(self) -> str:
        """The record as it stands in the file."""
        return "".join(self._lines)

    def at(self, place: int = 0) -> str:
        """The file, and the line of a place in the record."""
        line = self._first
        for text in self._lines[:-1]:
            place -= len(text)
            line += place >= 0
        return f"{self._path}, line {line}"


def read(stream: TextIO, columns: Sequence[str], path: str) -> Iterator[dict[str, Any]]:
    """The rows of a CSV file with a header, with `columns` alone.

    Raises:
        UserError: a column is missing or stands twice; a row is not as the header, or is one more
            header; a quote mark stands where it can't be meant.
    """
    csv.field_size_limit(2**30)
    record = _Record(stream, path)
    reader = csv.reader(record, strict=True)
    header = _next(reader, record) or []
    old = record.raw.endswith("\r")  # as on old systems: then all line ends are a CR alone
    require(columns, header, path)
    places = {name: header.index(name) for name in columns}
    swallowed = _Swallowed(places, len(header))
    while True:
        record.begin()
        cells = _next(reader, record)
        if cells is None:
            break
        if record.raw[-1] in "\r\n" and record.raw.endswith("\r") != old:
            raise UserError(f"{record.at()}: another line end than the header's, outside quotes")
        if not cells:  # an empty line
            continue
        _check(cells, header, record)
        swallowed.look(cells, record)
        yield {name: cells[place] for name, place in places.items()}
    swallowed.tell()


def _next(reader: Iterator[list[str]], record: _Record) -> list[str] | None:
    try:
        return next(reader, None)
    except csv.Error as damage:
        opened = next((at for at, _, whole in _cells(record.raw) if not whole), None)
        if opened is None:
            raise UserError(f"{record.at()}: not CSV ({first_line(damage)})") from None
        raise UserError(
            f"{record.at(opened)}: a quote mark opens a cell here, and none closes it where the"
            " cell ends; inside a cell in quotes, a quote mark is written twice"
        ) from None


def _cells(raw: str) -> Iterator[tuple[int, str, bool]]:
    """Where each cell of a record begins, how it is written, and whether its quotes are whole."""
    at = 0
    while at <= len(raw):
        in_quotes = raw.startswith('"', at)
        cell = (_QUOTED if in_quotes else _BARE).match(raw, at)
        if cell is None:
            yield at, raw[at:], False
            return
        yield at, cell[0], True
        if raw[cell.end() : cell.end() + 1] != ",":
            return
        at = cell.end() + 1


def _check(cells: list[str], header: list[str], record: _Record) -> None:
    """Refuse a record that is no row of the table."""
    if len(cells) != len(header):
        raise UserError(
            f"{record.at()}: {len(cells)} cell(s), the header has {len(header)};"
            " a cell with a comma or a line break stands in quotes"
        )
    if len(header) > 1 and [cell.lstrip("\ufeff") for cell in cells] == header:
        raise UserError(f"{record.at()}: the header stands among the rows once more")
    raw = record.raw
    if '"' not in raw:
        return
    for at, cell, _ in _cells(raw):
        if cell.startswith('"'):
            continue
        if cell.lstrip().startswith('"'):
            raise UserError(f"{record.at(at)}: white space before the quote mark that opens a cell")
        if '\\"' in cell:
            raise UserError(
                f"{record.at(at)}: a backslash before a quote mark, {quoted(cell)};"
                " inside a cell in quotes, a quote mark is written twice"
            )
    if '\\""' in raw and _escaped(raw, len(header)):
        raise UserError(
            f"{record.at()}: a backslash before a quote mark makes a cell hold lines like whole"
            " rows; inside a cell in quotes, a quote mark is written twice"
        )


def _escaped(raw: str, width: int) -> bool:
    """Whether a record begins with a whole row for who escapes quote marks by backslashes."""
    row = re.match(f"{_ESCAPED}(?:,{_ESCAPED}){{{width - 1}}}[\r\n]+", raw, re.DOTALL)
    return row is not None and row.end() < len(raw)


class _Swallowed:
    """Rows that have become one cell, since a quote mark opens one and another, rows later, closes
    it: to CSV that is a cell of several lines.

    Such a cell is told by its lines. Each but the last ends, or each but the first begins, as rows
    do: with a value that the same column has elsewhere.
    """

    def __init__(self, places: dict[str, int], width: int) -> None:
        self._width = width
        self._values: dict[int, set[str]] = {place: set() for place in places.values()}
        self._suspects: list[tuple[str, int, set[str]]] = []

    def look(self, cells: list[str], record: _Record) -> None:
        """Remember what a row has in the columns, and cells that may be several rows."""
        for place, values in self._values.items():
            if len(values) <= _MOST and not _BREAK.search(cells[place]):
                values.add(cells[place])
        for place, cell in enumerate(cells):
            if _BREAK.search(cell) and len(self._suspects) < _MOST:
                self._suspects += self._suspicions(place, cell, record)

    def _suspicions(
        self, place: int, cell: str, record: _Record
    ) -> Iterator[tuple[str, int, set[str]]]:
        lines = [line.split(",") for line in _BREAK.split(cell) if line]
        for column in self._values:
            if column > place:
                parts = [line[column - self._width :][:1] for line in lines[:-1]]
                short = any(len(line) <= self._width - column for line in lines[:-1])
            elif column < place:
                parts = [line[column : column + 1] for line in lines[1:]]
                short = any(len(line) <= column + 1 for line in lines[1:])
            else:
                continue
            values = {value for part in parts for value in part}
            if parts and not short and "" not in values:
                yield record.at(), column, values

    def tell(self) -> None:
        """Refuse the first such cell, once all values are known."""
        for where, column, suspects in self._suspects:
            values = self._values[column]
            if len(values) <= _MOST and suspects <= values:
                alike = few(map(quoted, sorted(suspects)))
                raise UserError(
                    f"{where}: a cell in quotes holds lines that are like whole rows, with {alike}"
                    f" in column {column + 1}: is a quote mark open there? if it is meant so, save"
                    " the file as jsonl"
                )


def require(columns: Sequence[str], names: Sequence[str], where: str) -> None:
    """Refuse columns that are missing, or stand twice."""
    for name in columns:
        if name not in names:
            raise UserError(
                f"{where}: column {name!r} is missing, found [{few(map(quoted, names))}]"
                f"{_meant(name, names)}"
            )
        if names.count(name) > 1:
            raise UserError(f"{where}: column {name!r} stands {names.count(name)} times")


def _meant(name: str, names: Sequence[str]) -> str:
    """What was probably meant by a name that is missing, as the end of a message."""
    if any("\0" in other for other in names):
        return "; is it UTF-16? save it as UTF-8"
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        return "; expected commas between columns"
    same = [other for other in names if folded(other) == folded(name)]
    return f", did you mean {same[0]!r}?" if same else meant(name, list(names))
