"""What each layer of a classifier would say where the label begins, for the test texts.

IN   classifier; predictions (the texts, and the classifier's own reasonings)
OUT  logit_lens.parquet: id, label, predicted, entropy, activation_entropy, ranks, settled,
     confidence

Nothing is written by the model: one forward pass for each text.

Run as: python scripts/logit_lens.py results/specs/logit_lens/NAME-KEY.json
"""

import itertools
import logging
from pathlib import Path
from typing import Any

from infuse.config.model_params import LogitLensParams
from infuse.core.files import RowWriter, read_batches, read_table
from infuse.core.progress import Progress
from infuse.core.schemas import LOGIT_LENS, PREDICTIONS
from infuse.data.splits import chosen
from infuse.inference.classification import Reader
from infuse.inference.logit_lens import look, parts
from infuse.workflow.job import Job, run

VERSION = 3
WINDOW = 16  # batches that are cut from rows of like length
log = logging.getLogger("infuse")


def logit_lens(job: Job) -> dict[str, Any]:
    """Look into the classifier, batch by batch."""
    params = LogitLensParams.model_validate(job.params)
    folder, size = job.inputs["classifier"], params.batch_rows
    reader = Reader(folder, "transformers", params.compute)
    inside = parts(reader.model, folder)
    path = job.inputs["predictions"] / "predictions.parquet"
    drawn = _drawn(path, params.texts)
    progress, wanted = Progress(sum(drawn), "texts"), iter(drawn)
    with RowWriter(job.out / "logit_lens.parquet", LOGIT_LENS) as out:
        for table in read_batches(path, PREDICTIONS, WINDOW * size):
            rows = list(itertools.compress(table.to_pylist(), wanted))
            texts, tokens = reader.before_labels(
                reader.prompts([row["text"] for row in rows]), [row["reasoning"] for row in rows]
            )
            order = sorted(range(len(rows)), key=lambda row: len(texts[row]))
            readings: dict[int, tuple[Any, ...]] = {}
            for at in range(0, len(order), size):
                batch = order[at : at + size]
                by_part = look(inside, [texts[row] for row in batch], tokens, params.normed)
                readings |= zip(batch, zip(*by_part, strict=True), strict=True)
                progress.advance(len(batch))
            for place, row in enumerate(rows):
                values = [value.tolist() for value in readings[place]]
                own = {"id": row["id"], "label": row["label"], "predicted": row["closed_set"]}
                out.add(own | dict(zip(LOGIT_LENS.names[3:], values, strict=True)))
    return {"texts": out.rows, "layers": len(inside.layers)}


def _drawn(path: Path, rows: int | None) -> list[bool]:
    """Which texts are looked at: the same for every classifier, but for those too long for it."""
    texts = read_table(path, PREDICTIONS).select(["text", "label", "outcome"]).to_pydict()
    fit = [outcome != "too_long" for outcome in texts["outcome"]]
    if rows is None:
        return fit
    drawn = chosen(texts["text"], texts["label"], rows, seed=0, leave=False)
    return [both == (True, True) for both in zip(fit, drawn, strict=True)]


if __name__ == "__main__":
    run(logit_lens)
