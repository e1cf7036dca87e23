"""Reasonings, imported (matched on text and label) or written by jobs that share the texts."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
from infuse.config import experiment
from infuse.config.compute import Arithmetic
from infuse.config.reasonings import Decoding
from infuse.core.files import read_candidates, write_json, write_rows
from infuse.core.schemas import REASONINGS, TASK
from infuse.data.encoder import Encoder
from infuse.data.labels import LabelRule
from infuse.data.scales import Scale
from infuse.data.texts import folded
from infuse.inference.generation import continue_prompts
from infuse.models import loading
from infuse.workflow import plan
from loopback_server import Answer, Asked, Server, completion, error, serve
from reasonings import reasonings
from stage_runner import Outcome, RunStage, job_of

LABELS = ["anger", "joy"]
COLUMNS = {"text": "text", "label": "label", "reasoning": "reasoning"}
SPLITS = {
    "train": [("I shout", "anger"), ("we laugh", "joy")],
    "validation": [("we laugh", "joy"), ("I laugh", "joy")],
}
ANY = LabelRule()
Texts = Mapping[str, Iterable[tuple[str, str]]]


def task_folder(folder: Path, texts: Texts = SPLITS, rule: LabelRule = ANY) -> Path:
    """What the task stage makes of texts with labels; ids begin at 5 in each split."""
    folder.mkdir()
    write_json(folder / "label_rule.json", rule.to_json())
    for split, rows in texts.items():
        lines = [{"id": n, "text": t, "label": label} for n, (t, label) in enumerate(rows, 5)]
        write_rows(folder / f"{split}.parquet", lines, TASK)
    return folder


def published(path: Path, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Params and settings of an import of rows, which are written to a file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    params = {"kind": "file", "columns": COLUMNS, "content": "a hash"}
    return {"params": params, "settings": {"path": str(path)}}


def row(text: Any, label: Any, reasoning: Any) -> dict[str, Any]:
    """A published row."""
    return {"text": text, "label": label, "reasoning": reasoning}


TEXTS = st.text(st.characters(codec="utf-8"), max_size=3)
# Of texts that are alike but for case or white space, others stand in for each other.
DISTINCT = TEXTS.filter(lambda text: folded(text) == text.strip())
LABELLED = st.tuples(DISTINCT, st.sampled_from(LABELS))


@settings(max_examples=25)
@given(
    train=st.lists(LABELLED, max_size=8),
    validation=st.lists(LABELLED, max_size=8),
    known=st.dictionaries(LABELLED.map(lambda t: (t[0].strip(), t[1])), TEXTS, max_size=8),
    seed=st.integers(0, 99),
)
def test_each_text_gets_the_reasoning_of_its_text_and_label(
    train: list[tuple[str, str]],
    validation: list[tuple[str, str]],
    known: dict[tuple[str, str], str],
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("reasonings")
    texts = {"train": [("a match", "joy"), *train], "validation": validation}
    known |= {("a match", "joy"): "so"}
    rows = [row(f" {text}\n", label, reasoning) for (text, label), reasoning in known.items()]
    asked = published(folder / "rows.jsonl", random.Random(seed).sample(rows, len(rows)))
    task = task_folder(folder / "task", texts)
    reasonings(job_of("reasonings", asked, folder, task=task))
    table = pq.read_table(folder / "reasonings.parquet")
    assert table.schema == REASONINGS
    assert table.to_pylist() == [
        {
            "split": split,
            "id": number,
            "reasoning": (reasoning := known[text.strip(), label]),
            "finish": "imported",
            "tokens": len(reasoning.split()),
        }
        for split, part in texts.items()
        for number, (text, label) in enumerate(part, 5)
        if (text.strip(), label) in known
    ]


def test_a_text_without_a_reasoning_is_counted(run_stage: RunStage, tmp_path: Path) -> None:
    rows = [
        row("I shout", "joy", "another label"),
        row("I shout", "anger", None),
        row("we laugh", "joy", "it is loud"),
        row("I laugh", "joy", ""),
        row("nobody asks", "joy", "so"),
    ]
    asked = published(tmp_path / "rows.jsonl", rows)
    done = run_stage("reasonings", **asked, inputs={"task": task_folder(tmp_path / "task")})
    assert [(record["split"], record["id"]) for record in done.rows("reasonings.parquet")] == [
        ("train", 6), ("validation", 5), ("validation", 6)
    ]  # fmt: skip
    assert done.facts == {
        "rows": 3, "cut_at_limit": 0, "empty": 1, "mean_tokens": 2.0, "without": 1, "again": 0,
    }  # fmt: skip
    assert "3 of 4 texts have an imported reasoning" in done.stderr
    assert "for example, on 'we laugh' (joy): 'it is loud'" in done.stderr


RULES: list[tuple[LabelRule, Any, str]] = [
    (LabelRule(), 1.0, "1"),
    (LabelRule(), "1.0", "1"),
    (LabelRule(), " joy\u200b", "joy"),
    (LabelRule(), True, "True"),
    (LabelRule(["anger", "joy"], places=True), 1, "joy"),
    (LabelRule(["anger", "joy"], places=True), "1", "joy"),
    (LabelRule(scale=Scale(1, 5)), "4.5", "5"),
]


@pytest.mark.parametrize(("rule", "cell", "label"), RULES)
def test_labels_are_read_as_the_task_read_them(
    rule: LabelRule, cell: Any, label: str, run_stage: RunStage, tmp_path: Path
) -> None:
    asked = published(tmp_path / "rows.jsonl", [row("I laugh", cell, "so")])
    task = task_folder(tmp_path / "task", {"train": [("I laugh", label)], "validation": []}, rule)
    assert run_stage("reasonings", **asked, inputs={"task": task}).facts["rows"] == 1


def test_texts_are_matched_but_for_line_ends_space_case_and_marks(
    run_stage: RunStage, tmp_path: Path
) -> None:
    """And the very text comes first."""
    texts = {"train": [("caf\u00e9\r\nau lait", "joy"), ("So it is", "joy")], "validation": []}
    rows = [row("cafe\u0301\nau  lait ", "joy", "one"), row("So it is", "joy", "two")]
    asked = published(tmp_path / "rows.jsonl", [*rows, row("so it is", "joy", "three")])
    done = run_stage("reasonings", **asked, inputs={"task": task_folder(tmp_path / "task", texts)})
    assert [record["reasoning"] for record in done.rows("reasonings.parquet")] == ["one", "two"]


def test_rows_that_match_nothing_are_shown_beside_the_task(
    run_stage: RunStage, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    task = task_folder(tmp_path / "task")
    none = "reasonings: no imported row matches a text and label of the task; "
    asked = published(path, [row("nobody", "joy", "so"), row("we laugh", "fun", "so")])
    done = run_stage("reasonings", **asked, inputs={"task": task}, name="none")
    assert done.reason == (
        f"{none}{path}, row 2 has 'we laugh' with the label 'fun', the task with 'joy'"
    )
    asked = published(path, [row("I shout", "anger", "so"), row("we laugh", "fun", "so")])
    done = run_stage("reasonings", **asked, inputs={"task": task}, name="many")
    assert done.facts["without"] == 3
    assert f"warning: 3 texts have no imported reasoning; {path}, row 2 has" in done.stderr


def test_a_hub_data_set_is_read_by_its_columns(
    run_stage: RunStage, tmp_path: Path, local_hub: Path
) -> None:
    import datasets

    rows = [{"sentence": "we laugh", "emotion": "joy", "why": "it is loud", "more": 1}]
    (local_hub / "data").mkdir()
    datasets.Dataset.from_list(rows).to_parquet(local_hub / "data/train-00000-of-00001.parquet")
    columns = {"text": "sentence", "label": "emotion", "reasoning": "why"}
    params = {
        "kind": "hub", "id": str(local_hub), "revision": "0" * 40, "config": None,
        "columns": columns,
    }  # fmt: skip
    done = run_stage("reasonings", params, {"task": task_folder(tmp_path / "task")})
    assert [record["reasoning"] for record in done.rows("reasonings.parquet")] == ["it is loud"] * 2


def test_a_file_that_is_gone_is_named(run_stage: RunStage, tmp_path: Path) -> None:
    asked = published(tmp_path / "rows.jsonl", [])
    (tmp_path / "rows.jsonl").unlink()
    done = run_stage("reasonings", **asked, inputs={"task": task_folder(tmp_path / "task")})
    assert done.reason == f"{tmp_path}/rows.jsonl: no such file"


def test_a_damaged_input_is_named(run_stage: RunStage, tmp_path: Path) -> None:
    task = task_folder(tmp_path / "task")
    file = task / "validation.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    asked = published(tmp_path / "rows.jsonl", [row("we laugh", "joy", "so")])
    cut = run_stage("reasonings", **asked, inputs={"task": task}, name="cut")
    assert cut.reason.startswith(f"{file}: not a readable parquet file (")
    file.unlink()
    gone = run_stage("reasonings", **asked, inputs={"task": task}, name="gone")
    assert gone.reason == f"{file}: no such file; move {task} elsewhere, and it is made anew"


# Shards ----------------------------------------------------------------------------------------

WRITING = {
    "kind": "reasoner",
    "prompt": None,
    "top_p": 0.9,
    "max_new_tokens": 6,
    "seed": 3,
    "backend": "transformers",
}
MANY = {
    "train": [(f"so {n * 'and '}on", LABELS[n % 2]) for n in range(9)],
    "validation": [(f"we {n * 'so '}laugh", "joy") for n in range(4)],
}


WRITING_COMPUTE = tiny.COMPUTE.model_dump(include=set(Arithmetic.model_fields))
CHAT = {"prompt": "{text}: why {label}?", "date_string": "1 May 2026"}


def test_a_prompt_is_asked_in_a_chat(run_stage: RunStage, tmp_path: Path) -> None:
    model, tokenizer = tiny.model(1), tiny.tokenizer()
    loading.save(model, tokenizer, tmp_path / "reasoner")
    inputs = {"task": task_folder(tmp_path / "task"), "reasoner": tmp_path / "reasoner"}
    compute = {"temperature": 0, "batch_rows": 4, "compute": WRITING_COMPUTE}
    rows = run_stage("reasonings", WRITING | CHAT | compute, inputs).rows("reasonings.parquet")
    encoder = Encoder(tokenizer, date_string=CHAT["date_string"])
    texts = [pair for split in SPLITS.values() for pair in split]
    chats = encoder.chats([f"{text}: why {label}?" for text, label in texts])
    ends = {encoder.end_of_text, encoder.end_of_turn}
    decoding = Decoding(max_new_tokens=WRITING["max_new_tokens"])
    written = continue_prompts(model.eval(), chats, range(len(chats)), ends, decoding)
    said = [
        (encoder.text(continuation.tokens).strip(), continuation.finish) for continuation in written
    ]
    assert [(row["reasoning"], row["finish"]) for row in rows] == said


def test_a_text_that_fills_the_positions_gets_no_reasoning(
    run_stage: RunStage, tmp_path: Path
) -> None:
    """Nor does it keep others from theirs, which end at the last position."""
    loading.save(tiny.model(1), tiny.tokenizer(), tmp_path / "reasoner")
    counts = {"train": [1, 99, 5], "validation": [99]}
    texts = {split: [("joy " * many, "joy") for many in each] for split, each in counts.items()}
    inputs = {"task": task_folder(tmp_path / "task", texts), "reasoner": tmp_path / "reasoner"}
    params = WRITING | {"temperature": 0, "batch_rows": 2, "compute": WRITING_COMPUTE}
    done = run_stage("reasonings", params | {"max_new_tokens": 60}, inputs)
    short, long, full, last = done.rows("reasonings.parquet")
    assert short["tokens"] > full["tokens"] > 0 and full["finish"] == "length"
    for row in (long, last):
        assert (row["reasoning"], row["finish"], row["tokens"]) == ("", "length", 0)


@pytest.mark.parametrize(
    ("decoding", "shards"),
    [
        ({"temperature": 0}, 5),
        ({"temperature": 0.9} | CHAT, 2),
        ({"temperature": 0.9, "candidates": 3}, 5),
    ],
    ids=["greedy", "sampled", "candidates"],
)
def test_shards_write_what_one_job_would(
    run_stage: RunStage, tmp_path: Path, decoding: Mapping[str, Any], shards: int
) -> None:
    """Also where there are more shards than chunks, and for texts that have got other labels."""
    loading.save(tiny.model(1), tiny.tokenizer(), tmp_path / "reasoner")
    params = WRITING | decoding | {"batch_rows": 4, "compute": WRITING_COMPUTE}
    inputs = {"task": task_folder(tmp_path / "task", MANY), "reasoner": tmp_path / "reasoner"}
    write_json(inputs["task"] / "changed.json", [5, 7, 8, 9, 12])
    for name, count in (("first", 13), ("relabelled", 5)):
        single = run_stage("reasonings", params, inputs, name=name)
        parts = {
            f"shard {number}": run_stage(
                "reasonings", params | {"shard": [number, shards]}, inputs, name=f"{name}-{number}"
            )
            for number in range(1, shards + 1)
        }
        texts = {role: folder for role, folder in inputs.items() if role != "reasoner"}
        part_folders = {role: part.output for role, part in parts.items()}
        gathered = run_stage("reasonings", params, texts | part_folders, name=f"{name}-gathered")
        whole = read_candidates(single.output)
        assert read_candidates(gathered.output) == whole
        assert len(whole) == decoding.get("candidates", 1)
        assert gathered.facts == single.facts
        written = [part.rows("reasonings.parquet") for part in parts.values()]
        assert sum(map(len, written)) == count
        inputs = inputs | {"known": single.output}


def test_candidates_come_behind_what_one_would_be(run_stage: RunStage, tmp_path: Path) -> None:
    """Fewer are the first of more, for training texts alone; batches of another size, and a kill,
    change none.
    """
    loading.save(tiny.model(1), tiny.tokenizer(), tmp_path / "reasoner")
    inputs = {"task": task_folder(tmp_path / "task", MANY), "reasoner": tmp_path / "reasoner"}
    params = WRITING | {"temperature": 0.9, "batch_rows": 4, "compute": WRITING_COMPUTE}
    one, three, five, batch = (
        run_stage("reasonings", params | change, inputs, name=name)
        for name, change in {
            "one": {}, "three": {"candidates": 3}, "five": {"candidates": 5},
            "batch": {"candidates": 3, "batch_rows": 7},
        }.items()
    )  # fmt: skip
    names = ["reasonings.parquet", "reasonings-2.parquet", "reasonings-3.parquet"]
    assert [path.name for path in sorted(one.output.glob("*.parquet"))] == names[:1]
    assert (one.output / names[0]).read_bytes() == (three.output / names[0]).read_bytes()
    for name in names:
        written = (three.output / name).read_bytes()
        assert (five.output / name).read_bytes() == (batch.output / name).read_bytes() == written
    first, *further = read_candidates(three.output)
    train = [row["id"] for row in first if row["split"] == "train"]
    assert [[row["id"] for row in rows] for rows in further] == [train, train]
    own = zip(first, *further, strict=False)
    assert sum(len({row["reasoning"] for row in rows}) == 3 for rows in own) > len(train) / 2


def test_one_candidate_is_in_no_key() -> None:
    single, several = (
        plan.build(experiment.load(change)) for change in ({}, {"reasonings": {"candidates": 2}})
    )
    one, two = (next(whole.stage("reasonings")) for whole in (single, several))
    assert "candidates" not in one.params and two.params == one.params | {"candidates": 2}
    said = "reasonings: of its candidates the first is taken, since no arm has `keep`"
    assert said in several.notes and said not in single.notes


def test_shards_of_the_plan() -> None:
    change = {"regimes": None, "controls": []}
    unsharded, sharded = (
        plan.build(experiment.load(change | {"shards": shards})) for shards in (1, 3)
    )
    written = {node.name: node for node in sharded.stage("reasonings")}
    names = [f"scratch-shard-{number}-of-3" for number in (1, 2, 3)]
    assert list(written) == [*names, "scratch"]
    assert list(written["scratch"].inputs) == ["task", "shard 1", "shard 2", "shard 3"]
    assert [written[name].params.get("shard") for name in written] == [[1, 3], [2, 3], [3, 3], None]
    whole = next(unsharded.stage("reasonings"))
    assert all(written[name].inputs == whole.inputs for name in names)
    assert len({node.key for node in (whole, *written.values())}) == 5


def test_what_no_model_writes_has_no_shards() -> None:
    change = {"reasonings": {"kind": "keywords"}}
    unsharded, sharded = (
        plan.build(experiment.load(change | {"shards": shards})) for shards in (1, 3)
    )
    assert unsharded.nodes.keys() == sharded.nodes.keys()


def asks(run_stage: RunStage, tmp_path: Path, server: Server) -> Outcome:
    """The stage's result, where a model behind the server is asked."""
    params = {
        "kind": "endpoint", "prompt": "{text} {label}", "max_new_tokens": 8, "temperature": None,
        "seed": None, "endpoint": {"url": server.url, "model": "m"},
    }  # fmt: skip
    settings = {"endpoint": server.endpoint().model_dump(), "answers": str(tmp_path / "answers")}
    task = tmp_path / "task"
    inputs = {"task": task if task.is_dir() else task_folder(task)}
    return run_stage("reasonings", params, inputs, settings)


def test_a_text_that_is_refused_has_no_reasoning(run_stage: RunStage, tmp_path: Path) -> None:
    def picky(asked: Asked) -> Answer:
        if "shout" in asked.text:
            return error(400, "no", "content_filter")
        return Answer(completion(f"<think>hm</think> since {asked.text}"))

    with serve(picky) as server:
        done = asks(run_stage, tmp_path, server)
    rows = done.rows("reasonings.parquet")
    assert [(row["split"], row["id"], row["reasoning"]) for row in rows] == [
        ("train", 6, "since we laugh joy"), ("validation", 5, "since we laugh joy"),
        ("validation", 6, "since I laugh joy"),
    ]  # fmt: skip
    assert (done.facts["rows"], done.facts["refused"], done.facts["too_long"]) == (3, 1, 0)


def test_where_every_text_is_refused_nothing_is_made(run_stage: RunStage, tmp_path: Path) -> None:
    with serve(lambda _: error(400, "no", "context_length_exceeded")) as server:
        done = asks(run_stage, tmp_path, server)
    assert done.reason == (
        "reasonings: none of 4 texts got a reply (too_long 4), for example '400 no'"
    )
