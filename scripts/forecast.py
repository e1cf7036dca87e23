"""What an experiment's trainings will take, before they start.

IN   base model; task; tokens of the triples; those training sets that are here
OUT  forecast.csv, .md, .html: of each training its documents, tokens, steps, work, memory, time
     left_out.csv, .md, .html: documents left out, by reason and domain, where there are any
     notes.txt: what should be looked at before the start

Tokens, steps and drops are counted. Where a training set is not here yet, its reasonings are taken
to be as long as they may be. Memory is computed. Time is measured on the device that is here, in a
few passes; for one that is named it is computed from its data sheet.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch

from infuse.config.compute import Compute
from infuse.config.recipe import Full, Recipe
from infuse.config.stages import ClassifierTraining
from infuse.core.errors import UserError
from infuse.core.files import read_json, read_labels, read_rows, write_text
from infuse.core.gpu_models import KNOWN, GpuModel
from infuse.core.manifest import SEAL
from infuse.core.schemas import TASK
from infuse.data.examples import Documents, Encoder, reasoner_prompt
from infuse.models import gpus, loading
from infuse.reporting.cells import write
from infuse.training import batching
from infuse.training.cost_model import (
    SUSTAINED,
    Work,
    memory,
    pace,
    padding_and_targets,
    shape,
    training_flops,
    writing_flops,
)
from infuse.training.loop import account, short_warmup
from infuse.training.setup import engine_for
from infuse.training.training_data import ExpectedSets, Lesson, lesson, open_documents
from infuse.workflow.job import Job, run

VERSION = 1
Row = dict[str, Any]


@dataclass(frozen=True)
class Training:
    """One training, as it will be; what is dropped by (reason, domain)."""

    told: Row
    lesson: Lesson
    validation: Documents | None
    dropped: Counter[tuple[str, str]]
    exact: bool

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.told['stage']} {self.told['name']}"

    @property
    def recipe(self) -> Recipe:
        """How it trains."""
        return Recipe.model_validate(self.told["params"]["recipe"])

    @property
    def compute(self) -> Compute:
        """What its arithmetic depends on."""
        return Compute.model_validate(self.told["params"]["compute"])

    @property
    def validations(self) -> int:
        """How often the validation split is read."""
        return int(self.recipe.epochs * self.recipe.evaluations_per_epoch)


def forecast(job: Job) -> dict[str, Any]:
    """Count, compute, measure, and write it down."""
    named = job.params["gpu"]
    gpu = KNOWN[named] if named else None
    lines, dropped, notes = [], [], []
    for told in job.params["trainings"]:
        try:
            one = _training(job, told)
        except UserError as unknown:
            notes.append(f"{told['stage']} {told['name']}: not known yet: {unknown}")
            continue
        line, remarks = _line(job, one, gpu)
        lines.append(line)
        notes += [f"{one.name}: {remark}" for remark in remarks]
        dropped += [
            {"training": one.name, "reason": reason, "domain": domain, "documents": str(count)}
            for (reason, domain), count in sorted(one.dropped.items())
        ]
    lines += [_writing(job, told) for told in job.params["writings"]]
    where = f"{gpu.name}, by its data sheet" if gpu else f"measured on {_device(job)}"
    notes.append(f"time: {where}; memory: of the tensors, without what the process itself takes")
    write(job.out / "forecast", lines)
    if dropped:
        write(job.out / "left_out", dropped)
    write_text(job.out / "notes.txt", "".join(f"Note: {note}\n" for note in notes))
    return {}


def _training(job: Job, told: Row) -> Training:
    params, recipe = told["params"], Recipe.model_validate(told["params"]["recipe"])
    if told["stage"] == "reasoner":
        documents, validation = (
            open_documents(job.inputs["tokens"], split) for split in ("train", "validation")
        )
        steps = batching.steps(documents.lengths, recipe.batching, recipe.epochs, params["seed"])
        facts = read_json(job.inputs["tokens"] / SEAL)["facts"]["train"]
        dropped = Counter(
            {(part["reason"], part["domain"]): part["rows"] for part in facts["dropped"]}
        )
        return Training(told, Lesson(documents, steps, {}), validation, dropped, True)
    here = {role: job.inputs[name] for role, name in told["sets"].items() if name in job.inputs}
    limits = {role: limit for role, limit in told["limits"].items() if role not in here}
    if None in limits.values():
        raise UserError("its reasonings are not here, and have no limit")
    tokenizer = loading.load_tokenizer(job.inputs["base"])
    inputs = {"task": job.inputs["task"], **here}
    sets = ExpectedSets(inputs, tokenizer, recipe.max_length, limits)
    training = ClassifierTraining.of(params)
    taught = lesson(sets, training)
    validation = sets.validation(training)
    dropped = Counter({(why, "all"): part["rows"] for why, part in taught.dropped.items()})
    return Training(told, taught, validation, dropped, not any(limits.values()))


def _line(job: Job, one: Training, gpu: GpuModel | None) -> tuple[Row, list[str]]:
    """The row of the table, and what is remarkable."""
    base, compute, recipe = job.inputs["base"], one.compute, one.recipe
    documents, steps = one.lesson.documents, one.lesson.steps
    counted = account(documents, steps, recipe, one.told["params"].get("label_weight"))
    size, work = shape(base, recipe.tuning), Work.of(recipe.tuning)
    learned = training_flops(size, work, documents, steps)
    checks = 0.0
    if one.validation is not None:
        every = [np.arange(len(one.validation))]
        checks = training_flops(size, work, one.validation, every) * work.forward / work.whole
    checks *= one.validations
    computed, targets = padding_and_targets(documents, steps, compute)
    room = gpu.memory * gpus.GIB if gpu else _room(compute)
    recomputed = compute.gradient_checkpointing == "always"
    takes = memory(size, base, compute, recipe, recomputed, targets)
    if room and compute.gradient_checkpointing == "auto" and takes > room:
        recomputed = True
        takes = memory(size, base, compute, recipe, recomputed, targets)
    remarks = list(_remarks(one, takes, room))
    if gpu:
        speed = SUSTAINED * gpu.flops * 1e12
        seconds: float | None = computed * (learned * work.again(recomputed) + checks) / speed
    else:
        seconds = _measured(job, one, work, recomputed)
    runs = one.told["runs"]
    line = {
        "training": one.name,
        "runs": str(runs),
        "documents": str(len(documents)),
        "dropped": str(sum(one.dropped.values())),
        "tokens": str(counted["tokens"]),
        "steps": str(len(steps)),
        "sum of rates": f"{counted['sum_of_learning_rates']:.3g}",
        "counted": "exactly" if one.exact else "at most",
        "FLOP": f"{runs * (learned + checks):.3g}",
        "GiB": f"{takes / gpus.GIB:.3g}",
        "h:mm:ss": "" if seconds is None else str(timedelta(seconds=round(runs * seconds))),
        "kWh": f"{runs * seconds / 3600 * gpu.watts / 1000:.3g}" if gpu and seconds else "",
    }
    return line, remarks


def _room(compute: Compute) -> float | None:
    """Bytes of the GPU that is here."""
    if compute.device != "cuda":
        return None
    loading.set_threads(compute)
    return float(torch.cuda.get_device_properties(0).total_memory)


def _writing(job: Job, told: Row) -> Row:
    """The row of reasonings to be written; how long that takes is the engine's business."""
    params = told["params"]
    texts = [
        row
        for split in ("train", "validation")
        for row in read_rows(job.inputs["task"] / f"{split}.parquet", TASK)
    ]
    encoder = Encoder(loading.load_tokenizer(job.inputs["base"]))
    prompts = encoder.plain([reasoner_prompt(row["text"], row["label"]) for row in texts])
    lengths = [1 + len(ids) + params["max_new_tokens"] for ids in prompts]
    size = shape(job.inputs["base"], Full(kind="full"))
    work = writing_flops(size, lengths, params["max_new_tokens"])
    return {
        "training": f"{told['stage']} of {params['kind']}", "runs": "1",
        "documents": str(len(texts)), "tokens": str(sum(lengths)), "counted": "at most",
        "FLOP": f"{work:.3g}",
    }  # fmt: skip


def _remarks(one: Training, takes: float, room: float | None) -> Iterator[str]:
    compute = one.compute
    if told := short_warmup(len(one.lesson.steps), one.recipe):
        yield told
    if room and takes > room:
        helps = gpus.SAVING.format(**compute.model_dump())
        yield f"{takes / gpus.GIB:.1f} GiB do not fit in {room / gpus.GIB:.1f} GiB: {helps}"


def _measured(job: Job, one: Training, work: Work, recomputed: bool) -> float | None:
    """Seconds of a training on this machine, from a few of its passes; None if they do not fit."""
    params, recipe = one.told["params"], one.recipe
    if one.compute.compile:
        torch.compiler.reset()  # what was compiled for another training would count here
    labels = len(read_labels(job.inputs["task"])) if params.get("target") == "head" else None
    weight = params.get("label_weight")
    engine = engine_for(job.inputs["base"], recipe, one.compute, params["seed"], labels, weight)
    documents, steps = one.lesson.documents, one.lesson.steps
    try:
        for_token, once = pace(engine, documents, steps, recipe)
    except torch.OutOfMemoryError:
        return None
    read = 0 if one.validation is None else one.validations * int(one.validation.lengths.sum())
    share = work.forward / (work.whole * work.again(recomputed))
    learned = batching.total_tokens(documents.lengths, steps)
    return for_token * (learned + share * read) + once * len(steps)


def _device(job: Job) -> str:
    compute = Compute.model_validate(job.params["trainings"][0]["params"]["compute"])
    if compute.device == "cuda":
        return torch.cuda.get_device_name()
    return f"{compute.threads} thread(s) of the processor"


if __name__ == "__main__":
    run(forecast)
