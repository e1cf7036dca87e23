"""The triples as token documents: made once, for all reasoners of one base and `max_length`.

IN   base model (its tokenizer); triples
OUT  train.tokens, validation.tokens: int32, little-endian, documents end to end
     train.parquet, validation.parquet: row of the triples, length, start of the target

Rows stream from disk to disk. How many threads tokenize changes no token.

Run as: python scripts/tokens.py results/specs/tokens/NAME-KEY.json
"""

import logging
import os
from collections import Counter
from typing import Any

import numpy as np

from infuse.config.model_params import TokensParams
from infuse.core.errors import UserError
from infuse.core.files import RowWriter, count_rows, read_batches
from infuse.core.progress import Progress
from infuse.core.schemas import DOCUMENTS, TRIPLES
from infuse.data.encoder import Encoder
from infuse.data.examples import reasoner_pieces
from infuse.data.sources import listed
from infuse.models import loading
from infuse.workflow.job import Job, run

VERSION = 2
BATCH = 64  # rows tokenized at a time: of long triples some 300,000 tokens
log = logging.getLogger("infuse")


def tokens(job: Job) -> dict[str, Any]:
    """Write both splits; count what was dropped, by reason and domain."""
    os.environ["RAYON_NUM_THREADS"] = str(job.settings.threads)  # read at the first batch
    encoder = Encoder(loading.load_tokenizer(job.inputs["base"]))
    most = TokensParams.model_validate(job.params).max_length
    return {split: _split(job, encoder, split, most) for split in ("train", "validation")}


def _split(job: Job, encoder: Encoder, split: str, most: int) -> dict[str, Any]:
    source = job.inputs["triples"] / f"{split}.parquet"
    every = supervised = longest = 0
    dropped = Counter[tuple[str, str]]()
    progress = Progress(count_rows(source), "rows")
    with (
        RowWriter(job.out / f"{split}.parquet", DOCUMENTS) as documents,
        (job.out / f"{split}.tokens").open("wb") as stream,
    ):
        for batch in read_batches(source, TRIPLES, BATCH):
            questions, answers, reasonings, domains = (
                batch[name].to_pylist() for name in TRIPLES.names
            )
            pieces = reasoner_pieces(encoder, questions, answers, reasonings, progress.done)
            for piece, domain in zip(pieces, domains, strict=True):
                why = piece.unfit(most)
                if why is not None:
                    dropped[why, domain] += 1
                    continue
                ids = piece.prompt + piece.target
                stream.write(np.array(ids, "<i4").tobytes())
                documents.add({"row": piece.row, "length": len(ids), "start": len(piece.prompt)})
                every, supervised = every + len(ids), supervised + len(piece.target)
                longest = max(longest, len(ids))
            progress.advance(len(pieces))
    if not documents.rows:
        raise UserError(f"{source}: no triple is left to learn from, dropped: {listed(dropped)}")
    log.info("%s: %s documents, dropped %s", split, documents.rows, listed(dropped) or "none")
    return {
        "documents": documents.rows,
        "tokens": every,
        "supervised_tokens": supervised,
        "longest": longest,
        "dropped": listed(dropped),
    }


if __name__ == "__main__":
    run(tokens)
