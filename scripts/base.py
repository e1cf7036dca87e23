"""The base model that both stages start from, as a folder.

IN   a hub id, a local folder, or (scratch) the texts of the task and the triples, corpus files
OUT  config, tokenizer, safetensors weights; history.json of the pre-training

Cost: scratch with pre-training, minutes on a CPU; a hub model, its download.

Run as: python scripts/base.py results/specs/base/NAME-KEY.json
"""

import gzip
import logging
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from infuse.config.base import LINES, HubModel
from infuse.config.model_params import BASE_PARAMS, LocalModelParams, ScratchParams
from infuse.core.errors import UserError, first_line
from infuse.core.files import read_rows, read_table, write_json
from infuse.core.schemas import TASK, TEXT_REASONING_LABEL, TRIPLES
from infuse.data.encoder import Encoder
from infuse.data.examples import collect, text_pieces
from infuse.data.sources import read_file
from infuse.data.texts import folded
from infuse.models import checks, loading
from infuse.training import batching, loop, preflight, tracking
from infuse.training.ranks import joined
from infuse.training.step import Engine
from infuse.workflow.job import Job, run

VERSION = 4
log = logging.getLogger("infuse")


def base(job: Job) -> dict[str, Any]:
    """Make or fetch the model, see that it can be used, and save it in one form."""
    params = BASE_PARAMS.validate_python(job.params)
    if isinstance(params, ScratchParams):
        return _from_scratch(job, params)
    where, how = _source(job, params)
    tokenizer = loading.load_tokenizer(where, params.chat_template, **how)
    if params.pad_token is not None:
        if params.pad_token not in tokenizer.get_vocab():
            raise UserError(
                f"base.pad_token: the tokenizer of {where} has no token {params.pad_token!r}"
            )
        tokenizer.pad_token = params.pad_token
    try:
        preflight.template(tokenizer, job.settings.date_string)
        model = loading.load_model(where, **how).eval()
        loading.finite(model)
        checks.sizes(model, tokenizer)
        facts = preflight.layouts(model, Encoder(tokenizer), job.settings.layout)
        preflight.guard(Encoder(tokenizer), tokenizer)
    except UserError as mistake:
        words = str(mistake).removeprefix(f"{where}: ")
        raise UserError(f"{where}: {words}") from mistake
    _fits(job, tokenizer, model, where)
    loading.save(model, tokenizer, job.out)
    return {"parameters": model.num_parameters(), **facts}


def _source(job: Job, params: HubModel | LocalModelParams) -> tuple[str, dict[str, Any]]:
    """The hub id or the folder of the model, and what else says how it is loaded."""
    if isinstance(params, HubModel):
        where, how = params.id, {"revision": params.revision}
    else:
        where, how = job.settings.path, {}
    if params.kind == "gguf":
        loading.require_gguf(Path(where))
        return str(Path(where).parent), {"gguf_file": Path(where).name}
    checks.kind(where, **how)
    return where, how


def _fits(job: Job, tokenizer: Any, model: Any, where: Path | str) -> None:
    """Refuse a model that lacks what the experiment needs."""
    needed = job.settings.requirements
    if needed is None:
        return
    preflight.modules(model, needed)
    if needed.head:
        checks.head(model.config, where)
    preflight.task(tokenizer, loading.positions(model), needed, job.references["task"])


def _from_scratch(job: Job, params: ScratchParams) -> dict[str, Any]:
    _tell_of_answers(job)
    texts = list(_corpus(job, params.reasoned))
    loading.set_threads(params.compute)
    tokenizer = loading.scratch_tokenizer([*texts, *_words(job, len(texts))], params.vocabulary)
    model = loading.scratch_model(params, tokenizer)
    _fits(job, tokenizer, model, job.out)
    facts: dict[str, Any] = {
        "parameters": model.num_parameters(), "vocabulary": len(tokenizer), "texts": len(texts)
    }  # fmt: skip
    log.info("%s parameters, %s tokens known", f"{facts['parameters']:,}", len(tokenizer))
    recipe, seed = params.pretraining, params.seed
    if recipe is None:
        loading.save(model, tokenizer, job.out)
    else:
        encoder = Encoder(tokenizer)
        pieces = text_pieces(encoder, texts, recipe.max_length)
        documents, _ = collect(pieces, recipe.max_length)
        steps = batching.steps(documents.lengths, recipe.batching, recipe.epochs, seed)
        model = loading.tune(model, recipe, seed)
        with (
            joined(params.compute, job.settings.distributed.sharded) as ranks,
            tracking.watched(job.settings.trackers, job.work.name, job.params, ranks) as watch,
        ):
            engine = Engine(model, params.compute, ranks=ranks)
            history = loop.train(
                engine, documents, None, steps, recipe, seed, job.work,
                job.settings.checkpoint_steps, watch,
            )  # fmt: skip
            preflight.save(engine, tokenizer, documents, job.out)
        write_json(job.out / "history.json", asdict(history))
        facts |= {"steps": len(steps), "tokens": batching.total_tokens(documents.lengths, steps)}
    return facts


def _corpus(job: Job, reasoned: bool) -> Iterator[str]:
    """Texts to learn the language from: no validation or test text is among them."""
    if "task" in job.inputs:
        schema = TEXT_REASONING_LABEL if reasoned else TASK
        for row in read_rows(job.inputs["task"] / "train.parquet", schema):
            yield " ".join(row[part] for part in ("text", "reasoning") if row.get(part))
    if "triples" in job.inputs:
        table = read_table(job.inputs["triples"] / "train.parquet", TRIPLES)
        for question, answer, reasoning in zip(
            *(table[name].to_pylist() for name in ("question", "answer", "reasoning")), strict=True
        ):
            yield f"{question} {reasoning} {answer}"
    for path in job.settings.files:
        yield from _texts(path)


def _tell_of_answers(job: Job) -> None:
    """Warn where the triples tell the model what it will be tested on."""
    if "triples" not in job.inputs or "task" not in job.references:
        return
    triples = read_table(job.inputs["triples"] / "train.parquet", TRIPLES)
    asked = {folded(question) for question in triples["question"].to_pylist()}
    for split in ("validation", "test"):
        texts = read_table(job.references["task"] / f"{split}.parquet", TASK)["text"].to_pylist()
        told = sum(folded(text) in asked for text in texts)
        if told:
            log.warning(
                "%d of %d %s texts are questions of the triples too: the model reads their answers"
                " before it is asked. Leave them out of the triples", told, len(texts), split,
            )  # fmt: skip


def _words(job: Job, count: int) -> Iterator[str]:
    """What stands alone in a chat, so that the tokenizer has it whole: its roles, and labels."""
    yield from ("system", "user", "assistant") * count
    for role, schema, part in (("task", TASK, "label"), ("triples", TRIPLES, "answer")):
        if role in job.inputs:
            yield from read_table(job.inputs[role] / "train.parquet", schema)[part].to_pylist()


def _texts(path: str) -> Iterator[str]:
    if path.endswith(LINES):
        opened = gzip.open if path.endswith(".gz") else open
        try:
            with opened(Path(path), "rt", encoding="utf-8-sig") as stream:
                yield from (line.strip() for line in stream if line.strip())
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as damage:
            raise UserError(f"{path}: not readable as text ({first_line(damage)})") from None
        return
    for row in read_file(path, ["text"]):
        if not isinstance(row["text"], str):
            raise UserError(f"{path}: expected a text, found {row['text']!r}")
        yield from (part for part in row["text"].split("\n\n") if part.strip())


if __name__ == "__main__":
    run(base)
