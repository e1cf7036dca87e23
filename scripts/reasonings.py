"""One reasoning for each training and validation text, from the text and its gold label.

IN   reasoner; task. In place of a reasoner: the untuned base, the words of a linear model, a column
     of the task, an endpoint, a published set. Where some texts have got other labels, the
     reasonings from before: they stay with texts that have not. Or what the shards have written,
     jobs that share the texts
OUT  reasonings.parquet: split, id, reasoning, finish, tokens; of further candidates for training
     texts, reasonings-2.parquet and so on

Cost: one generation for each text. Chunks are kept, so a killed run goes on where it stopped.

Run as: python scripts/reasonings.py results/specs/reasonings/NAME-KEY.json
"""

import itertools
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from infuse.config.model_params import (
    REASONINGS_PARAMS,
    AskedParams,
    FileParams,
    ReasoningsParams,
    WrittenParams,
)
from infuse.config.reasonings import Column, ImportedHub, Keywords
from infuse.core.errors import UserError, cut, quoted
from infuse.core.files import (
    read_candidates,
    read_json,
    read_rows,
    read_task,
    reasonings_file,
    write_rows,
)
from infuse.core.schemas import REASONINGS, TASK, TEXT_REASONING_LABEL
from infuse.data.encoder import Encoder
from infuse.data.keywords import cross_fitted, reasons_of
from infuse.data.labels import LabelRule, NoLabel
from infuse.data.linear_text import linear_model
from infuse.data.prompts import asked, reasoning_prompts
from infuse.data.sources import hub_label_names, names_in_notes, read_file, read_hub
from infuse.data.splits import grouped
from infuse.data.texts import folded
from infuse.workflow.job import Job, run

VERSION = 6
log = logging.getLogger("infuse")
Row = dict[str, Any]
# The rows of each candidate, and facts of their making.
Reasonings = tuple[list[list[Row]], dict[str, Any]]


def reasonings(job: Job) -> dict[str, Any]:
    """Write, ask for, take or import the reasonings, and tell how they came out."""
    params = REASONINGS_PARAMS.validate_python(job.params)
    schema = TEXT_REASONING_LABEL if isinstance(params, Column) else TASK
    texts = [
        {"split": split, **row}
        for split in ("train", "validation")
        for row in read_rows(job.inputs["task"] / f"{split}.parquet", schema)
    ]
    kept = _kept(job)
    known = {(row["split"], row["id"]) for row in itertools.chain(*kept)}
    others = [row for row in texts if (row["split"], row["id"]) not in known]
    candidates, own = _reasonings(job, params, others)
    if kept and not (isinstance(params, WrittenParams) and params.shard):
        candidates = [both + more for both, more in zip(kept, candidates, strict=True)]
    for number, rows in enumerate(candidates, 1):
        write_rows(job.out / reasonings_file(number), rows, REASONINGS)
    rows = candidates[0]
    facts = {
        "rows": len(rows),
        "cut_at_limit": sum(row["finish"] == "length" for row in rows),
        "empty": sum(not row["reasoning"].strip() for row in rows),
        "mean_tokens": round(sum(row["tokens"] for row in rows) / max(len(rows), 1), 1),
        **own,
    }
    log.info("%s", ", ".join(f"{name} {value}" for name, value in facts.items()))
    for row in rows[:1]:  # a shard has none where there are fewer chunks than shards
        place = row["split"], row["id"]
        text = next(text for text in texts if (text["split"], text["id"]) == place)
        shown = quoted(text["text"]), cut(text["label"]), quoted(row["reasoning"])
        log.info("for example, on %s (%s): %s", *shown)
    return facts


def _reasonings(job: Job, params: ReasoningsParams, texts: list[Row]) -> Reasonings:
    if "shard 1" in job.inputs:
        return _gathered(job, texts)
    match params:
        case WrittenParams():
            return _write(job, params, texts)
        case Keywords():
            return _weighed(job, params, texts)
        case AskedParams():
            return _asked(job, params, texts)
        case Column():
            return [[_imported_row(row, row["reasoning"]) for row in texts]], {}
    return _imported(job, params, texts)


def _kept(job: Job) -> list[list[Row]]:
    """The known reasonings of texts whose label is the same, by candidate."""
    if "known" not in job.inputs:
        return []
    changed = set(read_json(job.inputs["task"] / "changed.json"))
    return [
        [row for row in rows if row["split"] != "train" or row["id"] not in changed]
        for rows in read_candidates(job.inputs["known"])
    ]


def _write(job: Job, params: WrittenParams, texts: list[Row]) -> Reasonings:
    """What the reasoner, or the base model, writes; candidates differ in their random numbers."""
    from infuse.inference import generation
    from infuse.inference.backends import load_writer
    from infuse.models import loading

    loading.set_threads(params.compute)
    tokenizer = loading.load_tokenizer(job.inputs["reasoner"])
    encoder = Encoder(tokenizer, date_string=params.date_string)
    writer = load_writer(params.backend, job.inputs["reasoner"], params.compute)
    ends = {encoder.end_of_text, *loading.ends(job.inputs["reasoner"])}
    if params.prompt is not None:
        ends.add(encoder.end_of_turn)
    prompts = reasoning_prompts(encoder, params.prompt, texts)
    if long := sum(len(prompt) >= writer.positions for prompt in prompts):
        log.warning(
            "%d of %d texts fill the model's %d positions: they get no reasoning",
            long, len(texts), writer.positions,
        )  # fmt: skip

    def write(before: int, chunk: list[int]) -> list[Row]:
        fit = [row for row in chunk if len(prompts[row]) < writer.positions]
        drawn = [before * len(texts) + row for row in fit]
        asked = [prompts[row] for row in fit]
        said = dict(zip(fit, writer.write(asked, drawn, ends, params) if fit else (), strict=True))
        written = [said.get(row) or generation.Written([], "length") for row in chunk]
        return [
            {
                "split": texts[row]["split"],
                "id": texts[row]["id"],
                "reasoning": encoder.text(sequence.tokens).strip(),
                "finish": sequence.finish,
                "tokens": len(sequence.tokens),
            }
            for row, sequence in zip(chunk, written, strict=True)
        ]

    return [
        generation.in_chunks(
            job.work / f"candidate-{before + 1}" if before else job.work,
            prompts[: len(_again(texts))] if before else prompts,
            params.batch_rows, REASONINGS, partial(write, before), params.shard or (1, 1),
        )
        for before in range(params.candidates)
    ], {}  # fmt: skip


def _gathered(job: Job, texts: list[Row]) -> Reasonings:
    """What the shards have written, in the order in which one job would have."""
    shards = [
        read_candidates(path) for role, path in job.inputs.items() if role.startswith("shard ")
    ]
    candidates = []
    for before, parts in enumerate(zip(*shards, strict=True)):
        written = {(row["split"], row["id"]): row for rows in parts for row in rows}
        asked = _again(texts) if before else texts
        candidates.append([written[text["split"], text["id"]] for text in asked])
    return candidates, {}


def _again(texts: list[Row]) -> list[Row]:
    """The texts that get further candidates; they stand before the others."""
    return [text for text in texts if text["split"] == "train"]


def _weighed(job: Job, params: Keywords, texts: list[Row]) -> Reasonings:
    """The words that a linear model gives most weight; it has seen other training texts alone."""
    train = [row for row in texts if row["split"] == "train"]
    others = [row for row in texts if row["split"] != "train"]
    known = [row["text"] for row in train], [row["label"] for row in train]
    groups = grouped(read_task(job.inputs["task"], "train"))
    reasons, accuracy = cross_fitted(*known, groups, params.words, params.folds)
    model = linear_model(*known)
    if model is None:
        raise UserError("reasonings: keywords need training texts of two labels or more")
    reasons += reasons_of(
        model, [row["text"] for row in others], [row["label"] for row in others],
        params.words,
    )  # fmt: skip
    rows = [_imported_row(*pair) for pair in zip([*train, *others], reasons, strict=True)]
    return [rows], {"teacher_accuracy": accuracy}


def _asked(job: Job, params: AskedParams, texts: list[Row]) -> Reasonings:
    """What the model behind an endpoint says of text and label; nothing where it is refused."""
    from infuse.inference import api_client, api_replies

    questions = [asked(params.prompt, row["text"], row["label"]) for row in texts]
    endpoint = job.settings.server
    answers = api_client.ask(
        endpoint,
        [[{"role": "user", "content": question}] for question in questions],
        params,
        Path(job.settings.answers),
    )
    rows = [
        {
            "split": row["split"], "id": row["id"], "reasoning": reply.text.strip(),
            "finish": reply.finish, "tokens": reply.completion_tokens or len(reply.text.split()),
        }
        for row, reply in zip(texts, answers, strict=True)
        if reply.finish in ("stop", "length")
    ]  # fmt: skip
    unread = [api_replies.shown(reply) for reply in answers if not reply.text.strip()]
    api_replies.check_useful("reasonings", answers, unread)
    return [rows], api_client.usage(endpoint, answers)


def _imported(job: Job, params: FileParams | ImportedHub, texts: list[Row]) -> Reasonings:
    """The published reasoning of each text that has one, matched on text and label.

    Labels are read by the task's rule. A row with the very text comes before one whose text is the
    same but for what `folded` leaves out; of several rows, the last is taken.
    """
    labels = {folded(row["text"]): row["label"] for row in texts}
    exact: dict[tuple[str, str], str] = {}
    near: dict[tuple[str, str], str] = {}
    others: dict[str | None, str] = {}  # why a row of that text is none of the task; None: any row
    again = 0
    for where, text, label, cell, reasoning in _published(job, params):
        key = folded(text)
        if label is not None:
            again += exact.get((text.strip(), label), reasoning) != reasoning
            exact[text.strip(), label] = near[key, label] = reasoning
        if key in labels and label != labels[key]:
            other = f"{where} has {quoted(text)} with the label {quoted(cell)}"
            others.setdefault(key, f"{other}, the task with {quoted(labels[key])}")
        first = f"{where} has the text {quoted(text)}"
        others.setdefault(None, f"{first}, the task {quoted(texts[0]['text'])}")
    rows, missing = [], list[str]()
    for row in texts:
        same, like = (row["text"].strip(), row["label"]), (folded(row["text"]), row["label"])
        if same in exact or like in near:
            rows.append(_imported_row(row, exact[same] if same in exact else near[like]))
        else:
            missing.append(like[0])
    apart = next((others[key] for key in [*missing, None] if key in others), "it has no rows")
    if not rows:
        raise UserError(
            f"reasonings: no imported row matches a text and label of the task; {apart}"
        )
    log.info("%d of %d texts have an imported reasoning", len(rows), len(texts))
    if len(missing) > len(texts) / 10:
        log.warning("warning: %d texts have no imported reasoning; %s", len(missing), apart)
    if again:
        log.info("%d imported rows have another reasoning for the same text and label", again)
    return [rows], {"without": len(missing), "again": again}


def _imported_row(text: Row, reasoning: str) -> Row:
    """A reasoning that no model wrote here; its tokens are words."""
    place = {part: text[part] for part in ("split", "id")}
    return place | {"reasoning": reasoning, "finish": "imported", "tokens": len(reasoning.split())}


def _published(
    job: Job, params: FileParams | ImportedHub
) -> Iterator[tuple[str, str, str | None, Any, str]]:
    """Rows of a published set that have a text and a reasoning: where they stand, the text, the
    label's name in the task (None: it is none there), its cell, the reasoning.
    """
    columns = params.columns
    names = [columns.text, columns.label, columns.reasoning]
    if isinstance(params, ImportedHub):
        place, rows = f"{params.id} (train)", read_hub(params, "train", names)
        own = hub_label_names(params, "train", columns.label)
    else:
        place, rows = job.settings.path, read_file(job.settings.path, names)
        own = names_in_notes(place, columns.label)
    rule = LabelRule.from_json(read_json(job.inputs["task"] / "label_rule.json"))
    if own and not rule.scale:
        rule = LabelRule.of(None, own)
    for number, row in enumerate(rows, 1):
        where = f"{place}, row {number}"
        text, cell, reasoning = (row[name] for name in names)
        for part, value in (("text", text), ("text as reasoning", reasoning)):
            if not isinstance(value, str | None):
                raise UserError(f"{where}: expected a {part}, found {quoted(value)}")
        if text is not None and reasoning is not None:
            try:
                yield where, text, rule.name(cell), cell, reasoning
            except NoLabel:
                yield where, text, None, cell, reasoning


if __name__ == "__main__":
    run(reasonings)
