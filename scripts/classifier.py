"""Stage 2: one arm, one seed. Fine-tune the base model from a text to its target.

IN   base model; task (its labels); training set; for a matched arm, the training set whose steps
     it takes
OUT  config, tokenizer, safetensors weights; classifier.json (how it is asked and read);
     history.json (loss of each step, validation losses)
"""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from infuse import batching, models, tracking, training
from infuse.documents import Documents, Encoder, classifier_pieces, collect
from infuse.errors import UserError
from infuse.files import TEXT_LABEL, TEXT_REASONING_LABEL, read_labels, read_table, write_json
from infuse.reading import Form
from infuse.stage import Job, run

VERSION = 2
log = logging.getLogger("infuse")


def classifier(job: Job) -> dict[str, Any]:
    """Train, evaluate on the validation split while training, save."""
    form = _form(job)
    device = models.set_threads(job.params["compute"])
    recipe, seed = job.params["recipe"], job.params["seed"]
    tokenizer = models.load_tokenizer(job.inputs["base"])
    encoder = Encoder(tokenizer, **job.params["chat"])
    documents, dropped = _documents(
        job.inputs["training_set"], "train", encoder, job.params, recipe
    )
    steps = batching.steps(documents.lengths, recipe["batching"], recipe["epochs"], seed)
    if job.params["match"]:
        other, _ = _documents(job.inputs["match"], "train", encoder, job.params["match"], recipe)
        count = len(batching.steps(other.lengths, recipe["batching"], recipe["epochs"], seed))
        steps = batching.matched_steps(len(documents), recipe["epochs"], count, seed)
    log.info("%s documents in %s steps, dropped: %s", len(documents), len(steps), dropped or "none")
    model = models.load_model(job.inputs["base"]).to(device)
    engine = training.Engine(models.tune(model, recipe["tuning"], seed), job.params["compute"])
    with tracking.watched(job) as watch:
        history = training.train(
            engine, documents, _validation(job, encoder), steps, recipe, seed, job.work,
            job.settings["checkpoint_steps"], watch,
        )  # fmt: skip
    models.save(engine.model, tokenizer, job.out)
    write_json(job.out / "history.json", asdict(history))
    form.save(job.out)
    return training.account(documents, steps, recipe) | {"dropped": dropped}


def _form(job: Job) -> Form:
    """How the classifier will be asked and read; refused where an answer could be read twice."""
    separator = job.params["separator"]
    for label in read_labels(job.inputs["task"]):
        if separator and separator in label:
            where = f"classifier.separators.{job.params['target']}"
            raise UserError(f"{where}: {separator!r} stands in the label {label!r}")
    labels = read_labels(job.inputs["task"])
    return Form(labels, job.params["target"], separator, job.params["chat"])


def _documents(
    folder: Path, split: str, encoder: Encoder, form: dict[str, Any], recipe: dict[str, Any]
) -> tuple[Documents, dict[str, Any]]:
    """Documents of a split in the form that `target` and `separator` name."""
    reasons = form["target"] != "label"
    table = read_table(folder / f"{split}.parquet", TEXT_REASONING_LABEL if reasons else TEXT_LABEL)
    pieces = classifier_pieces(
        encoder,
        table["text"].to_pylist(),
        table["label"].to_pylist(),
        table["reasoning"].to_pylist() if reasons else None,
        form["target"],
        form["separator"],
    )
    return collect(pieces, recipe["max_length"])


def _validation(job: Job, encoder: Encoder) -> Documents | None:
    """The validation split, or None where an imported set has no reasonings for it."""
    try:
        return _documents(
            job.inputs["training_set"], "validation", encoder, job.params, job.params["recipe"]
        )[0]
    except UserError as empty:
        log.info("no validation during training: %s", empty)
        return None


if __name__ == "__main__":
    run(classifier)
