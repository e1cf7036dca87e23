"""Raw data from files or the hub, row by row, and the rules by which rows become ours.

Nothing here holds a data set in memory: rows stream from disk.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from infuse.core.errors import UserError, cut, first_line, quoted
from infuse.core.hub_errors import complaint
from infuse.data import csv_rows
from infuse.data.csv_rows import require
from infuse.data.labels import class_names

Row = dict[str, Any]
_BATCH = 512
_KINDS = {
    b"\x1f\x8b": "gzip, to be unpacked",
    b"PK\x03\x04": "a zip archive or a workbook, to be saved as one of these",
    b"\x28\xb5\x2f\xfd": "zstd, to be unpacked",
    b"PAR1": "parquet",
    b"\xff\xfe": "UTF-16, to be saved as UTF-8",
    b"\xfe\xff": "UTF-16, to be saved as UTF-8",
    b"version https://git-lfs": "a pointer of Git LFS (git lfs pull fetches the file)",
    b"<!DOCTYPE html": "a web page",
    b"<html": "a web page",
}  # first bytes of what else is saved under such names


def read_file(path: str, columns: Sequence[str]) -> Iterator[Row]:
    """The rows of a parquet, jsonl or csv file, with `columns` alone.

    Raises:
        UserError: no such file, another kind of file, damage, or a missing column.
    """
    readers = {".parquet": _parquet, ".jsonl": _jsonl, ".csv": _csv}
    reader = readers.get(Path(path).suffix)
    if reader is None:
        raise UserError(f"{path}: expected a file that ends in {', '.join(readers)}")
    try:
        _sniff(path)
        yield from reader(path, columns)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as damage:
        near = damage.object[max(damage.start - 20, 0) : damage.end + 10]
        raise UserError(
            f"{path}: not valid UTF-8 ({damage.reason}: {near!r}); save it as UTF-8"
        ) from None
    except (pa.ArrowException, OSError) as damage:
        raise UserError(f"{path}: not a readable file ({cut(first_line(damage))})") from None


def _sniff(path: str) -> None:
    """Refuse what is known by its first bytes to be of another kind than its name says."""
    if not Path(path).is_file():
        return  # whoever opens it says so
    with Path(path).open("rb") as stream:
        start = stream.read(64)
    for first, kind in _KINDS.items():
        if start.startswith(first) and not path.endswith(f".{kind}"):
            raise UserError(f"{path}: expected what its name says, found {kind}")


class HubDataset(Protocol):
    """A data set on the hub, at a pinned revision, as the config's sections name it."""

    @property
    def id(self) -> str:
        """Its name there."""

    @property
    def config(self) -> str | None:
        """Its configuration, where it has several."""

    @property
    def revision(self) -> str | None:
        """The commit."""


def read_hub(source: HubDataset, split: str, columns: Sequence[str]) -> Iterator[Row]:
    """The rows of one split of a data set on the hub, at its pinned revision.

    Raises:
        UserError: the hub, the data set, the split or a column can't be had.
    """
    rows = _hub(source, split)
    where = f"{source.id} ({split})"
    require(columns, rows.column_names, where)
    yield from _rows(rows.select_columns(list(columns)).with_format("arrow").iter(_BATCH), where)


def _hub(source: HubDataset, split: str) -> Any:
    import datasets

    try:
        return datasets.load_dataset(
            source.id, source.config, split=split, revision=source.revision
        )
    except Exception as failure:  # the client raises errors of many kinds
        why = f"can't be loaded ({type(failure).__name__}: {first_line(failure)})"
        why = complaint(failure, source.revision or "main") or why
        raise UserError(f"{source.id} ({split}): {why}") from failure


def names_in_notes(path: str, column: str) -> list[str] | None:
    """The names that a parquet file written by `datasets` gives the places in a label column.

    Its notes tell them in several forms; a column of lists of labels has none.
    """
    if not path.endswith(".parquet") or not Path(path).is_file():
        return None
    try:
        notes = json.loads((pq.read_schema(path).metadata or {}).get(b"huggingface", b"{}"))
    except (pa.ArrowException, OSError, ValueError):
        return None  # whoever reads the rows says what is wrong with the file
    for key in ("info", "features", column):
        notes = notes.get(key) if isinstance(notes, Mapping) else None
    return class_names(notes.get("names") if isinstance(notes, Mapping) else None)


def hub_label_names(source: HubDataset, split: str, column: str) -> list[str] | None:
    """The names that a data set on the hub gives the places in a label column."""
    return class_names(getattr(_hub(source, split).features.get(column), "names", None))


def _parquet(path: str, columns: Sequence[str]) -> Iterator[Row]:
    # Reading ahead would keep the whole file in memory, compressed, until its last row.
    with pq.ParquetFile(path, pre_buffer=False) as file:
        require(columns, file.schema_arrow.names, path)
        yield from _rows(file.iter_batches(_BATCH, columns=list(columns)), path)


def _rows(batches: Iterable[pa.RecordBatch | pa.Table], where: str) -> Iterator[Row]:
    """The rows of arrow's batches; bytes in a column are no text."""
    number = 0
    for batch in batches:
        try:
            rows = batch.to_pylist()
        except UnicodeDecodeError:
            raise
        except (ValueError, OverflowError) as odd:  # fields that stand twice, times out of range
            raise UserError(f"{where}: a value can't be read ({first_line(odd)})") from None
        for row in rows:
            number += 1
            for name, value in row.items():
                if isinstance(value, bytes):
                    at = f"{where}, row {number}: column {name!r}"
                    raise UserError(f"{at}: expected text, found bytes {quoted(value)}")
            yield row


def _jsonl(path: str, columns: Sequence[str]) -> Iterator[Row]:
    with Path(path).open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            where = f"{path}, line {number}"
            try:
                row = json.loads(line, object_pairs_hook=_once)
                if "\\ud" in line.lower():  # half a surrogate pair may stand in JSON, not in text
                    json.dumps(row, ensure_ascii=False).encode()
            except _Twice as key:
                raise UserError(f"{where}: the key {quoted(str(key))} stands twice") from None
            except (ValueError, RecursionError) as damage:
                raise UserError(f"{where}: not JSON ({damage})") from None
            if not isinstance(row, dict):
                raise UserError(f"{where}: expected an object, found {cut(line.strip())}")
            require(columns, list(row), where)
            yield {name: row[name] for name in columns}


class _Twice(Exception):
    """A key that an object has twice."""


def _once(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise _Twice(next(key for key, count in Counter(k for k, _ in pairs).items() if count > 1))
    return row


def _csv(path: str, columns: Sequence[str]) -> Iterator[Row]:
    with Path(path).open(encoding="utf-8-sig", newline="") as stream:
        yield from csv_rows.read(stream, columns, path)


def share(text: str, salt: str) -> float:
    """A number in [0, 1) that depends on the text alone: equal texts fall on the same side."""
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=salt.encode()).digest()
    return int.from_bytes(digest, "big") / 2**64


def listed(dropped: Counter[tuple[str, str]]) -> list[dict[str, Any]]:
    """What was dropped, by reason and domain, as facts record it."""
    return [
        {"reason": reason, "domain": domain, "rows": rows}
        for (reason, domain), rows in sorted(dropped.items())
    ]
