"""Stage 2: one arm, one seed. Fine-tune the base model from a text to its target.

IN   base model; task (its labels); training set; for a matched arm, the training sets whose steps
     or supervised tokens it takes
OUT  config, tokenizer, safetensors weights; classifier.json (how it is asked and read);
     history.json (loss of each step, validation losses)
"""

import logging
from dataclasses import asdict
from typing import Any

import numpy as np
from transformers.tokenization_utils_tokenizers import PreTrainedTokenizerFast as Tokenizer

from infuse import batching, models, tracking, training
from infuse.documents import Documents, Encoder, classifier_pieces, collect, head_pieces
from infuse.engine import Engine
from infuse.errors import UserError
from infuse.files import ID, TEXT_LABEL, TEXT_REASONING_LABEL, read_labels, read_table, write_json
from infuse.reading import Form
from infuse.stage import Job, run
from infuse.targets import REASONED

VERSION = 3
log = logging.getLogger("infuse")


def classifier(job: Job) -> dict[str, Any]:
    """Train, evaluate on the validation split while training, save."""
    form = _form(job)
    models.set_threads(job.params["compute"])
    recipe, seed, weight = (job.params[part] for part in ("recipe", "seed", "label_weight"))
    tokenizer = models.load_tokenizer(job.inputs["base"])
    documents, dropped = _documents(job, tokenizer, "training_set", job.params)
    if "supervised_tokens" in job.params["match"]:
        documents = _as_supervised(job, tokenizer, documents)
    steps = _steps(job, tokenizer, documents)
    log.info("%s documents in %s steps, dropped: %s", len(documents), len(steps), dropped or "none")
    if form.target == "head":
        model = models.new_head(job.inputs["base"], len(form.labels), seed)
    else:
        model = models.load_model(job.inputs["base"])
    model = models.tune(model, job.params["compute"], recipe["tuning"], seed)
    engine = Engine(model, job.params["compute"], weight)
    with tracking.watched(job) as watch:
        history = training.train(
            engine, documents, _validation(job, tokenizer), steps, recipe, seed, job.work,
            job.settings["checkpoint_steps"], watch,
        )  # fmt: skip
    models.save(engine.model, tokenizer, job.out)
    write_json(job.out / "history.json", asdict(history))
    form.save(job.out)
    return training.account(documents, steps, recipe, weight) | {"dropped": dropped}


def _steps(job: Job, tokenizer: Tokenizer, documents: Documents) -> list[batching.Rows]:
    """The rows of each step: by the recipe, or as many steps as another arm takes."""
    recipe, seed, match = (job.params[part] for part in ("recipe", "seed", "match"))
    plan = recipe["batching"], recipe["epochs"], seed
    if "steps" not in match:
        return batching.steps(documents.lengths, *plan)
    other, _ = _documents(job, tokenizer, "match steps", match["steps"])
    count = len(batching.steps(other.lengths, *plan))
    if match["by"] == "repeating":
        return batching.repeated_steps(documents.lengths, recipe["batching"], count, seed)
    return batching.matched_steps(len(documents), recipe["epochs"], count, seed)


def _as_supervised(job: Job, tokenizer: Tokenizer, documents: Documents) -> Documents:
    """The documents with as many target tokens as the other arm has for the same texts."""
    form = job.params["match"]["supervised_tokens"]
    other, _ = _documents(job, tokenizer, "match supervised_tokens", form)
    ids, others = (
        read_table(job.inputs[role] / "train.parquet", ID)["id"].to_numpy()
        for role in ("training_set", "match supervised_tokens")
    )
    wanted = dict(zip(others[other.rows].tolist(), other.supervised.tolist(), strict=True))
    return documents.with_loss_on_prompts(
        np.array([wanted.get(row, 0) for row in ids[documents.rows].tolist()])
    )


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
    job: Job, tokenizer: Tokenizer, role: str, form: dict[str, Any], split: str = "train"
) -> tuple[Documents, dict[str, Any]]:
    """Documents of a split of the training set in that role, in a form: target, separator, chat."""
    target = form["target"]
    reasons = target in REASONED
    schema = TEXT_REASONING_LABEL if reasons else TEXT_LABEL
    table = read_table(job.inputs[role] / f"{split}.parquet", schema)
    encoder, columns = Encoder(tokenizer, **form["chat"]), table.to_pydict()
    if target == "head":
        places = {label: place for place, label in enumerate(read_labels(job.inputs["task"]))}
        pieces = head_pieces(encoder, columns["text"], [places[name] for name in columns["label"]])
    else:
        pieces = classifier_pieces(
            encoder, columns["text"], columns["label"], columns.get("reasoning"), target,
            form["separator"],
        )  # fmt: skip
    return collect(pieces, job.params["recipe"]["max_length"])


def _validation(job: Job, tokenizer: Tokenizer) -> Documents | None:
    """The validation split, or None where an imported set has no reasonings for it."""
    try:
        return _documents(job, tokenizer, "training_set", job.params, "validation")[0]
    except UserError as empty:
        log.info("no validation during training: %s", empty)
        return None


if __name__ == "__main__":
    run(classifier)
