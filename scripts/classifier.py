"""Stage 2: one arm, one seed. Fine-tune the base model from a text to its target.

IN   base model; task (its labels); training set; for a matched arm, the training sets whose steps
     or supervised tokens it takes
OUT  config, tokenizer, safetensors weights; classifier.json (how it is asked and read);
     history.json (loss of each step, validation losses)

Run as: python scripts/classifier.py results/specs/classifier/NAME-KEY.json
"""

import logging
from dataclasses import asdict
from typing import Any

from infuse.config.model_params import ClassifierParams
from infuse.core.errors import UserError
from infuse.core.files import read_labels, write_json
from infuse.core.manifest import read_provenance
from infuse.data.answers import read_answer
from infuse.data.chat_template import standalone
from infuse.data.targets import EXPLAINED
from infuse.inference.form import Form
from infuse.models import loading
from infuse.training import loop, preflight, tracking
from infuse.training.matching import lesson
from infuse.training.ranks import joined
from infuse.training.setup import engine_for
from infuse.training.training_data import TrainingSets
from infuse.workflow.job import Job, run

VERSION = 7
log = logging.getLogger("infuse")


def classifier(job: Job) -> dict[str, Any]:
    """Train, evaluate on the validation split while training, save."""
    params = ClassifierParams.model_validate(job.params)
    form = _form(job, params)
    recipe, seed, weight = params.recipe, params.seed, params.label_weight
    tokenizer = loading.load_tokenizer(job.inputs["base"])
    preflight.existing_base(
        job.inputs["base"], tokenizer, params.compute, job.settings.requirements, job.inputs["task"]
    )
    sets = TrainingSets(job.inputs, tokenizer, recipe.max_length)
    taught = lesson(sets, params)
    counts = len(taught.documents), len(taught.steps), taught.dropped or "none"
    log.info("%s documents in %s steps, dropped: %s", *counts)
    # Of other targets, the label alone must fit, and the base was checked for that. Where a prompt
    # bears loss, documents don't tell where the answer begins.
    whole = params.target == "reason_label" and params.match.supervised_tokens is None
    if whole and job.settings.requirements is not None:
        preflight.answers(taught.documents, job.settings.requirements.max_new_tokens)
    labels = len(form.labels) if form.target == "head" else None
    validation = sets.validation(params)
    with (
        joined(params.compute, job.settings.distributed.sharded) as ranks,
        tracking.watched(job.settings.trackers, job.work.name, job.params, ranks) as watch,
    ):
        engine = engine_for(
            job.inputs["base"], recipe, params.compute, seed, labels, weight, ranks,
            params.label_smoothing or 0.0,
        )  # fmt: skip
        history = loop.train(
            engine, taught.documents, validation, taught.steps, recipe, seed,
            job.work, job.settings.checkpoint_steps, watch,
        )  # fmt: skip
        tokenizer.chat_template = standalone(tokenizer, **form.chat)
        preflight.save(engine, tokenizer, validation or taught.documents, job.out)
    write_json(job.out / "history.json", asdict(history))
    form.save(job.out)
    account = loop.account(taught.documents, taught.steps, recipe, weight)
    return account | {"dropped": taught.dropped}


def _form(job: Job, params: ClassifierParams) -> Form:
    """How the classifier will be asked and read; refused where an answer could be read twice."""
    labels, separator = read_labels(job.inputs["task"]), params.separator
    for label in labels if params.target in EXPLAINED else ():
        first, last = ("why", label) if params.target == "reason_label" else (label, "why")
        answer = f"{first}{separator}{last}"
        if read_answer(answer, "stop", labels, params.target, separator).predicted != label:
            where = f"classifier.separators.{params.target}"
            raise UserError(f"{where}: beside {separator!r}, the label {label!r} can't be read")
    columns = read_provenance(job.inputs["task"])["params"]["columns"].get("text", [])
    several = columns if len(columns) > 1 else []
    return Form(labels, params.target, separator, params.chat.model_dump(), several)


if __name__ == "__main__":
    run(classifier)
