"""What a model behind an endpoint, not trained for the task, makes of each test text.

IN   task (the test split, the labels)
OUT  predictions.parquet: id, text, label, generated, reasoning, predicted, outcome, prompt_tokens,
     tokens

Replies are kept under results/answers/, so a killed run goes on where it stopped.

Run as: python scripts/zero_shot.py results/specs/zero_shot/NAME-KEY.json
"""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

from infuse.config.model_params import ZeroShotParams
from infuse.core.files import read_labels, read_rows, write_rows
from infuse.core.schemas import TASK, ZERO_SHOT
from infuse.data.answers import read_reply
from infuse.inference import api_client, api_replies
from infuse.workflow.job import Job, run

VERSION = 3
log = logging.getLogger("infuse")


def zero_shot(job: Job) -> dict[str, Any]:
    """Ask for each text's label, and count outcomes, tokens and cost."""
    params = ZeroShotParams.model_validate(job.params)
    endpoint = job.settings.server
    labels = read_labels(job.inputs["task"])
    texts = read_rows(job.inputs["task"] / "test.parquet", TASK)
    wanted = "Answer with the label alone."
    if params.list_labels:
        wanted = f"Answer with one of these labels alone: {', '.join(labels)}."
    system = {"role": "system", "content": f"{params.system} {wanted}".strip()}
    answers = api_client.ask(
        endpoint,
        [[system, {"role": "user", "content": row["text"]}] for row in texts],
        params,
        Path(job.settings.answers),
    )
    rows = [
        row
        | read_reply(reply.text, reply.finish, labels).against(row["label"])
        | {"prompt_tokens": reply.prompt_tokens, "tokens": reply.completion_tokens}
        for row, reply in zip(texts, answers, strict=True)
    ]
    pairs = zip(answers, rows, strict=True)
    unread = [api_replies.shown(reply) for reply, row in pairs if not row["predicted"]]
    api_replies.check_useful("zero_shot", answers, unread)
    write_rows(job.out / "predictions.parquet", rows, ZERO_SHOT)
    outcomes = Counter(row["outcome"] for row in rows)
    facts = {"rows": len(rows), "outcomes": dict(outcomes)}
    facts |= api_client.usage(endpoint, answers)
    log.info("%s", ", ".join(f"{name} {value}" for name, value in facts.items()))
    return facts


if __name__ == "__main__":
    run(zero_shot)
