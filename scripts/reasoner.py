"""Stage 1: fine-tune the base model to write the reasoning that leads from question to answer.

IN   base model; tokens of the triples
OUT  config, tokenizer, safetensors weights; history.json (loss of each step, validation losses)

Cost: the default, about a minute; Llama-3.2-1B on 280,000 long triples, hours of a GPU.

Run as: python scripts/reasoner.py results/specs/reasoner/NAME-KEY.json
"""

import logging
from collections import Counter
from dataclasses import asdict
from typing import Any

from infuse.config.model_params import ReasonerParams
from infuse.core.files import write_json
from infuse.core.manifest import read_provenance
from infuse.models import loading
from infuse.training import batching, loop, preflight, tracking
from infuse.training.ranks import joined
from infuse.training.setup import engine_for
from infuse.training.training_data import open_documents
from infuse.workflow.job import Job, run

VERSION = 3
log = logging.getLogger("infuse")


def reasoner(job: Job) -> dict[str, Any]:
    """Train, evaluate on the validation split while training, save."""
    params = ReasonerParams.model_validate(job.params)
    recipe, seed, compute = params.recipe, params.seed, params.compute
    tokenizer = loading.load_tokenizer(job.inputs["base"])
    preflight.existing_base(
        job.inputs["base"],
        tokenizer,
        compute,
        job.settings.requirements,
        job.references.get("task"),
    )
    documents, validation = (
        open_documents(job.inputs["tokens"], split) for split in ("train", "validation")
    )
    steps = batching.steps(documents.lengths, recipe.batching, recipe.epochs, seed)
    log.info("%s documents in %s steps", len(documents), len(steps))
    with (
        joined(compute, job.settings.distributed.sharded) as ranks,
        tracking.watched(job.settings.trackers, job.work.name, job.params, ranks) as watch,
    ):
        engine = engine_for(job.inputs["base"], recipe, compute, seed, ranks=ranks)
        history = loop.train(
            engine, documents, validation, steps, recipe, seed, job.work,
            job.settings.checkpoint_steps, watch,
        )  # fmt: skip
        preflight.save(engine, tokenizer, validation, job.out)
    write_json(job.out / "history.json", asdict(history))
    return loop.account(documents, steps, recipe) | {"dropped": _dropped(job)}


def _dropped(job: Job) -> dict[str, dict[str, int]]:
    """How many training triples did not become documents, by reason."""
    rows = Counter[str]()
    for part in read_provenance(job.inputs["tokens"])["facts"]["train"]["dropped"]:
        rows[part["reason"]] += part["rows"]
    return {reason: {"rows": count} for reason, count in rows.items()}


if __name__ == "__main__":
    run(reasoner)
