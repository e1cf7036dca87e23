"""What one judge, a model behind an endpoint or a simulated one, thinks of each conversation.

IN   conversations
OUT  judgments.parquet: split, id, dimension, style, explanation, outcome, tokens, score, rating

Replies are kept under results/answers/, so a killed run goes on where it stopped.

Run as: python scripts/judgments.py results/specs/judgments/NAME-KEY.json
"""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from infuse.config.data_params import (
    JUDGMENTS_PARAMS,
    AskedJudgmentsParams,
    JudgmentsParams,
    SimulatedJudgmentsParams,
)
from infuse.core.errors import UserError, counted
from infuse.core.files import RowWriter
from infuse.core.progress import Progress
from infuse.core.schemas import JUDGMENTS
from infuse.data.judge_styles import STYLES, StyleName
from infuse.evaluation.judge_replies import read
from infuse.evaluation.judges import question, read_conversations, rescaled
from infuse.inference import api_client
from infuse.inference.api_replies import Reply, shown, warn_of_few
from infuse.workflow.job import Job, run

VERSION = 2
CHUNK = 500  # conversations whose questions are in memory at a time
log = logging.getLogger("infuse")


class Asked(NamedTuple):
    """One question to the judge."""

    conversation: dict[str, Any]
    dimension: str
    style: StyleName


def judgments(job: Job) -> dict[str, Any]:
    """Ask for every judgment, read the replies, and count outcomes, tokens and cost."""
    params = JUDGMENTS_PARAMS.validate_python(job.params)
    conversations = read_conversations(job.inputs["conversations"])
    outcomes = Counter[str]()
    spent: list[Reply] = []
    unread = ""
    questions = len(params.dimensions) * len(params.styles)
    progress = Progress(len(conversations) * questions, "judgments")
    with RowWriter(job.out / "judgments.parquet", JUDGMENTS) as file:
        for start in range(0, len(conversations), CHUNK):
            chunk = list(_questions(params, conversations[start : start + CHUNK]))
            for asked, reply in zip(chunk, _replies(job, params, chunk), strict=True):
                row = _row(asked, reply)
                file.add(row)
                outcomes[row["outcome"]] += 1
                unread = unread or ("" if row["outcome"] == "rated" else shown(reply))
                spent.append(replace(reply, text=""))  # many, and their texts are on disk
            progress.advance(len(chunk))
    if not outcomes["rated"]:
        raise UserError(
            f"judgments: none of {outcomes.total()} replies holds a score ({counted(outcomes)}), "
            f"for example {unread}"
        )
    warn_of_few(outcomes["rated"], spent, unread)
    facts: dict[str, Any] = {"rows": outcomes.total(), "outcomes": dict(outcomes)}
    if isinstance(params, AskedJudgmentsParams):
        facts |= api_client.usage(job.settings.server, spent)
    log.info("%s", ", ".join(f"{name} {value}" for name, value in facts.items()))
    return facts


def _questions(params: JudgmentsParams, conversations: list[dict[str, Any]]) -> Iterator[Asked]:
    """All questions on some conversations; dimensions by name, since their order is in no key."""
    for conversation in conversations:
        for dimension in sorted(params.dimensions):
            for style in params.styles:
                yield Asked(conversation, dimension, style)


def _replies(job: Job, params: JudgmentsParams, chunk: list[Asked]) -> list[Reply]:
    """What the model behind the endpoint, or the simulated judge, says."""
    if isinstance(params, SimulatedJudgmentsParams):
        return _opinions(params, chunk)
    questions = [
        question(
            asked.style, asked.dimension, about.definition, asked.conversation["context"],
            asked.conversation["response"], about.examples,
        )
        for asked in chunk
        for about in [params.dimensions[asked.dimension]]
    ]  # fmt: skip
    endpoint = job.settings.server
    return api_client.ask(endpoint, questions, params, Path(job.settings.answers))


def _opinions(params: SimulatedJudgmentsParams, chunk: list[Asked]) -> list[Reply]:
    """What a simulated judge says; its styles are draws of the same opinion."""
    from infuse.synthetic.dialogues import opinion

    judge = params.judge.model_dump(exclude={"kind"}) | {"seed": params.seed}
    texts = [
        opinion(
            asked.conversation["context"], asked.conversation["response"], asked.dimension,
            STYLES[asked.style].low, STYLES[asked.style].high, judge,
            list(STYLES).index(asked.style),
        )
        for asked in chunk
    ]  # fmt: skip
    return [Reply(text, "stop", None, len(text.split())) for text in texts]


def _row(asked: Asked, reply: Reply) -> dict[str, Any]:
    """A judgment as it is written; where a server does not tell the tokens, its words count."""
    low, high, _ = STYLES[asked.style]
    judgment = read(reply.text, reply.finish, low, high)
    tokens = reply.completion_tokens
    return {
        "split": asked.conversation["split"], "id": asked.conversation["id"],
        "dimension": asked.dimension, "style": asked.style, **judgment._asdict(),
        "rating": None if judgment.score is None else rescaled(judgment.score, low, high),
        "tokens": len(reply.text.split()) if tokens is None else tokens,
    }  # fmt: skip


if __name__ == "__main__":
    run(judgments)
