"""Stage 1: fine-tune the base model to write the reasoning that leads from question to answer.

IN   base model; triples
OUT  config, tokenizer, safetensors weights; history.json (loss of each step, validation losses)

Cost: the default, about a minute; Llama-3.2-1B on 280,000 long triples, hours of a GPU.
"""

import logging
from dataclasses import asdict
from typing import Any

from infuse import batching, models, tracking, training
from infuse.documents import Documents, Encoder, collect, reasoner_pieces
from infuse.engine import Engine
from infuse.files import TRIPLES, read_table, write_json
from infuse.stage import Job, run

VERSION = 1
log = logging.getLogger("infuse")


def reasoner(job: Job) -> dict[str, Any]:
    """Train, evaluate on the validation split while training, save."""
    models.set_threads(job.params["compute"])
    tokenizer = models.load_tokenizer(job.inputs["base"])
    recipe, seed = job.params["recipe"], job.params["seed"]
    documents, dropped = _documents(job, Encoder(tokenizer), "train")
    validation, _ = _documents(job, Encoder(tokenizer), "validation")
    steps = batching.steps(documents.lengths, recipe["batching"], recipe["epochs"], seed)
    log.info("%s documents in %s steps, dropped: %s", len(documents), len(steps), dropped or "none")
    model = models.load_model(job.inputs["base"])
    model = models.tune(model, job.params["compute"], recipe["tuning"], seed)
    engine = Engine(model, job.params["compute"])
    with tracking.watched(job) as watch:
        history = training.train(
            engine, documents, validation, steps, recipe, seed, job.work,
            job.settings["checkpoint_steps"], watch,
        )  # fmt: skip
    models.save(engine.model, tokenizer, job.out)
    write_json(job.out / "history.json", asdict(history))
    return training.account(documents, steps, recipe) | {"dropped": dropped}


def _documents(job: Job, encoder: Encoder, split: str) -> tuple[Documents, dict[str, Any]]:
    """Documents of a split, and what was dropped for its length."""
    table = read_table(job.inputs["triples"] / f"{split}.parquet", TRIPLES)
    columns = (table[name].to_pylist() for name in ("question", "answer", "reasoning"))
    return collect(reasoner_pieces(encoder, *columns), job.params["recipe"]["max_length"])


if __name__ == "__main__":
    run(reasoner)
