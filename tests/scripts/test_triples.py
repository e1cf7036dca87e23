"""Triples: three sources, one form; the split by question; subsets drawn by content."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infuse.core.files import GROUP, write_rows
from infuse.core.schemas import TRIPLES
from infuse.data.chat_turns import NO_LIST, NO_PAIR, NO_TEXT, NO_THOUGHT, triple
from infuse.data.sources import share
from infuse.synthetic.emotions import triples as diary_triples
from stage_runner import RunStage, job_of
from triples import triples

PIN = "0" * 40
PARTS = {"question": "question", "answer": "answer", "reasoning": "reasoning"}
COLUMNS = {"kind": "triples", **PARTS, "domain": None}
CHAT = {"kind": "chat", "messages": "messages", "domain": "source"}
Rows = Sequence[Mapping[str, Any]]


def row(question: str, reasoning: str = "so", **more: Any) -> dict[str, Any]:
    """A triple without a domain."""
    return {"question": question, "answer": "yes", "reasoning": reasoning, **more}


ENOUGH = [row(f"question {number}") for number in range(60)]  # for both sides of a split


def jsonl(path: Path, rows: Iterable[Any]) -> str:
    """Write rows as jsonl, and give the path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def spec_of(*paths: str, columns: Mapping[str, Any] = COLUMNS, **params: Any) -> dict[str, Any]:
    """Params and settings of triples in files."""
    common = {"train_share": 0.8, "rows": None, "max_reasoning_characters": None}
    source = {"kind": "files", "files": ["a hash"] * len(paths)}
    return {
        "params": {"source": source, "columns": columns, **common, **params},
        "settings": {"files": list(paths)},
    }


def split(folder: Path, given: Rows, /, **params: Any) -> tuple[Rows, Rows]:
    """Both sides of what the stage makes of rows."""
    asked = spec_of(jsonl(folder / "rows.jsonl", given), **params)
    triples(job_of("triples", asked, folder))
    sides = [pq.read_table(folder / f"{side}.parquet") for side in ("train", "validation")]
    assert all(side.schema == TRIPLES for side in sides)
    return sides[0].to_pylist(), sides[1].to_pylist()


def contents(rows: Rows) -> list[tuple[str, ...]]:
    """Rows without their order."""
    return sorted(tuple(row[part] for part in (*PARTS, "domain")) for row in rows)


# Properties ------------------------------------------------------------------------------------

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6).filter(str.strip)
TRIPLE_ROWS = st.lists(st.builds(row, WORDS, WORDS), max_size=30).map(
    lambda rows: rows + ENOUGH + rows[:3]  # more reasonings to one question, too
)


@settings(max_examples=25)
@given(rows=TRIPLE_ROWS, seed=st.integers(0, 99), part=st.sampled_from([0.3, 0.5, 0.8]))
def test_a_question_stands_on_one_side_whatever_the_order(
    rows: list[dict[str, Any]],
    seed: int,
    part: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("triples")
    train, validation = split(folder, rows, train_share=part)
    sides = [{row["question"] for row in side} for side in (train, validation)]
    assert not sides[0] & sides[1]
    everything = [row | {"domain": "all"} for row in rows]
    assert contents([*train, *validation]) == contents(everything)
    again = split(folder, random.Random(seed).sample(rows, len(rows)), train_share=part)
    assert [contents(side) for side in again] == [contents(train), contents(validation)]


@settings(max_examples=25)
@given(rows=TRIPLE_ROWS, few=st.integers(30, 50), more=st.integers(0, 60), seed=st.integers(0, 99))
def test_a_smaller_subset_is_part_of_a_larger_one(
    rows: list[dict[str, Any]],
    few: int,
    more: int,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("triples")
    rows = [dict(record) for record in {(r["question"], r["reasoning"]): r for r in rows}.values()]
    whole = split(folder, rows, train_share=0.5)
    large = split(folder, rows, train_share=0.5, rows=few + more)
    shuffled = random.Random(seed).sample(rows, len(rows))
    small = split(folder, shuffled, train_share=0.5, rows=few)
    assert sum(map(len, small)) == few
    assert sum(map(len, large)) == min(few + more, len(rows))
    for side in range(2):
        sets = [set(contents(sides[side])) for sides in (small, large, whole)]
        assert sets[0] <= sets[1] <= sets[2]


@settings(max_examples=60)
@given(text=st.text(max_size=30), salt=st.sampled_from(["split", "subset"]))
def test_a_share_depends_on_the_text_alone(text: str, salt: str) -> None:
    assert 0 <= share(text, salt) < 1
    assert share(text, salt) == share(str(text.encode("utf-8", "replace"), "utf-8"), salt)
    assert share(text, salt) != share(text + "!", salt)


@pytest.mark.parametrize("part", [0.5, 0.8, 0.95])
def test_the_share_of_questions_is_the_asked_one(part: float, tmp_path: Path) -> None:
    rows = [row(f"How many is {number}?") for number in range(4000)]
    train, _ = split(tmp_path, rows, train_share=part)
    error = (part * (1 - part) / len(rows)) ** 0.5
    assert abs(len(train) / len(rows) - part) < 4 * error


def test_split_and_subset_are_independent(tmp_path: Path) -> None:
    """Else a small subset would hold no validation question."""
    rows = [row(f"How many is {number}?") for number in range(4000)]
    train, validation = split(tmp_path, rows, rows=1000)
    assert abs(len(validation) / 1000 - 0.2) < 4 * (0.2 * 0.8 / 1000) ** 0.5
    assert len(train) + len(validation) == 1000


# The three sources -----------------------------------------------------------------------------


def test_the_generator_gives_its_triples_with_their_domains(run_stage: RunStage) -> None:
    params = spec_of()["params"] | {"source": {"kind": "generated", "rows": 400, "seed": 5}}
    del params["columns"]
    done = run_stage("triples", params)
    both = [*done.rows("train.parquet"), *done.rows("validation.parquet")]
    assert contents(both) == contents([vars(triple) for triple in diary_triples(400, 5)])
    assert done.facts["rows"] == {"train": len(done.rows("train.parquet")),
                                  "validation": len(done.rows("validation.parquet"))}  # fmt: skip
    assert sum(done.facts["domains"].values()) == 400
    assert done.facts["dropped"] == []


def test_files_of_any_kind_are_laid_end_to_end(run_stage: RunStage, tmp_path: Path) -> None:
    rows = [
        {"q": f"question {number}", "a": "yes", "why": "so", "from": "left" if number % 2 else ""}
        for number in range(3 * GROUP)
    ]
    first = jsonl(tmp_path / "a.jsonl", rows[:GROUP])
    (tmp_path / "b.csv").write_text(
        "from,why,q,a\n" + "".join(
            f"{raw['from']},{raw['why']},{raw['q']},{raw['a']}\n" for raw in rows[GROUP:500]
        )
    )  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows[500:]), tmp_path / "c.parquet")
    columns = {
        "kind": "triples", "question": "q", "answer": "a", "reasoning": "why", "domain": "from",
    }  # fmt: skip
    paths = [first, str(tmp_path / "b.csv"), str(tmp_path / "c.parquet")]
    asked = spec_of(*paths, columns=columns, train_share=0.5)
    done = run_stage("triples", **asked)
    both = [*done.rows("train.parquet"), *done.rows("validation.parquet")]
    assert contents(both) == contents([row(raw["q"], domain=raw["from"] or "all") for raw in rows])
    assert done.facts["domains"] == {"all": len(rows) // 2, "left": len(rows) // 2}


def test_a_domain_may_be_a_number(run_stage: RunStage, tmp_path: Path) -> None:
    rows = [record | {"level": place % 2} for place, record in enumerate(ENOUGH)]
    rows += [record | {"level": None, "reasoning": " "} for record in ENOUGH]
    columns = COLUMNS | {"domain": "level"}
    done = run_stage("triples", **spec_of(jsonl(tmp_path / "a.jsonl", rows), columns=columns))
    assert done.facts["domains"] == {"0": 30, "1": 30}
    assert done.facts["dropped"] == [{"reason": "an empty field", "domain": "all", "rows": 60}]


def chat(number: int, said: str | None = None) -> dict[str, Any]:
    """A row of the form of open-r1/Mixture-of-Thoughts."""
    said = f"<think>\nso {number}\n</think>\n\nyes {number}" if said is None else said
    return {
        "messages": [
            {"role": "user", "content": f"question {number}"},
            {"role": "assistant", "content": said},
        ],
        "num_tokens": 7,
        "source": "math" if number % 2 else "code",
    }


def test_a_hub_data_set_of_chats_is_read(run_stage: RunStage, local_hub: Path) -> None:
    import datasets

    (local_hub / "all").mkdir()
    (local_hub / "README.md").write_text(
        "---\nconfigs:\n- config_name: all\n  data_files:\n  - split: train\n"
        "    path: all/train-*\n---\n"
    )
    rows = [chat(number) for number in range(90)]
    rows += [chat(number, f"<think>\nso {number}, without an end") for number in range(90, 94)]
    datasets.Dataset.from_list(rows).to_parquet(local_hub / "all/train-00000-of-00001.parquet")
    params = spec_of(columns=CHAT)["params"]
    params["source"] = {"kind": "hub", "id": str(local_hub), "revision": PIN, "config": "all"}
    done = run_stage("triples", params)
    both = [*done.rows("train.parquet"), *done.rows("validation.parquet")]
    assert contents(both) == sorted(
        (f"question {n}", f"yes {n}", f"so {n}", "math" if n % 2 else "code") for n in range(90)
    )
    assert done.facts["dropped"] == [
        {"reason": NO_THOUGHT, "domain": domain, "rows": 2} for domain in ("code", "math")
    ]


USER, BOT = {"role": "user", "content": "Q"}, {"role": "assistant", "content": "<think>R</think>A"}


@pytest.mark.parametrize(
    ("messages", "parts"),
    [
        ([USER, BOT], ("Q", "A", "R")),
        ([{"role": "system", "content": "S"}, USER, BOT, USER, BOT], ("Q", "A", "R")),
        ([USER, BOT | {"content": " <think>\n1 < 2\n\n</think>\n A \n"}], ("Q", "A", "1 < 2")),
        ([USER, BOT | {"content": "<think>R</think>A </think> B"}], ("Q", "A </think> B", "R")),
        ([USER, BOT | {"content": "<think></think>A"}], ("Q", "A", "")),
        ([USER, BOT | {"content": "<think>R"}], NO_THOUGHT),
        ([USER, BOT | {"content": "R</think>A"}], NO_THOUGHT),
        ([USER, BOT | {"content": "Well, <think>R</think>A"}], NO_THOUGHT),
        ([USER, BOT | {"content": None}], NO_TEXT),
        ([USER, BOT | {"content": ["R"]}], NO_TEXT),
        ([USER, {"role": "assistant"}], NO_TEXT),
        ([{"role": "user"}, BOT], NO_TEXT),
        ([USER | {"content": 7}, BOT], NO_TEXT),
        ([USER, "<think>R</think>A"], NO_LIST),
        ([BOT, USER], NO_PAIR),
        ([USER | {"role": "human"}, BOT | {"role": "gpt"}], NO_PAIR),
        ([USER], NO_PAIR),
        ([], NO_PAIR),
        (None, NO_LIST),
        ("[{role: user}]", NO_LIST),
    ],
)
def test_the_parts_of_a_chat(messages: Any, parts: tuple[str, str, str] | str) -> None:
    assert triple(messages, "here") == parts


def test_turns_of_another_form_are_refused(run_stage: RunStage, tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "<think>R</think>A"}]
    rows = [chat(1), chat(2) | {"messages": turns}]
    done = run_stage("triples", **spec_of(jsonl(tmp_path / "a.jsonl", rows), columns=CHAT))
    assert done.reason == (
        f"{tmp_path}/a.jsonl, row 2: expected turns with role and content, found 'from', 'value'"
    )


# What is dropped, and what is refused (more in docs/mistakes.md) --------------------------------


def test_what_cannot_be_learned_from_is_counted_by_reason_and_domain(
    run_stage: RunStage, tmp_path: Path
) -> None:
    rows = [
        *(record | {"domain": "a"} for record in ENOUGH),
        row("", domain="a"),
        row("q", " \n", domain="b"),
        row("q", "x" * 21, domain="b"),
        row("q", "x" * 20, domain="b"),
        {"question": "q", "answer": None, "reasoning": "so", "domain": "a"},
        {"question": 3, "answer": "a", "reasoning": "so", "domain": "a"},
    ]
    path = jsonl(tmp_path / "a.jsonl", rows)
    asked = spec_of(path, columns=COLUMNS | {"domain": "domain"}, max_reasoning_characters=20)
    done = run_stage("triples", **asked)
    assert done.facts["domains"] == {"a": 60, "b": 1}
    assert done.facts["dropped"] == [
        {"reason": "an empty field", "domain": "a", "rows": 1},
        {"reason": "an empty field", "domain": "b", "rows": 1},
        {"reason": NO_TEXT, "domain": "a", "rows": 2},
        {"reason": "reasoning of more than 20 characters", "domain": "b", "rows": 1},
    ]


def test_what_a_subset_leaves_out_is_counted(run_stage: RunStage, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [row("", "so"), *ENOUGH])
    done = run_stage("triples", **spec_of(path, rows=50))
    assert sum(done.facts["rows"].values()) == 50
    assert done.facts["dropped"] == [
        {"reason": "an empty field", "domain": "all", "rows": 1},
        {"reason": "not in the subset", "domain": "all", "rows": 10},
    ]


def test_a_csv_row_with_missing_cells_is_refused(run_stage: RunStage, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("question,answer,reasoning\nq,a,r\ncut,here\n")
    done = run_stage("triples", **spec_of(str(path)))
    assert done.reason.startswith(f"{path}, line 3: 2 cell(s), the header has 3; ")


EMPTY = "triples: a split is empty ({{'train': 0, 'validation': 0}}), dropped: "
GOOD = json.dumps(row("q")).encode() + b"\n"
# name, the file's name, its bytes (None: there is no file), columns, how the reason begins
WRONG: list[tuple[str, str, bytes | None, Mapping[str, Any], str]] = [
    ("no file", "a.csv", None, COLUMNS, "{path}: no such file"),
    ("a csv of a header", "a.csv", b"question,answer,reasoning\n", COLUMNS, EMPTY + "nothing"),
    ("no UTF-8", "a.jsonl", GOOD + b"\xff\n", COLUMNS,
     "{path}: not valid UTF-8 (invalid start byte: "),
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "content", "columns", "reason"),
    [case[1:] for case in WRONG],
    ids=[case[0] for case in WRONG],
)
def test_wrong_files_are_refused(
    file: str,
    content: bytes | None,
    columns: Mapping[str, Any],
    reason: str,
    run_stage: RunStage,
    tmp_path: Path,
) -> None:
    path = tmp_path / file
    if content is not None:
        path.write_bytes(content)
    done = run_stage("triples", **spec_of(str(path), columns=columns))
    assert done.reason.startswith(reason.format(path=path))


def test_the_second_file_is_named_where_it_is_the_wrong_one(
    run_stage: RunStage, tmp_path: Path
) -> None:
    first = jsonl(tmp_path / "a.jsonl", ENOUGH)
    second = tmp_path / "b.parquet"
    write_rows(second, [row("q", domain="x")], TRIPLES)
    second.write_bytes(second.read_bytes()[:-20])
    done = run_stage("triples", **spec_of(first, str(second)))
    assert done.reason.startswith(f"{second}: not a readable file (")
