"""What an experiment's trainings and writings will take, before they start.

IN   base model; task; tokens of the triples; those training sets that are here
OUT  forecast.csv, .md, .html: of each training its documents, tokens, steps, work, memory, time; of
     reasonings and answers too, but for steps
     left_out.csv, .md, .html: documents left out, by reason and domain, where there are any
     notes.txt: what should be looked at before the start

Tokens, steps and drops are counted. Where a training set is not here yet, its reasonings are taken
to be as long as they may be, and so is all that is written. Memory is computed. Time is measured on
the device that is here, in a few passes, but for what vLLM writes; for one that is named it is
computed from its data sheet.

Run as: python scripts/forecast.py results/specs/forecast/NAME-KEY.json
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from infuse.config.compute import Arithmetic, Compute
from infuse.config.model_params import ClassifierParams, PredictionsParams
from infuse.config.recipe import Full, Recipe
from infuse.config.report_params import (
    ClassifierForecast,
    ForecastParams,
    PredictionsForecast,
    ReasonerForecast,
    ReasoningsForecast,
)
from infuse.core.errors import UserError
from infuse.core.files import read_labels, read_rows, write_text
from infuse.core.gpu_models import KNOWN, GpuModel
from infuse.core.manifest import read_provenance
from infuse.core.schemas import TASK
from infuse.data.encoder import Encoder
from infuse.data.examples import Documents
from infuse.inference import writing_costs
from infuse.inference.writing_costs import Paces, Writing
from infuse.models import gpus, loading
from infuse.models.shapes import Shape, shape
from infuse.reporting.cells import write
from infuse.training import batching
from infuse.training.cost_model import (
    forward_flops,
    memory,
    pace,
    padding_and_targets,
    recomputed_flops,
    training_flops,
)
from infuse.training.loop import account, short_warmup
from infuse.training.matching import Lesson, lesson
from infuse.training.setup import engine_for
from infuse.training.training_data import ExpectedSets, open_documents
from infuse.workflow.job import Job, run

VERSION = 5
Row = dict[str, Any]
PlannedWriting = ReasoningsForecast | PredictionsForecast


@dataclass(frozen=True)
class Training:
    """One training, as it will be; what is dropped by (reason, domain).

    Attributes:
        exact: whether all documents are known.
        labels: of a linear head; None: it writes.
    """

    planned: ReasonerForecast | ClassifierForecast
    lesson: Lesson
    validation: Documents | None
    dropped: Counter[tuple[str, str]]
    exact: bool
    labels: int | None = None

    @property
    def name(self) -> str:
        """For people."""
        return _name(self.planned)

    @property
    def recipe(self) -> Recipe:
        """How it trains."""
        return self.planned.params.recipe

    @property
    def compute(self) -> Compute:
        """What its arithmetic depends on."""
        return self.planned.params.compute

    @property
    def label_weight(self) -> float | None:
        """The label's share of the loss, where it has one of its own."""
        params = self.planned.params
        return params.label_weight if isinstance(params, ClassifierParams) else None

    @property
    def validations(self) -> int:
        """How often the validation split is read."""
        return int(self.recipe.epochs * self.recipe.evaluations_per_epoch)


def forecast(job: Job) -> dict[str, Any]:
    """Count, compute, measure, and write it down."""
    params = ForecastParams.model_validate(job.params)
    gpu = KNOWN[params.gpu] if params.gpu else None
    lines, dropped, notes = [], [], []
    for planned in params.trainings:
        try:
            training = _training(job, planned)
        except UserError as unknown:
            notes.append(f"{_name(planned)}: not known yet: {unknown}")
            continue
        line, remarks = _line(job, training, gpu, params)
        lines.append(line)
        notes += [f"{training.name}: {remark}" for remark in remarks]
        dropped += [
            {"what": training.name, "reason": reason, "domain": domain, "documents": str(count)}
            for (reason, domain), count in sorted(training.dropped.items())
        ]
    paces = Paces(job.inputs["base"])
    for asked in params.writings:
        writing = _writing(job, asked)
        line, remarks = _writing_line(job, asked, writing, gpu, params, paces)
        lines.append(line)
        notes += [f"{_name(asked)}: {remark}" for remark in remarks]
        if writing.left_out:
            place = "reasoning" if isinstance(asked, ReasoningsForecast) else "label"
            why, count = f"leaves no place for a {place}", str(writing.left_out)
            dropped.append(
                {"what": _name(asked), "reason": why, "domain": "all", "documents": count}
            )
    where = f"{gpu.name}, by its data sheet" if gpu else f"measured on {_device(params)}"
    many = params.distributed
    if many.processes > 1:
        whole = "of one rank, as if it had the whole model" if many.sharded else "of each rank"
        notes.append(f"{many.processes} ranks: time as if sharing cost nothing; memory {whole}")
    if gpu and params.writings:
        notes.append(
            "time of reasonings and predictions: an estimate; starts of kernels are left out"
        )
    notes.append(f"time: {where}; memory: of the tensors, without what the process itself takes")
    write(job.out / "forecast", lines)
    if dropped:
        write(job.out / "left_out", dropped)
    write_text(job.out / "notes.txt", "".join(f"Note: {note}\n" for note in notes))
    return {}


def _name(planned: ReasonerForecast | ClassifierForecast | PlannedWriting) -> str:
    return f"{planned.stage} {planned.name}"


def _training(job: Job, planned: ReasonerForecast | ClassifierForecast) -> Training:
    if isinstance(planned, ReasonerForecast):
        params, recipe = planned.params, planned.params.recipe
        documents, validation = (
            open_documents(job.inputs["tokens"], split) for split in ("train", "validation")
        )
        steps = batching.steps(documents.lengths, recipe.batching, recipe.epochs, params.seed)
        facts = read_provenance(job.inputs["tokens"])["facts"]["train"]
        dropped = Counter(
            {(part["reason"], part["domain"]): part["rows"] for part in facts["dropped"]}
        )
        return Training(planned, Lesson(documents, steps, {}), validation, dropped, True)
    here = {role: job.inputs[name] for role, name in planned.sets.items() if name in job.inputs}
    limits = {role: _known(limit) for role, limit in planned.limits.items() if role not in here}
    tokenizer = loading.load_tokenizer(job.inputs["base"])
    inputs = {"task": job.inputs["task"], **here}
    sets = ExpectedSets(inputs, tokenizer, planned.params.recipe.max_length, limits)
    taught = lesson(sets, planned.params)
    dropped = Counter({(why, "all"): part["rows"] for why, part in taught.dropped.items()})
    head = planned.params.target == "head"
    return Training(
        planned, taught, sets.validation(planned.params), dropped, not any(limits.values()),
        len(read_labels(job.inputs["task"])) if head else None,
    )  # fmt: skip


def _known(limit: int | None) -> int:
    if limit is None:
        raise UserError("its reasonings are not here, and have no limit")
    return limit


def _line(
    job: Job, training: Training, gpu: GpuModel | None, params: ForecastParams
) -> tuple[Row, list[str]]:
    """The row of the table, and what is remarkable."""
    base, compute, recipe = job.inputs["base"], training.compute, training.recipe
    documents, steps = training.lesson.documents, training.lesson.steps
    counted = account(documents, steps, recipe, training.label_weight)
    size = shape(base, recipe.tuning, training.labels)
    learned = training_flops(size, recipe.tuning, documents, steps)
    checks = 0.0
    if training.validation is not None:
        every = [np.arange(len(training.validation))]
        checks = training.validations * forward_flops(size, training.validation, every)
    computed, targets = padding_and_targets(documents, steps, compute)
    room = _room(gpu, compute)
    recomputed = compute.gradient_checkpointing == "always"
    takes = memory(size, base, compute, recipe, recomputed, targets)
    if room and compute.gradient_checkpointing == "auto" and takes > room:
        recomputed = True
        takes = memory(size, base, compute, recipe, recomputed, targets)
    saving = gpus.SAVING.format(**compute.model_dump())
    remarks = [short_warmup(len(steps), recipe), *_too_large(takes, room, saving)]
    again = recomputed_flops(size, documents, steps) if recomputed else 0.0
    if gpu:
        operations = computed * (learned + again + checks)
        seconds: float | None = operations / gpu.products(compute.dtype)
    else:
        seconds = _measured(job, training, checks / (learned + again))
    runs = training.planned.runs
    line = {
        "what": training.name,
        "runs": str(runs),
        "ranks": str(params.distributed.processes),
        "documents": str(len(documents)),
        "dropped": str(sum(training.dropped.values())),
        "tokens": str(counted["tokens"]),
        "steps": str(len(steps)),
        "sum of rates": f"{counted['sum_of_learning_rates']:.3g}",
        "counted": "exactly" if training.exact else "at most",
        "FLOP": f"{runs * (learned + checks):.3g}",
        "GiB": f"{takes / gpus.GIB:.3g}",
    }
    all_runs = None if seconds is None else runs * seconds
    told = line | _expense(
        all_runs, params.distributed.processes, gpu, _price(params, gpu, compute)
    )
    return told, [remark for remark in remarks if remark]


def _expense(seconds: float | None, ranks: int, gpu: GpuModel | None, price: float | None) -> Row:
    """Time that is waited, energy and money, of `seconds` of all ranks together."""
    if seconds is None:
        return {"h:mm:ss": "", "kWh": ""}
    hours = seconds / 3600
    spent = {
        "h:mm:ss": _clock(seconds / ranks),
        "kWh": f"{hours * gpu.watts / 1000:.3g}" if gpu else "",
    }
    if price is not None:
        spent["price"] = f"{hours * price:.2f}"
    return spent


def _price(params: ForecastParams, gpu: GpuModel | None, compute: Arithmetic) -> float | None:
    """Of an hour of one GPU, where GPUs do the work."""
    return params.gpu_price if gpu or compute.device == "cuda" else None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _room(gpu: GpuModel | None, compute: Arithmetic) -> float | None:
    """Bytes of the GPU that is named, or else of the one that is here."""
    if gpu:
        return gpu.memory * gpus.GIB
    if compute.device != "cuda":
        return None
    loading.set_threads(compute)
    return float(torch.cuda.get_device_properties(0).total_memory)


def _writing_line(
    job: Job,
    planned: PlannedWriting,
    writing: Writing,
    gpu: GpuModel | None,
    params: ForecastParams,
    paces: Paces,
) -> tuple[Row, list[str]]:
    """The row of what is written, by one process, and what is remarkable."""
    size, compute = shape(job.inputs["base"], Full(kind="full")), planned.params.compute
    seconds: float | None = None
    if gpu:
        seconds = writing_costs.seconds_by_data_sheet(size, writing, gpu)
    elif planned.params.backend == "transformers":
        seconds = paces.seconds(planned.stage, writing, compute)
    takes = writing_costs.memory(size, writing)
    room = _room(gpu, compute)
    helps = _smaller(planned, size, writing, room)
    remarks = [*_writing_remarks(planned, gpu), *_too_large(takes, room, helps)]
    runs = planned.runs
    line = {
        "what": _name(planned),
        "runs": str(runs),
        "ranks": "1",
        "documents": str(len(writing.prompts)),
        "dropped": str(writing.left_out),
        "tokens": str(writing.tokens),
        "counted": writing.counted,
        "FLOP": f"{runs * sum(writing_costs.flops(size, writing)):.3g}",
        "GiB": f"{takes / gpus.GIB:.3g}",
    }
    all_runs = None if seconds is None else runs * seconds
    return line | _expense(all_runs, 1, gpu, _price(params, gpu, compute)), remarks


def _writing_remarks(planned: PlannedWriting, gpu: GpuModel | None) -> Iterator[str]:
    params = planned.params
    if gpu is None and params.backend == "vllm":
        yield "time is not told: vLLM is not measured here; gpu: NAME computes it from a data sheet"
    if isinstance(params, PredictionsParams):
        if params.vote:
            yield f"documents are texts x {params.vote.answers} answers"
        return
    if params.candidates > 1:
        yield f"documents are training texts x {params.candidates} candidates, and validation texts"
    if params.shard:
        yield f"time is as of one process; {params.shard[1]} share the work (shards)"


def _smaller(planned: PlannedWriting, size: Shape, writing: Writing, room: float | None) -> str:
    """What helps where memory is too small for what is written."""
    weights = writing.weight_bytes * size.weights
    if room and weights > room:
        alone = f"{weights / gpus.GIB:.1f} GiB"
        return f"the weights alone take {alone}: take a larger GPU or a smaller base"
    own = planned.name if planned.name == "reasonings" else f"other_reasonings.{planned.name}"
    section = own if planned.stage == "reasonings" else "prediction"
    return f"lower {section}.batch_rows ({writing.batch_rows})"


def _writing(job: Job, planned: PlannedWriting) -> Writing:
    """What is read and written; the models that write have the shape of the base."""
    tokenizer, task = loading.load_tokenizer(job.inputs["base"]), job.inputs["task"]
    most = loading.positions(job.inputs["base"])

    def texts(*splits: str) -> list[Row]:
        return [row for split in splits for row in read_rows(task / f"{split}.parquet", TASK)]

    if isinstance(planned, ReasoningsForecast):
        encoder = Encoder(tokenizer, date_string=planned.params.date_string)
        asked = texts("train") * planned.params.candidates + texts("validation")
        return writing_costs.of_reasonings(encoder, asked, planned.params, most)
    encoder = Encoder(tokenizer, **planned.form.chat.model_dump())
    tested, labels = [row["text"] for row in texts("test")], read_labels(task)
    return writing_costs.of_answers(encoder, tested, labels, planned.form, planned.params, most)


def _too_large(takes: float, room: float | None, helps: str) -> Iterator[str]:
    if room and takes > room:
        yield f"{takes / gpus.GIB:.1f} GiB do not fit in {room / gpus.GIB:.1f} GiB: {helps}"


def _measured(job: Job, training: Training, checks: float) -> float | None:
    """Seconds of a training on this machine, from a few of its passes; None if they do not fit.

    Args:
        checks: operations of validations, for each operation of the steps.
    """
    recipe, seed = training.recipe, training.planned.params.seed
    if training.compute.compile:
        torch.compiler.reset()  # what was compiled for another training would count here
    engine = engine_for(
        job.inputs["base"], recipe, training.compute, seed, training.labels, training.label_weight
    )
    documents, steps = training.lesson.documents, training.lesson.steps
    try:
        for_token, once = pace(engine, documents, steps, recipe)
    except torch.OutOfMemoryError:
        return None
    learned = batching.total_tokens(documents.lengths, steps)
    return for_token * learned * (1 + checks) + once * len(steps)


def _device(params: ForecastParams) -> str:
    compute = params.trainings[0].params.compute
    if compute.device == "cuda":
        return torch.cuda.get_device_name()
    return f"{compute.threads} thread(s) of the processor"


if __name__ == "__main__":
    run(forecast)
