"""(question, answer, reasoning) triples, split by question, from which the reasoner learns.

IN   a hub data set, local files (columns of triples or of chat messages), or the own generator
OUT  train.parquet, validation.parquet: question, answer, reasoning, domain

Rows stream from disk to disk. A row's split and whether a subset holds it depend on its texts
alone, so a question never stands on both sides.

Run as: python scripts/triples.py results/specs/triples/NAME-KEY.json
"""

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from infuse.config.data_params import HashedFiles, TriplesParams
from infuse.config.triples import ChatColumns, GeneratedTriples
from infuse.config.values import Hub
from infuse.core.errors import UserError, few
from infuse.core.files import RowWriter
from infuse.core.schemas import TRIPLES
from infuse.data.chat_turns import NO_TEXT, triple
from infuse.data.sources import listed, read_file, read_hub, share
from infuse.synthetic import emotions
from infuse.workflow.job import Job, run

VERSION = 3
log = logging.getLogger("infuse")


def triples(job: Job) -> dict[str, Any]:
    """Write both splits; count what was dropped, by reason and domain."""
    params = TriplesParams.model_validate(job.params)
    kept, dropped = Counter[str](), Counter[tuple[str, str]]()
    most = 1.0 if params.rows is None else _threshold(job, params, params.rows)
    with contextlib.ExitStack() as stack:
        writers = {
            split: stack.enter_context(RowWriter(job.out / f"{split}.parquet", TRIPLES))
            for split in ("train", "validation")
        }
        for row in _usable(job, params, dropped):
            if _place(row) >= most:
                dropped["not in the subset", row["domain"]] += 1
                continue
            side = share(row["question"], "split") < params.train_share
            writers["train" if side else "validation"].add(row)
            kept[row["domain"]] += 1
    rows = {split: writer.rows for split, writer in writers.items()}
    if not all(rows.values()):
        reasons: Counter[str] = Counter()
        for (reason, _), number in dropped.items():
            reasons[reason] += number
        counts = few(f"{reason} ({number} rows)" for reason, number in sorted(reasons.items()))
        raise UserError(f"triples: a split is empty ({rows}), dropped: {counts or 'nothing'}")
    log.info("kept %s, dropped %s", rows, listed(dropped) or "nothing")
    return {"rows": rows, "domains": dict(kept), "dropped": listed(dropped)}


def _threshold(job: Job, params: TriplesParams, rows: int) -> float:
    """The largest place in the subset of so many rows."""
    places = np.fromiter((_place(row) for row in _usable(job, params, Counter())), float)
    return 1.0 if rows >= len(places) else float(np.partition(places, rows)[rows])


def _place(row: dict[str, str]) -> float:
    return share(row["question"] + "\0" + row["reasoning"], "subset")


def _usable(
    job: Job, params: TriplesParams, dropped: Counter[tuple[str, str]]
) -> Iterator[dict[str, str]]:
    """Triples that can be learned from; the others are counted in `dropped`."""
    limit = params.max_reasoning_characters or float("inf")
    for row in _raw(job, params):
        texts = [row.get(part) for part in ("question", "answer", "reasoning")]
        if "lacks" in row:
            reason = row["lacks"]
        elif not all(isinstance(text, str) for text in texts):
            reason = NO_TEXT
        elif not all(row[part].strip() for part in ("question", "answer", "reasoning")):
            reason = "an empty field"
        elif len(row["reasoning"]) > limit:
            reason = f"reasoning of more than {limit} characters"
        else:
            yield row
            continue
        dropped[reason, row["domain"]] += 1


def _raw(job: Job, params: TriplesParams) -> Iterator[dict[str, Any]]:
    source = params.source
    if isinstance(source, GeneratedTriples):
        yield from map(asdict, emotions.triples(source.rows, source.seed))
        return
    assert params.columns is not None  # the config was refused otherwise
    columns = params.columns.model_dump(exclude={"kind"}, exclude_none=True)
    for where, raw in _read(job, source, list(columns.values())):
        row = {part: raw[name] for part, name in columns.items()}
        if isinstance(params.columns, ChatColumns):
            parts = triple(row.pop("messages"), where)
            row |= (
                {"lacks": parts} if isinstance(parts, str)
                else dict(zip(("question", "answer", "reasoning"), parts, strict=True))
            )  # fmt: skip
        domain = row.get("domain")
        yield row | {"domain": "all" if domain in (None, "") else str(domain)}


def _read(
    job: Job, source: HashedFiles | Hub, names: list[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of all files, or of the hub, each with its place for messages."""
    if isinstance(source, Hub):
        parts = [(f"{source.id} (train)", read_hub(source, "train", names))]
    else:
        parts = [(path, read_file(path, names)) for path in job.settings.files]
    for where, rows in parts:
        for number, row in enumerate(rows, 1):
            yield f"{where}, row {number}", row


if __name__ == "__main__":
    run(triples)
