"""What a classifier makes of each test text: a free answer, and a score for each label.

IN   classifier; task (the test split)
OUT  predictions.parquet: id, text, label, generated, reasoning, predicted, outcome, tokens,
     closed_set, log_probabilities

The free answer is greedy. The scores are log-probabilities of each whole label and the end of the
turn, after the classifier's own prefix: for a reasoning-first arm, its own greedy reasoning. A text
that leaves no place for a label in the model's positions is not asked: too_long, without scores.
Where an arm votes, several answers are drawn for each text; the scores are their shares.

Run as: python scripts/predictions.py results/specs/predictions/NAME-KEY.json
"""

import logging
from collections import Counter
from typing import Any

from infuse.config.model_params import PredictionsParams
from infuse.core.errors import counted
from infuse.core.files import read_rows, write_rows
from infuse.core.schemas import PREDICTIONS, TASK
from infuse.evaluation.votes import elected
from infuse.workflow.job import Job, run

VERSION = 5
NAMED = 8  # of the texts that are too long
log = logging.getLogger("infuse")


def predictions(job: Job) -> dict[str, Any]:
    """Classify the test split in chunks."""
    from infuse.inference import generation
    from infuse.inference.classification import Reader

    params = PredictionsParams.model_validate(job.params)
    reader = Reader(job.inputs["classifier"], params.backend, params.compute)
    texts = read_rows(job.inputs["task"] / "test.parquet", TASK)
    decoding, times = params.decoding(), params.vote.answers if params.vote else 1
    asked, prompts = texts * times, reader.prompts([row["text"] for row in texts]) * times

    def classify(chunk: list[int]) -> list[dict[str, Any]]:
        answers = reader.read([prompts[row] for row in chunk], chunk, decoding)
        return [
            asked[row]
            | read.answer.against(asked[row]["label"])
            | {
                "tokens": read.tokens,
                "closed_set": read.closed_set,
                "log_probabilities": read.log_probabilities.tolist(),
            }
            for row, read in zip(chunk, answers, strict=True)
        ]

    rows = generation.in_chunks(job.work, prompts, params.batch_rows, PREDICTIONS, classify)
    if params.vote:
        rows = [elected(rows[at :: len(texts)], reader.form.labels) for at in range(len(texts))]
    write_rows(job.out / "predictions.parquet", rows, PREDICTIONS)
    outcomes = Counter(row["outcome"] for row in rows)
    if too_long := [str(row["id"]) for row in rows if row["outcome"] == "too_long"]:
        log.warning(
            "%d of %d texts are too long for the model's %d positions, and count as errors: %s%s",
            len(too_long), len(rows), reader.slots.positions, f"row {', '.join(too_long[:NAMED])}",
            ", ..." if len(too_long) > NAMED else "",
        )  # fmt: skip
    log.info("%d texts: %s", len(rows), counted(outcomes))
    return {"rows": len(rows), "outcomes": dict(outcomes), "tokens": sum(r["tokens"] for r in rows)}


if __name__ == "__main__":
    run(predictions)
