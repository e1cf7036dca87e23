"""Conversations of several sources in three splits: what judges rate and a student learns from.

IN   hub data sets, local files, or the workflow's own generator
OUT  train.parquet, validation.parquet, test.parquet: id, source, cluster, context, response

A cluster is the contexts that differ only in case and white space. Its hash decides the split, so
no cluster stands in two splits, whatever its sources; another hash draws so many rows of each
source and split. Rows stream from disk, and their order does not matter.

Run as: python scripts/conversations.py results/specs/conversations/NAME-KEY.json
"""

import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any

from infuse.config.conversations import GeneratedTalk, TalkHub, TalkSizes
from infuse.config.data_params import ConversationsParams
from infuse.core.errors import UserError
from infuse.core.files import write_rows
from infuse.core.hashing import fingerprint
from infuse.core.schemas import CONVERSATIONS, SPLITS
from infuse.data.conversation_formats import Draw, Pair, columns_of, pair
from infuse.data.sources import read_file, read_hub, share
from infuse.data.texts import folded
from infuse.synthetic import dialogues
from infuse.workflow.job import Job, run

VERSION = 2
log = logging.getLogger("infuse")
Row = dict[str, Any]


def conversations(job: Job) -> dict[str, Any]:
    """Write the splits; count what was dropped, what is missing, and what sources share."""
    params = ConversationsParams.model_validate(job.params)
    rows: dict[str, list[Row]] = {split: [] for split in SPLITS}
    facts: dict[str, Any] = {"rows": {}, "missing": {}, "dropped": {}}
    for name in sorted(params.sources):
        empty: list[int] = []
        draws = _draws(job, params, name, empty)
        for split, draw in draws.items():
            rows[split] += [
                {"source": name, "cluster": cluster, "context": context, "response": response}
                for cluster, (context, response) in draw.drawn()
            ]
        counts = {split: len(draw.drawn()) for split, draw in draws.items()}
        missing = {split: wanted - counts[split] for split, wanted in _by_split(params.rows)}
        lost = {"rows": len(empty), "first": empty[:5]}
        _tell(name, counts, missing, lost)
        facts["rows"][name], facts["missing"][name], facts["dropped"][name] = counts, missing, lost
    start = 0
    for split in SPLITS:
        numbered = [{"id": number} | row for number, row in enumerate(rows[split], start)]
        write_rows(job.out / f"{split}.parquet", numbered, CONVERSATIONS)
        start += len(numbered)
    facts["shared_clusters"] = _shared([row for split in SPLITS for row in rows[split]])
    return facts


def _by_split(rows: TalkSizes) -> list[tuple[str, int]]:
    """How many rows each split is to have."""
    return [("train", rows.train), ("validation", rows.validation), ("test", rows.test)]


def _total(rows: TalkSizes) -> int:
    return rows.train + rows.validation + rows.test


def _draws(job: Job, params: ConversationsParams, name: str, empty: list[int]) -> dict[str, Draw]:
    """All rows of a source put to its three draws; `empty` collects rows without a pair."""
    draws = {split: Draw(rows, params.seed) for split, rows in _by_split(params.rows)}
    for number, new in enumerate(_pairs(job, params, name), 1):
        if new is None:
            empty.append(number)
            continue
        cluster = fingerprint(folded(new.context), 16)
        draws[_split(cluster, params.rows, params.seed)].add(cluster, new)
    return draws


def _split(cluster: str, rows: TalkSizes, seed: int) -> str:
    """The split of a cluster; each has its part of all that is wanted."""
    place = share(cluster, f"split {seed}") * _total(rows)
    for split, wanted in reversed(_by_split(rows)[1:]):
        place -= wanted
        if place < 0:
            return split
    return "train"


def _pairs(job: Job, params: ConversationsParams, name: str) -> Iterator[Pair | None]:
    """The pair of each row of a source, in order."""
    source, columns = params.sources[name].source, params.sources[name].columns
    if isinstance(source, GeneratedTalk):
        # Splits and repeated contexts need some room.
        rows = 2 * _total(params.rows) + 100
        for talk in dialogues.conversations(rows, source.style, source.seed):
            yield Pair(talk.context, talk.response)
        return
    assert columns is not None  # the config was refused otherwise
    format = columns.model_dump()
    names = columns_of(format)
    if isinstance(source, TalkHub):
        parts = {f"{source.id} ({source.split})": read_hub(source, source.split, names)}
    else:
        parts = {path: read_file(path, names) for path in job.settings.sources[name]}
    for where, rows_of in parts.items():
        for number, row in enumerate(rows_of, 1):
            yield pair(row, format, f"{where}, row {number}")


def _tell(name: str, counts: dict[str, int], missing: dict[str, int], lost: dict[str, Any]) -> None:
    """Say what a source gave.

    Raises:
        UserError: it gave no row to a split.
    """
    dropped = f"{lost['rows']} rows without context or response dropped {lost['first'] or ''}"
    for split, count in counts.items():
        if not count:
            raise UserError(
                f"conversations.sources.{name}: no row for the {split} split, {dropped.strip()}"
            )
    log.info("%s: %s, %s", name, _listed(counts), dropped.strip())
    few = {split: count for split, count in missing.items() if count}
    if few:
        log.info("%s: too few rows, missing are %s", name, _listed(few))


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{split} {count}" for split, count in counts.items())


def _shared(rows: list[Row]) -> list[dict[str, Any]]:
    """How many clusters each group of sources shares."""
    sources: dict[str, set[str]] = {}
    for row in rows:
        sources.setdefault(row["cluster"], set()).add(row["source"])
    counts = Counter(tuple(sorted(names)) for names in sources.values() if len(names) > 1)
    return [{"sources": names, "clusters": count} for names, count in sorted(counts.items())]


if __name__ == "__main__":
    run(conversations)
