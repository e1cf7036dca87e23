"""What a classifier learns from: (text, label), or (text, reasoning, label).

IN   task; reasonings
OUT  train.parquet, validation.parquet: id, text, [reasoning,] label
"""

import logging
from typing import Any

from infuse.errors import UserError
from infuse.files import REASONINGS, TASK, TEXT_LABEL, TEXT_REASONING_LABEL, read_rows, write_rows
from infuse.stage import Job, run

VERSION = 1
log = logging.getLogger("infuse")


def training_set(job: Job) -> dict[str, Any]:
    """Join reasonings to texts; a text without a reasoning is left out, counted and named."""
    facts: dict[str, Any] = {}
    reasons: dict[tuple[str, int], str] | None = None
    if "reasonings" in job.inputs:
        reasons = {
            (row["split"], row["id"]): row["reasoning"]
            for row in read_rows(job.inputs["reasonings"] / "reasonings.parquet", REASONINGS)
        }
    for split in ("train", "validation"):
        rows = read_rows(job.inputs["task"] / f"{split}.parquet", TASK)
        missing: list[int] = []
        if reasons is not None:
            missing = [row["id"] for row in rows if not reasons.get((split, row["id"]), "").strip()]
            rows = [
                row | {"reasoning": reasons[split, row["id"]]}
                for row in rows
                if reasons.get((split, row["id"]), "").strip()
            ]
        if split == "train" and not rows:
            raise UserError("training set: no training text has a reasoning")
        schema = TEXT_LABEL if reasons is None else TEXT_REASONING_LABEL
        write_rows(job.out / f"{split}.parquet", rows, schema)
        facts[split] = {
            "rows": len(rows),
            "no_reasoning": {"rows": len(missing), "first": missing[:5]},
        }
        log.info(
            "%s: %d rows, %d without a reasoning %s",
            split,
            len(rows),
            len(missing),
            missing[:5] or "",
        )
    return facts


if __name__ == "__main__":
    run(training_set)
