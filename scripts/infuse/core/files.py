"""Files between rules: read with their schema checked, written in one step."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from infuse.core.errors import UnreadError, UserError, first_line
from infuse.core.schemas import RATED, REASONING, REASONINGS, TASK

GROUP = 256  # rows that a `RowWriter` writes at a time
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)  # of some network and FUSE disks


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """The rows of a parquet file, with exactly the columns of `schema`.

    Raises:
        UserError: the file is missing or damaged, or a column is missing, of another type, or null.
    """
    with _readable(path):
        table = pq.read_table(path)
    return _fitted(table, schema, path)


def read_batches(path: Path, schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """Like `read_table`, at most so many rows at a time."""
    # Reading ahead would keep the whole file in memory, compressed, until its last row.
    with _readable(path), pq.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(rows):
            yield _fitted(pa.Table.from_batches([batch]), schema, path)


def read_task(folder: Path, split: str) -> list[dict[str, Any]]:
    """The rows of a task's split: RATED where it has a scale, else TASK; with reasonings, where
    there are any.
    """
    path = folder / f"{split}.parquet"
    with _readable(path):
        columns = pq.read_schema(path).names
    schema = RATED if "rating" in columns else TASK
    return read_rows(path, schema.append(REASONING) if "reasoning" in columns else schema)


def reasonings_file(candidate: int) -> str:
    """Where the n-th reasonings of texts lie, from 1; training texts alone have further ones."""
    return "reasonings.parquet" if candidate == 1 else f"reasonings-{candidate}.parquet"


def read_candidates(folder: Path) -> list[list[dict[str, Any]]]:
    """The first reasonings in a folder, then those of each further candidate."""
    further = (folder / reasonings_file(candidate) for candidate in itertools.count(2))
    paths = [folder / reasonings_file(1), *itertools.takewhile(Path.is_file, further)]
    return [read_rows(path, REASONINGS) for path in paths]


def count_rows(path: Path) -> int:
    """How many rows a parquet file has.

    Raises:
        UserError: the file is missing or damaged.
    """
    with _readable(path):
        return int(pq.read_metadata(path).num_rows)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, OSError) as damage:
        raise UserError(f"{path}: not a readable parquet file ({first_line(damage)})") from None


def _fitted(table: pa.Table, schema: pa.Schema, path: Path) -> pa.Table:
    """The columns of `schema`, once they are found to be of its types."""
    for field in schema:
        if field.name not in table.column_names:
            raise UserError(f"{path}: column {field.name!r} is missing, found {table.column_names}")
        column = table[field.name]
        if column.type != field.type:
            raise UserError(
                f"{path}: column {field.name!r} is {column.type}, expected {field.type}"
            )
        if column.null_count and not field.nullable:
            raise UserError(f"{path}: column {field.name!r} has {column.null_count} empty value(s)")
    return table.select(schema.names).cast(schema)


def read_rows(path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    """Like `read_table`, as one dictionary for each row."""
    rows: list[dict[str, Any]] = read_table(path, schema).to_pylist()
    return rows


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Write rows as parquet, under a temporary name first."""
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    unfinished = path.with_name(path.name + ".part")
    pq.write_table(table, unfinished, compression="zstd")
    settle(unfinished, path)


class RowWriter(contextlib.AbstractContextManager["RowWriter"]):
    """A parquet file that takes rows one by one and holds few of them in memory."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.rows = 0
        self._schema = schema
        self._file = pq.ParquetWriter(path, schema, compression="zstd")
        self._waiting: list[Mapping[str, Any]] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Take one row."""
        self.rows += 1
        self._waiting.append(row)
        if len(self._waiting) == GROUP:
            self._flush()

    def _flush(self) -> None:
        self._file.write_table(pa.Table.from_pylist(self._waiting, schema=self._schema))
        self._waiting.clear()

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._file.close()


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Write rows as CSV with the columns of `schema`, under a temporary name first."""
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    unfinished = path.with_name(path.name + ".part")
    pa_csv.write_csv(table, unfinished, pa_csv.WriteOptions(quoting_style="needed"))
    settle(unfinished, path)


def read_csv(path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    """The rows of a CSV file with exactly the columns of `schema`.

    Raises:
        UserError: the file is missing or damaged, or does not have these columns.
    """
    try:
        table = pa_csv.read_csv(
            path,
            convert_options=pa_csv.ConvertOptions(column_types=schema, strings_can_be_null=False),
        )
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except pa.ArrowInvalid as damage:
        raise UserError(f"{path}: not a readable table ({first_line(damage)})") from None
    if table.column_names != schema.names:
        raise UserError(f"{path}: expected the columns {schema.names}, found {table.column_names}")
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def read_labels(task: Path) -> list[str]:
    """The names of a task's labels, in the order of all that is made of it.

    Raises:
        UserError: labels.json is missing, or no list of names.
    """
    labels = read_json(task / "labels.json")
    if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
        raise UserError(f"{task / 'labels.json'}: expected a list of names")
    return labels


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: the file is missing, can't be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as refusal:
        raise UnreadError(f"{path}: {refusal.strerror}") from None
    except ValueError as damage:
        raise UserError(f"{path}: not readable as JSON ({damage})") from None


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, under a temporary name first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(text, encoding="utf-8")
    settle(unfinished, path)


def json_text(value: Any) -> str:
    """JSON that a person can read."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write JSON, under a temporary name first."""
    write_text(path, json_text(value))


def settle(unfinished: Path, path: Path) -> None:
    """Bring a finished file or folder to disk, then give it its name in one step.

    A folder may come from another disk: it is copied beside its place first.
    """
    _sync(unfinished)
    try:
        _take_place(unfinished, path)
    except OSError as refusal:
        if refusal.errno != errno.EXDEV:
            raise
        near = path.with_name(f".{path.name}.part")
        discard(near)
        _copy(unfinished, near)
        _sync(near)
        _take_place(near, path)
        discard(unfinished)


def discard(folder: Path) -> None:
    """Remove a folder, if it is there; of a link to one, the link alone."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.is_dir():
        shutil.rmtree(folder)


def _take_place(finished: Path, path: Path) -> None:
    if finished.is_dir():
        discard(path)
    finished.replace(path)


def _copy(folder: Path, to: Path) -> None:
    """Contents alone: some disks refuse rights and times."""
    to.mkdir()
    for part in folder.iterdir():
        if part.is_dir():
            _copy(part, to / part.name)
        else:
            shutil.copyfile(part, to / part.name)


def _sync(finished: Path) -> None:
    """Wait until a file, or all of a folder, is on disk, where the disk can tell."""
    for part in [finished, *finished.rglob("*")] if finished.is_dir() else [finished]:
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as refusal:
            if refusal.errno not in _NO_SYNC:
                raise
        finally:
            os.close(descriptor)
