"""What a classifier makes of each test text: a free answer, and a score for each label.

IN   classifier; task (the test split)
OUT  predictions.parquet: id, text, label, generated, reasoning, predicted, outcome, tokens,
     closed_set, log_probabilities

The free answer is greedy. The scores are log-probabilities of each whole label and the end of the
turn, after the classifier's own prefix: for a reasoning-first arm, its own greedy reasoning.
"""

import logging
from collections import Counter
from typing import Any

from infuse import generation, models
from infuse.documents import Encoder
from infuse.files import PREDICTIONS, TASK, read_rows, write_rows
from infuse.outcomes import read_answer
from infuse.stage import Job, run

VERSION = 1
log = logging.getLogger("infuse")


def predictions(job: Job) -> dict[str, Any]:
    """Classify the test split in chunks."""
    device = models.set_threads(job.params["compute"])
    encoder = Encoder(models.load_tokenizer(job.inputs["classifier"]), **job.params["chat"])
    model = models.load_model(job.inputs["classifier"]).to(device).eval()
    texts = read_rows(job.inputs["task"] / "test.parquet", TASK)
    prompts = encoder.chats([row["text"] for row in texts])
    labels, target = job.params["labels"], job.params["target"]
    separator = job.params["separator"]
    between = encoder.plain([separator])[0] if separator else []
    # A label that is followed by a reasoning does not end the turn but opens the separator.
    after = between if target == "label_reason" else [encoder.end_of_turn]
    endings = [ids + after for ids in encoder.plain(labels)]

    def classify(chunk: list[int]) -> list[dict[str, Any]]:
        asked = [prompts[row] for row in chunk]
        written = generation.continue_prompts(model, asked, chunk, encoder.end_of_turn, job.params)
        answers = [
            read_answer(
                encoder.text(one.tokens), one.finish, texts[row]["label"], labels, target, separator
            )
            for row, one in zip(chunk, written, strict=True)
        ]
        prefixes = asked
        if target == "reason_label":
            reasons = encoder.plain([answer.reasoning for answer in answers])
            prefixes = [a + reason + between for a, reason in zip(asked, reasons, strict=True)]
        scores = generation.score_endings(model, prefixes, endings)
        return [
            texts[row]
            | answer._asdict()
            | {
                "tokens": len(one.tokens) + (one.finish == "stop"),
                "closed_set": labels[int(score.argmax())],
                "log_probabilities": score.tolist(),
            }
            for row, one, answer, score in zip(chunk, written, answers, scores, strict=True)
        ]

    rows = generation.in_chunks(job.work, prompts, job.params["batch_rows"], PREDICTIONS, classify)
    write_rows(job.out / "predictions.parquet", rows, PREDICTIONS)
    outcomes = Counter(row["outcome"] for row in rows)
    log.info(
        "%d texts: %s", len(rows), ", ".join(f"{n} {kind}" for kind, n in outcomes.most_common())
    )
    return {"rows": len(rows), "outcomes": dict(outcomes), "tokens": sum(r["tokens"] for r in rows)}


if __name__ == "__main__":
    run(predictions)
