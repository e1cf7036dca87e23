"""What all judges together make of each conversation: one rating and one explanation a dimension.

IN   conversations; the judgments of each judge
OUT  train.parquet, validation.parquet, test.parquet: id, source, dimension, cluster, context,
     response, rating, explanation; judges.csv, how each judge agrees with the others;
     dimensions.csv, how the dimensions go together

Explanations are merged by a model behind an endpoint; without one, that of the judgment nearest to
the mean is taken. Replies are kept under results/answers/, so a killed run goes on.

Run as: python scripts/ratings.py results/specs/ratings/NAME-KEY.json
"""

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from infuse.config.data_params import RATINGS_PARAMS, MergedRatingsParams, RatingsParams
from infuse.core.errors import UserError, counted
from infuse.core.files import RowWriter, read_table, write_csv
from infuse.core.progress import Progress
from infuse.core.schemas import JUDGMENTS, RATINGS, SPLITS
from infuse.data.judge_styles import STYLES, StyleName
from infuse.data.scales import rounded
from infuse.evaluation.judge_replies import OUTCOMES
from infuse.evaluation.judges import (
    DIMENSIONS,
    JUDGES,
    agreement,
    argued,
    dimension_rows,
    means_of_others,
    merge_question,
    merged_rating,
    nearest,
    read_conversations,
)
from infuse.inference import api_client
from infuse.inference.api_replies import Reply, warn_of_few
from infuse.workflow.job import Job, run

VERSION = 2
CHUNK = 1000  # conversations whose explanations are merged at a time
NAMED = 10  # of the rows that nobody could rate
log = logging.getLogger("infuse")
Row = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """All judgments, in arrays [conversations, dimensions, columns].

    Attributes:
        columns: judge and style of each column, judges by name.
        cells: the columns of `JUDGMENTS`; NaN where there is no score.
    """

    columns: list[tuple[str, StyleName]]
    cells: dict[str, Any]


def ratings(job: Job) -> dict[str, Any]:
    """Average the ratings, merge the explanations, and tell how far judges agree."""
    params = RATINGS_PARAMS.validate_python(job.params)
    dimensions = params.dimensions
    conversations = read_conversations(job.inputs["conversations"])
    panel = _panel(job, dimensions, conversations)
    means = np.full((len(conversations), len(dimensions)), np.nan)
    unrated: list[str] = []
    outcomes, spent = Counter[str](), list[Reply]()
    with contextlib.ExitStack() as stack:
        writers = {
            split: stack.enter_context(RowWriter(job.out / f"{split}.parquet", RATINGS))
            for split in SPLITS
        }
        for start in range(0, len(conversations), CHUNK):
            drafts = []
            for at in range(start, min(start + CHUNK, len(conversations))):
                for place, dimension in enumerate(dimensions):
                    draft = _draft(panel, conversations[at], at, place, dimensions)
                    if draft is None:
                        unrated.append(f"{conversations[at]['id']} {dimension}")
                    else:
                        means[at, place] = draft["rating"]
                        drafts.append(draft)
            _explain(job, params, drafts, outcomes, spent)
            for draft in drafts:
                writers[draft["split"]].add({name: draft[name] for name in RATINGS.names})
    rows = {split: writer.rows for split, writer in writers.items()}
    if spent and not outcomes["merged"]:
        raise UserError(
            f"ratings: none of {len(spent)} replies of the merging model holds a whole explanation "
            f"({counted(outcomes)})"
        )
    warn_of_few(outcomes["merged"], spent, counted(outcomes))
    if not all(rows.values()):
        raise UserError(f"ratings: no conversation of a split has a rating: {rows}")
    write_csv(job.out / "judges.csv", _judge_rows(panel, conversations, dimensions), JUDGES)
    sources = [row["source"] for row in conversations]
    write_csv(job.out / "dimensions.csv", dimension_rows(means, sources, dimensions), DIMENSIONS)
    facts = {
        "rows": rows,
        "unrated": {"rows": len(unrated), "first": unrated[:NAMED]},
        "explanations": dict(outcomes),
    }
    if isinstance(params, MergedRatingsParams):
        facts |= api_client.usage(job.settings.server, spent)
    log.info("%s", ", ".join(f"{name} {value}" for name, value in facts.items()))
    return facts


def _panel(job: Job, wanted: list[str], conversations: list[Row]) -> Panel:
    """The judgments of all judges, in the order of conversations and dimensions."""
    columns: list[tuple[str, StyleName]] = []
    parts: dict[str, list[Any]] = {name: [] for name in JUDGMENTS.names}
    for role in sorted(role for role in job.inputs if role.startswith("judge ")):
        file = job.inputs[role] / "judgments.parquet"
        table = read_table(file, JUDGMENTS)
        cells = {name: table[name].to_pylist() for name in JUDGMENTS.names}
        dimensions, styles = (list(dict.fromkeys(cells[name])) for name in ("dimension", "style"))
        expected = [
            (row["split"], row["id"], dimension, style)
            for row in conversations
            for dimension in dimensions
            for style in styles
        ]
        keys = zip(*(cells[name] for name in ("split", "id", "dimension", "style")), strict=True)
        if list(keys) != expected or set(dimensions) != set(wanted):
            raise UserError(
                f"{file}: expected a judgment of each conversation, on the dimensions "
                f"{sorted(wanted)} in each style"
            )
        columns += [(role.removeprefix("judge "), style) for style in styles]
        shape = len(conversations), len(dimensions), len(styles)
        order = [dimensions.index(name) for name in wanted]
        for name, values in cells.items():
            kind = float if name in ("score", "rating", "tokens") else object
            parts[name].append(np.array(values, kind).reshape(shape)[:, order])
    return Panel(columns, {name: np.concatenate(part, 2) for name, part in parts.items()})


def _draft(
    panel: Panel, conversation: Row, at: int, place: int, dimensions: list[str]
) -> Row | None:
    """A row of `RATINGS` before it has an explanation; None where nobody rated it."""
    given = [
        (str(explanation), float(rating))
        for explanation, rating in zip(
            panel.cells["explanation"][at, place], panel.cells["rating"][at, place], strict=True
        )
        if not np.isnan(rating)
    ]
    rating = merged_rating([rating for _, rating in given])
    if rating is None:
        return None
    return conversation | {
        "id": conversation["id"] * len(dimensions) + place,
        "dimension": dimensions[place],
        "rating": rating,
        "given": [pair for pair in given if pair[0]],
    }


def _explain(
    job: Job, params: RatingsParams, drafts: list[Row], outcomes: Counter[str], spent: list[Reply]
) -> None:
    """Give each draft one explanation; count in `outcomes` how it came about."""
    explained = [draft for draft in drafts if draft["given"]]
    for draft in drafts:
        draft["explanation"] = ""
    for draft in explained:
        explanations, own = zip(*draft["given"], strict=True)
        draft["explanation"] = nearest(explanations, own, draft["rating"])
    if len(explained) < len(drafts):
        outcomes["none"] += len(drafts) - len(explained)
    if not isinstance(params, MergedRatingsParams):
        outcomes["nearest"] += len(explained)
        return
    questions = [
        merge_question(draft["dimension"], draft["rating"], [text for text, _ in draft["given"]])
        for draft in explained
    ]
    endpoint = job.settings.server
    replies = api_client.ask(endpoint, questions, params, Path(job.settings.answers))
    for draft, reply in zip(explained, replies, strict=True):
        text = reply.text.strip()
        outcome = "truncated" if reply.finish == "length" else "merged" if text else "empty"
        outcomes[outcome] += 1
        if outcome == "merged":
            draft["explanation"] = text
        spent.append(replace(reply, text=""))  # many, and their texts are on disk


def _judge_rows(panel: Panel, conversations: list[Row], dimensions: list[str]) -> Iterator[Row]:
    """The lines of judges.csv: each judge in each style on each dimension."""
    clusters = [row["cluster"] for row in conversations]
    progress = Progress(len(panel.columns) * len(dimensions), "judges, styles and dimensions")
    for place, dimension in enumerate(dimensions):
        cells = {name: panel.cells[name][:, place] for name in panel.cells}
        others = means_of_others(cells["rating"])
        for column, (judge, style) in enumerate(panel.columns):
            own = {name: cells[name][:, column] for name in cells}
            rated = ~np.isnan(own["rating"])
            low, high, _ = STYLES[style]
            explained = np.flatnonzero(rated & (own["explanation"] != ""))
            yield {
                "judge": judge, "style": style, "dimension": dimension, "n": len(rated),
                **{outcome: int((own["outcome"] == outcome).sum()) for outcome in OUTCOMES},
                "mean_rating": float(own["rating"][rated].mean()) if rated.any() else None,
                **agreement(own["rating"], others[:, column]),
                **argued(
                    own["explanation"][explained].tolist(),
                    [rounded(score, low, high) for score in own["score"][explained]],
                    [clusters[at] for at in explained],
                ),
                "mean_tokens": float(own["tokens"].mean()),
            }  # fmt: skip
            progress.advance(1)


if __name__ == "__main__":
    run(ratings)
