"""Files between rules: their schemas, checked on reading; atomic writes; content hashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import yaml

from infuse.errors import UserError, first_line

SPLITS = ("train", "validation", "test")
GROUP = 256  # rows that a `RowWriter` writes at a time


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


TASK = _schema(id=pa.int64(), text=pa.string(), label=pa.string())
RATED = _schema(  # a task with a scale
    id=pa.int64(),
    text=pa.string(),
    label=pa.string(),  # the rating as a whole number
    rating=pa.float64(),
    cluster=pa.string(),  # the conversation, or the context
    source=pa.string(),  # with the dimension, the setting; "" where there is none
    dimension=pa.string(),
)
TRIPLES = _schema(
    question=pa.string(), answer=pa.string(), reasoning=pa.string(), domain=pa.string()
)
CONVERSATIONS = _schema(
    id=pa.int64(),  # over all splits
    source=pa.string(),
    cluster=pa.string(),  # of contexts that differ in case and white space; never in two splits
    context=pa.string(),
    response=pa.string(),
)
DOCUMENTS = _schema(  # in the order of their tokens in the file beside it
    row=pa.int64(),
    length=pa.int32(),
    start=pa.int32(),  # the place of the first target token
)
REASONINGS = _schema(
    split=pa.string(),
    id=pa.int64(),
    reasoning=pa.string(),
    finish=pa.string(),  # "stop" at the end, "length" at the limit, "imported"
    tokens=pa.int32(),
)
ID = _schema(id=pa.int64())
TEXT_LABEL = _schema(id=pa.int64(), text=pa.string(), label=pa.string())
TEXT_REASONING_LABEL = _schema(
    id=pa.int64(), text=pa.string(), reasoning=pa.string(), label=pa.string()
)
PREDICTIONS = _schema(
    id=pa.int64(),
    text=pa.string(),
    label=pa.string(),
    generated=pa.string(),  # what the classifier wrote, special tokens left out
    reasoning=pa.string(),  # the part that is neither label nor separator
    predicted=pa.string(),  # "" where no valid label was written
    outcome=pa.string(),  # right, wrong, no_answer or truncated
    tokens=pa.int32(),  # written, end token included
    closed_set=pa.string(),  # the label with the largest of `log_probabilities`
    log_probabilities=pa.list_(pa.float64()),  # of each whole label and its end, in nats
)


LENS = _schema(  # lists begin with layer 0, the embeddings
    id=pa.int64(),
    label=pa.string(),
    predicted=pa.string(),  # the label with the best score, as `closed_set` of PREDICTIONS
    entropy=pa.list_(pa.float32()),  # of each layer's prediction, in nats
    activation_entropy=pa.list_(pa.float32()),  # of each layer's values, in nats
    ranks=pa.list_(pa.list_(pa.int32())),  # by layer, of each label's token; 1 is the best
    settled=pa.int32(),  # the first layer that is sure of the final label; -1: none
    sharpness=pa.float32(),  # the largest probability at the last layer
)
REASONING = TEXT_REASONING_LABEL.field("reasoning")
ZERO_SHOT = pa.schema(
    [PREDICTIONS.field(name) for name in PREDICTIONS.names[: PREDICTIONS.names.index("tokens")]]
    + [pa.field("prompt_tokens", pa.int32()), pa.field("tokens", pa.int32())]  # null: not told
)


_UNJUDGED = _schema(
    split=pa.string(),
    id=pa.int64(),  # of the conversation
    dimension=pa.string(),
    style=pa.string(),  # of the prompt
    explanation=pa.string(),
    outcome=pa.string(),  # rated, no_score, out_of_range, truncated or empty
    tokens=pa.int32(),
)
JUDGMENTS = pa.schema(  # score on the style's own scale, rating on 1 to 5; null: not rated
    [*_UNJUDGED, pa.field("score", pa.float64()), pa.field("rating", pa.float64())]
)
RATINGS = _schema(
    id=pa.int64(),  # the conversation's, times the number of dimensions, plus the dimension's place
    source=pa.string(),
    dimension=pa.string(),
    cluster=pa.string(),
    context=pa.string(),
    response=pa.string(),
    rating=pa.float64(),  # 1 to 5, mean of what was rated, not rounded
    explanation=pa.string(),  # of all that were given; "" where none was
)


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
    """The rows of a task's split: RATED where it has a scale, else TASK; and reasonings beside
    ratings, where there are any.
    """
    path = folder / f"{split}.parquet"
    with _readable(path):
        columns = pq.read_schema(path).names
    if "rating" not in columns:
        return read_rows(path, TASK)
    return read_rows(path, RATED.append(REASONING) if "reasoning" in columns else RATED)


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
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
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
    """Bring a finished file or folder to disk, then give it its name in one step."""
    parts = [unfinished, *unfinished.rglob("*")] if unfinished.is_dir() else [unfinished]
    for part in parts:
        descriptor = os.open(part, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    if path.is_dir():
        shutil.rmtree(path)
    unfinished.replace(path)


def fingerprint(value: Any, digits: int = 12) -> str:
    """A hash, of 1 to 64 hexadecimal digits, of a JSON value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def content_hash(path: str, where: str) -> str:
    """The MD5 of a file or of a folder's files, or that which a DVC pointer beside it gives.

    MD5 because DVC records it: a pointer can stand in for a file that was not pulled.

    Raises:
        UserError: there is neither the file nor a pointer, or the pointer gives no MD5; `where`
            names the config key.
    """
    target, pointer = Path(path), Path(path + ".dvc")
    if target.is_file():
        with target.open("rb") as stream:
            return hashlib.file_digest(stream, "md5").hexdigest()
    if target.is_dir():
        files = sorted(file for file in target.rglob("*") if file.is_file())
        return fingerprint(
            [[str(f.relative_to(target)), content_hash(str(f), where)] for f in files]
        )
    if pointer.is_file():
        try:
            return str(yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"][0]["md5"])
        except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError):
            raise UserError(f"{where}: expected outs[0].md5 in the DVC pointer {pointer}") from None
    raise UserError(f"{where}: no such file or folder: {path}")


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown whose columns are aligned, so that it reads well as plain text too."""
    lines = [
        [" ".join(cell.splitlines()).replace("|", "\\|") for cell in line]
        for line in (columns, *rows)
    ]
    widths = [max(3, *(len(cell) for cell in column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "".join("| " + " | ".join(map(str.ljust, line, widths)) + " |\n" for line in lines)


def html(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as a page of its own; numbers stand to the right."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>\n"

    body = "".join(line(cells, "td") for cells in rows)
    body = re.sub(r"<td>([-+]?[\d.]+(?:e-?\d+)?)</td>", r"<td class=number>\1</td>", body)
    return (
        f"{_PAGE}<table>\n<thead>{line(columns, 'th')}</thead>\n<tbody>\n{body}</tbody></table>\n"
    )


_PAGE = """<!doctype html>
<meta charset="utf-8">
<style>
  body { font: 14px/1.4 system-ui, sans-serif; color: #1f2933; margin: 1.5em; background: white }
  table { border-collapse: collapse }
  th { text-align: left; border-bottom: 2px solid #2f6f9f; vertical-align: bottom }
  th, td { padding: 0.3em 0.8em 0.3em 0; max-width: 28em; overflow-wrap: break-word }
  td { border-bottom: 1px solid #e8f0f6; vertical-align: top }
  .number { text-align: right; font-variant-numeric: tabular-nums }
</style>
"""
