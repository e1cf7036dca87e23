"""What one judge, a model behind an endpoint or a simulated one, thinks of each conversation.

IN   conversations
OUT  judgments.parquet: split, id, dimension, style, explanation, outcome, tokens, score, rating

Replies are kept under results/answers/, so a killed run goes on where it stopped.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from infuse.core.errors import UserError
from infuse.core.files import RowWriter
from infuse.core.progress import Progress
from infuse.core.schemas import JUDGMENTS
from infuse.data.judge_styles import STYLES
from infuse.evaluation.judges import listed, question, read, read_conversations, rescaled
from infuse.inference import api_client
from infuse.inference.replies import Reply, shown, warn_of_few
from infuse.workflow.job import Job, run

VERSION = 2
CHUNK = 500  # conversations whose questions are in memory at a time
log = logging.getLogger("infuse")


class Asked(NamedTuple):
    """One question to the judge."""

    conversation: dict[str, Any]
    dimension: str
    style: str


def judgments(job: Job) -> dict[str, Any]:
    """Ask for every judgment, read the replies, and count outcomes, tokens and cost."""
    answer = {"endpoint": _replies, "simulated": _opinions}[job.params["judge"]["kind"]]
    conversations = read_conversations(job.inputs["conversations"])
    outcomes = Counter[str]()
    spent: list[Reply] = []
    unread = ""
    questions = len(job.params["dimensions"]) * len(job.params["styles"])
    progress = Progress(len(conversations) * questions, "judgments")
    with RowWriter(job.out / "judgments.parquet", JUDGMENTS) as file:
        for start in range(0, len(conversations), CHUNK):
            asked = list(_asked(job, conversations[start : start + CHUNK]))
            for one, reply in zip(asked, answer(job, asked), strict=True):
                row = _row(one, reply)
                file.add(row)
                outcomes[row["outcome"]] += 1
                unread = unread or ("" if row["outcome"] == "rated" else shown(reply))
                spent.append(replace(reply, text=""))  # many, and their texts are on disk
            progress.advance(len(asked))
    if not outcomes["rated"]:
        raise UserError(
            f"judgments: none of {outcomes.total()} replies holds a score ({listed(outcomes)}), "
            f"for example {unread}"
        )
    warn_of_few(outcomes["rated"], spent, unread)
    facts: dict[str, Any] = {"rows": outcomes.total(), "outcomes": dict(outcomes)}
    if job.params["judge"]["kind"] == "endpoint":
        facts |= api_client.usage(job.settings["endpoint"], spent)
    log.info("%s", ", ".join(f"{name} {value}" for name, value in facts.items()))
    return facts


def _asked(job: Job, conversations: list[dict[str, Any]]) -> Iterator[Asked]:
    """All questions on some conversations; dimensions by name, since their order is in no key."""
    for conversation in conversations:
        for dimension in sorted(job.params["dimensions"]):
            for style in job.params["styles"]:
                yield Asked(conversation, dimension, style)


def _replies(job: Job, asked: list[Asked]) -> list[Reply]:
    """What the model behind the endpoint says."""
    questions = [
        question(
            one.style, one.dimension, about["definition"], one.conversation["context"],
            one.conversation["response"], about["examples"],
        )
        for one in asked
        for about in [job.params["dimensions"][one.dimension]]
    ]  # fmt: skip
    return api_client.ask(
        job.settings["endpoint"], questions, job.params, Path(job.settings["answers"])
    )


def _opinions(job: Job, asked: list[Asked]) -> list[Reply]:
    """What a simulated judge says; its styles are draws of the same opinion."""
    from infuse.synthetic.dialogues import opinion

    judge = {part: job.params["judge"][part] for part in ("bias", "noise", "faults")}
    judge |= {"seed": job.params["seed"]}
    texts = [
        opinion(
            one.conversation["context"], one.conversation["response"], one.dimension,
            STYLES[one.style].low, STYLES[one.style].high, judge, list(STYLES).index(one.style),
        )
        for one in asked
    ]  # fmt: skip
    return [Reply(text, "stop", None, len(text.split())) for text in texts]


def _row(one: Asked, reply: Reply) -> dict[str, Any]:
    """A judgment as it is written; where a server does not tell the tokens, its words count."""
    low, high, _ = STYLES[one.style]
    found = read(reply.text, reply.finish, low, high)
    tokens = reply.completion_tokens
    return {
        "split": one.conversation["split"], "id": one.conversation["id"],
        "dimension": one.dimension, "style": one.style, **found._asdict(),
        "rating": None if found.score is None else rescaled(found.score, low, high),
        "tokens": len(reply.text.split()) if tokens is None else tokens,
    }  # fmt: skip


if __name__ == "__main__":
    run(judgments)
