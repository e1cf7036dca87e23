"""Raw data from files or the hub, row by row, and the rules by which rows become ours.

Nothing here holds a data set in memory: rows stream from disk.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from infuse.core.errors import UserError, first_line
from infuse.core.hub_errors import complaint

Row = dict[str, Any]
_BATCH = 512
_THOUGHT = re.compile(r"\s*<think>(?P<reasoning>.*?)</think>(?P<answer>.*)", re.DOTALL)


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
        yield from reader(path, columns)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as damage:
        near = damage.object[max(damage.start - 20, 0) : damage.end + 10]
        raise UserError(
            f"{path}: not valid UTF-8 ({damage.reason}: {near!r}); save it as UTF-8"
        ) from None
    except (pa.ArrowException, csv.Error, OSError) as damage:
        raise UserError(f"{path}: not a readable file ({first_line(damage)})") from None


def read_hub(source: Mapping[str, Any], split: str, columns: Sequence[str]) -> Iterator[Row]:
    """The rows of one split of a data set on the hub, at its pinned revision.

    Raises:
        UserError: the hub, the data set, the split or a column can't be had.
    """
    rows = _hub(source, split)
    _require(columns, rows.column_names, f"{source['id']} ({split})")
    for batch in rows.select_columns(list(columns)).with_format("arrow").iter(_BATCH):
        yield from batch.to_pylist()


def _hub(source: Mapping[str, Any], split: str) -> Any:
    import datasets

    try:
        return datasets.load_dataset(
            source["id"], source["config"], split=split, revision=source["revision"]
        )
    except Exception as failure:  # the client raises errors of many kinds
        told = f"can't be loaded ({type(failure).__name__}: {first_line(failure)})"
        told = complaint(failure, source["revision"]) or told
        raise UserError(f"{source['id']} ({split}): {told}") from failure


def label_names(path: str, column: str) -> list[str] | None:
    """The names that a parquet file written by `datasets` gives the places in a label column."""
    if not path.endswith(".parquet") or not Path(path).is_file():
        return None
    try:
        written = (pq.read_schema(path).metadata or {}).get(b"huggingface", b"{}")
        names = json.loads(written).get("info", {}).get("features", {}).get(column, {}).get("names")
    except (pa.ArrowException, OSError, ValueError):
        return None  # whoever reads the rows says what is wrong with the file
    return names and [name.strip() for name in names]


def hub_label_names(source: Mapping[str, Any], column: str) -> list[str] | None:
    """The names that a data set on the hub gives the places in a label column."""
    names = getattr(_hub(source, source["train"]).features.get(column), "names", None)
    return names and [name.strip() for name in names]


def _parquet(path: str, columns: Sequence[str]) -> Iterator[Row]:
    # Reading ahead would keep the whole file in memory, compressed, until its last row.
    with pq.ParquetFile(path, pre_buffer=False) as file:
        _require(columns, file.schema_arrow.names, path)
        for batch in file.iter_batches(_BATCH, columns=list(columns)):
            for row in batch.to_pylist():
                for value in row.values():
                    if isinstance(value, bytes):
                        raise UserError(f"{path}: expected text, found bytes")
                yield row


def _jsonl(path: str, columns: Sequence[str]) -> Iterator[Row]:
    with Path(path).open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            try:
                row = json.loads(line)
                if "\\ud" in line.lower():  # half a surrogate pair may stand in JSON, not in text
                    json.dumps(row, ensure_ascii=False).encode()
            except ValueError as damage:
                raise UserError(f"{path}, line {number}: not JSON ({damage})") from None
            if not isinstance(row, dict):
                raise UserError(f"{path}, line {number}: expected an object, found {line.strip()}")
            _require(columns, list(row), f"{path}, line {number}")
            yield {name: row[name] for name in columns}


def _csv(path: str, columns: Sequence[str]) -> Iterator[Row]:
    csv.field_size_limit(2**30)
    with Path(path).open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        _require(columns, list(reader.fieldnames or []), path)
        for row in reader:
            if None in row:
                raise UserError(f"{path}, line {reader.line_num}: more cells than columns")
            yield {name: row[name] for name in columns}


def _require(columns: Sequence[str], found: Sequence[str], where: str) -> None:
    for name in columns:
        if name not in found:
            alone = len(found) == 1 and any(mark in found[0] for mark in ";\t")
            hint = "; expected commas between columns" if alone else ""
            raise UserError(f"{where}: column {name!r} is missing, found {list(found)}{hint}")


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


def from_chat(messages: Any) -> tuple[str, str, str] | None:
    """(question, answer, reasoning) of a chat, or None where it lacks a closed think tag.

    The question is the first user turn; reasoning and answer are the inside and the rest of the
    assistant's turn that follows it.
    """
    turns = messages if isinstance(messages, list) else []
    turns = [turn if isinstance(turn, dict) else {} for turn in turns]
    for turn, reply in itertools.pairwise(turns):
        if turn.get("role") == "user" and reply.get("role") == "assistant":
            question, said = turn.get("content"), reply.get("content")
            found = _THOUGHT.fullmatch(said) if isinstance(said, str) else None
            if found is None or not isinstance(question, str):
                return None
            return question, found["answer"].strip(), found["reasoning"].strip()
    return None
