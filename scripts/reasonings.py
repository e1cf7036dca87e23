"""One reasoning for each training and validation text, from the text and its gold label.

IN   reasoner; task. In place of a reasoner: the untuned base, the words of a linear model, a column
     of the task, an endpoint, a published set. Where some texts have got other labels, the
     reasonings from before: they stay with texts that have not. Or what the shards have written,
     jobs that share the texts
OUT  reasonings.parquet: split, id, reasoning, finish, tokens

Cost: one generation for each text. Chunks are kept, so a killed run goes on where it stopped.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infuse.config.compute import Arithmetic
from infuse.config.reasonings import Decoding
from infuse.core.errors import UserError, cut, told
from infuse.core.files import read_json, read_rows, read_task, write_rows
from infuse.core.schemas import REASONINGS, TASK, TEXT_REASONING_LABEL
from infuse.data.examples import Encoder, asked, reasoner_prompt
from infuse.data.keywords import cross_fitted, reasons_of
from infuse.data.labels import LabelRule, NoLabel
from infuse.data.linear_text import linear_model
from infuse.data.sources import hub_label_names, names_in_notes, read_file, read_hub
from infuse.data.splits import grouped
from infuse.data.texts import folded
from infuse.workflow.job import Job, run

VERSION = 5
log = logging.getLogger("infuse")
Row = dict[str, Any]
Made = tuple[list[Row], dict[str, Any]]  # rows, and facts of their making


def reasonings(job: Job) -> dict[str, Any]:
    """Write, ask for, take or import the reasonings, and tell how they came out."""
    makers = {
        "reasoner": _write, "base": _write, "keywords": _weighed, "column": _taken,
        "endpoint": _asked,
    }  # fmt: skip
    schema = TEXT_REASONING_LABEL if job.params["kind"] == "column" else TASK
    texts = [
        {"split": split, **row}
        for split in ("train", "validation")
        for row in read_rows(job.inputs["task"] / f"{split}.parquet", schema)
    ]
    kept = _kept(job)
    maker = makers.get(job.params["kind"], _imported)
    if "shard 1" in job.inputs:
        maker = _gathered
    rows, own = maker(job, [row for row in texts if (row["split"], row["id"]) not in kept])
    if "shard" not in job.params:
        rows = [*kept.values(), *rows]
    write_rows(job.out / "reasonings.parquet", rows, REASONINGS)
    facts = {
        "rows": len(rows),
        "cut_at_limit": sum(row["finish"] == "length" for row in rows),
        "empty": sum(not row["reasoning"].strip() for row in rows),
        "mean_tokens": round(sum(row["tokens"] for row in rows) / max(len(rows), 1), 1),
        **own,
    }
    log.info("%s", ", ".join(f"{name} {value}" for name, value in facts.items()))
    for row in rows[:1]:  # a shard has none where there are fewer chunks than shards
        text = next(one for one in texts if all(one[part] == row[part] for part in ("split", "id")))
        shown = told(text["text"]), cut(text["label"]), told(row["reasoning"])
        log.info("for example, on %s (%s): %s", *shown)
    return facts


def _kept(job: Job) -> dict[tuple[str, int], Row]:
    """The known reasonings of texts whose label is the same."""
    if "known" not in job.inputs:
        return {}
    changed = set(read_json(job.inputs["task"] / "changed.json"))
    rows = read_rows(job.inputs["known"] / "reasonings.parquet", REASONINGS)
    return {
        (row["split"], row["id"]): row
        for row in rows
        if row["split"] != "train" or row["id"] not in changed
    }


def _write(job: Job, texts: list[Row]) -> Made:
    """What the reasoner, or the base model, writes."""
    from infuse.inference import generation
    from infuse.inference.backends import load_writer
    from infuse.models import loading

    compute = Arithmetic.of(job.params["compute"])
    loading.set_threads(compute)
    tokenizer = loading.load_tokenizer(job.inputs["reasoner"])
    encoder = Encoder(tokenizer, date_string=job.params.get("date_string", ""))
    writer = load_writer(job.params["backend"], job.inputs["reasoner"], compute)
    ends = {encoder.end_of_text, *loading.ends(job.inputs["reasoner"])}
    decoding = Decoding.of(job.params)
    prompt = job.params["prompt"]
    if prompt is None:
        questions = [reasoner_prompt(row["text"], row["label"]) for row in texts]
        prompts = [encoder.begin + ids for ids in encoder.plain(questions)]
    else:
        prompts = encoder.chats([asked(prompt, row["text"], row["label"]) for row in texts])
        ends.add(encoder.end_of_turn)

    def write(chunk: list[int]) -> list[Row]:
        written = writer.write([prompts[row] for row in chunk], chunk, ends, decoding)
        return [
            {
                "split": texts[row]["split"],
                "id": texts[row]["id"],
                "reasoning": encoder.text(one.tokens).strip(),
                "finish": one.finish,
                "tokens": len(one.tokens),
            }
            for row, one in zip(chunk, written, strict=True)
        ]

    rows = generation.in_chunks(
        job.work, prompts, job.params["batch_rows"], REASONINGS, write,
        job.params.get("shard", (1, 1)),
    )  # fmt: skip
    return rows, {}


def _gathered(job: Job, texts: list[Row]) -> Made:
    """What the shards have written, in the order in which one job would have."""
    found = {
        (row["split"], row["id"]): row
        for role, folder in job.inputs.items()
        if role.startswith("shard ")
        for row in read_rows(folder / "reasonings.parquet", REASONINGS)
    }
    return [found[text["split"], text["id"]] for text in texts], {}


def _weighed(job: Job, texts: list[Row]) -> Made:
    """The words that a linear model gives most weight; it has seen other training texts alone."""
    train = [row for row in texts if row["split"] == "train"]
    others = [row for row in texts if row["split"] != "train"]
    known = [row["text"] for row in train], [row["label"] for row in train]
    groups = grouped(read_task(job.inputs["task"], "train"))
    reasons, accuracy = cross_fitted(*known, groups, job.params["words"], job.params["folds"])
    model = linear_model(*known)
    if model is None:
        raise UserError("reasonings: keywords need training texts of two labels or more")
    reasons += reasons_of(
        model, [row["text"] for row in others], [row["label"] for row in others],
        job.params["words"],
    )  # fmt: skip
    made = zip([*train, *others], reasons, strict=True)
    return [_imported_row(row, reason) for row, reason in made], {"teacher_accuracy": accuracy}


def _asked(job: Job, texts: list[Row]) -> Made:
    """What the model behind an endpoint says of text and label; nothing where it is refused."""
    from infuse.inference import api_client, replies

    questions = [asked(job.params["prompt"], row["text"], row["label"]) for row in texts]
    answers = api_client.ask(
        job.settings["endpoint"],
        [[{"role": "user", "content": question}] for question in questions],
        job.params,
        Path(job.settings["answers"]),
    )
    rows = [
        {
            "split": row["split"], "id": row["id"], "reasoning": reply.text.strip(),
            "finish": reply.finish, "tokens": reply.completion_tokens or len(reply.text.split()),
        }
        for row, reply in zip(texts, answers, strict=True)
        if reply.finish in ("stop", "length")
    ]  # fmt: skip
    unread = [replies.shown(reply) for reply in answers if not reply.text.strip()]
    if texts and not rows:
        raise UserError(
            f"reasonings: none of {len(texts)} texts got a reply ({replies.ends(answers)}), for "
            f"example {unread[0]}"
        )
    if unread:
        replies.warn_of_few(len(answers) - len(unread), answers, unread[0])
    return rows, api_client.usage(job.settings["endpoint"], answers)


def _taken(_: Job, texts: list[Row]) -> Made:
    """The reasonings that stand in the task's own column."""
    return [_imported_row(row, row["reasoning"]) for row in texts], {}


def _imported(job: Job, texts: list[Row]) -> Made:
    """The published reasoning of each text that has one, matched on text and label.

    Labels are read by the task's rule. A row with the very text comes before one whose text is the
    same but for what `folded` leaves out; of several rows, the last is taken.
    """
    labels = {folded(row["text"]): row["label"] for row in texts}
    found: dict[tuple[str, str], str] = {}
    near: dict[tuple[str, str], str] = {}
    others: dict[str | None, str] = {}  # why a row of that text is none of the task; None: any row
    again = 0
    for where, text, label, cell, reasoning in _published(job):
        key = folded(text)
        if label is not None:
            again += found.get((text.strip(), label), reasoning) != reasoning
            found[text.strip(), label] = near[key, label] = reasoning
        if key in labels and label != labels[key]:
            other = f"{where} has {told(text)} with the label {told(cell)}"
            others.setdefault(key, f"{other}, the task with {told(labels[key])}")
        first = f"{where} has the text {told(text)}"
        others.setdefault(None, f"{first}, the task {told(texts[0]['text'])}")
    rows, missing = [], list[str]()
    for row in texts:
        same, like = (row["text"].strip(), row["label"]), (folded(row["text"]), row["label"])
        if same in found or like in near:
            rows.append(_imported_row(row, found[same] if same in found else near[like]))
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
    return rows, {"without": len(missing), "again": again}


def _imported_row(text: Row, reasoning: str) -> Row:
    """A reasoning that no model wrote here; its tokens are words."""
    place = {part: text[part] for part in ("split", "id")}
    return place | {"reasoning": reasoning, "finish": "imported", "tokens": len(reasoning.split())}


def _published(job: Job) -> Iterator[tuple[str, str, str | None, Any, str]]:
    """Rows of a published set that have a text and a reasoning: where they stand, the text, the
    label's name in the task (None: it is none there), its cell, the reasoning.
    """
    columns = job.params["columns"]
    names = [columns[part] for part in ("text", "label", "reasoning")]
    if job.params["kind"] == "hub":
        place, rows = f"{job.params['id']} (train)", read_hub(job.params, "train", names)
        own = hub_label_names(job.params, "train", names[1])
    else:
        place, rows = job.settings["path"], read_file(job.settings["path"], names)
        own = names_in_notes(place, names[1])
    rule = LabelRule.from_json(read_json(job.inputs["task"] / "label_rule.json"))
    if own and not rule.scale:
        rule = LabelRule.of(None, own)
    for number, row in enumerate(rows, 1):
        where = f"{place}, row {number}"
        text, cell, reasoning = (row[name] for name in names)
        for part, value in (("text", text), ("text as reasoning", reasoning)):
            if not isinstance(value, str | None):
                raise UserError(f"{where}: expected a {part}, found {told(value)}")
        if text is not None and reasoning is not None:
            try:
                yield where, text, rule.name(cell), cell, reasoning
            except NoLabel:
                yield where, text, None, cell, reasoning


if __name__ == "__main__":
    run(reasonings)
