"""Conversations: forms of rows, splits by context, draws by content."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations import SPLITS, conversations
from infuse.core.errors import UserError
from infuse.core.files import read_rows
from infuse.core.schemas import CONVERSATIONS
from infuse.data.conversation_formats import Draw, Pair, columns_of, pair
from infuse.data.texts import folded
from infuse.synthetic import dialogues
from stage_runner import RunStage, job_of

PIN = "0" * 40
PAIR = {"kind": "pair", "context": "context", "response": "response"}
FEW = {"train": 8, "validation": 2, "test": 4}
WIDE = {"train": 90, "validation": 50, "test": 50}  # more than some sources have
Rows = Sequence[Mapping[str, Any]]


def row(context: str, response: str = "so") -> dict[str, Any]:
    return {"context": context, "response": response}


ENOUGH = [row(f"question {number}") for number in range(60)]  # for all splits


def jsonl(path: Path, rows: Iterable[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def spec_of(rows: Mapping[str, int] = FEW, /, **files: Sequence[str]) -> dict[str, Any]:
    """Params and settings of sources that are files with pairs."""
    sources = {
        name: {"source": {"kind": "files", "files": ["a hash"] * len(paths)}, "columns": PAIR}
        for name, paths in files.items()
    }
    return {
        "params": {"seed": 0, "rows": dict(rows), "sources": sources},
        "settings": {"sources": {name: list(paths) for name, paths in files.items()}},
    }


def drawn(folder: Path, asked: Mapping[str, Any]) -> dict[str, Rows]:
    conversations(job_of("conversations", asked, folder))
    return {split: read_rows(folder / f"{split}.parquet", CONVERSATIONS) for split in SPLITS}


# Properties --------------------------------------------------------------------------------------

WORDS = st.text(st.sampled_from("aB \n"), min_size=1, max_size=4).filter(str.strip)
PAIRS = st.lists(st.builds(row, WORDS, st.sampled_from(["yes", "no", "Yes"])), max_size=40)
SIZES = st.fixed_dictionaries(dict.fromkeys(SPLITS, st.integers(1, 12)))


@settings(max_examples=40)
@given(left=PAIRS, right=PAIRS, sizes=SIZES, seed=st.integers(0, 9))
def test_no_cluster_stands_in_two_splits_whatever_the_order(
    left: list[dict[str, str]],
    right: list[dict[str, str]],
    sizes: dict[str, int],
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("conversations")
    rows = {"left": left + ENOUGH, "right": right + ENOUGH[::-1]}

    def draw(rows: Mapping[str, Rows]) -> dict[str, Rows]:
        paths = {name: [jsonl(folder / f"{name}.jsonl", own)] for name, own in rows.items()}
        asked = spec_of(sizes, **paths)
        asked["params"]["seed"] = seed
        return drawn(folder, asked)

    splits = _or_short(draw, rows)
    if splits is None:
        return
    clusters = {split: {row["cluster"] for row in own} for split, own in splits.items()}
    assert not any(clusters[part] & clusters[other] for part, other in combinations(SPLITS, 2))
    everything = [row for split in SPLITS for row in splits[split]]
    contexts = {(row["cluster"], folded(row["context"])) for row in everything}
    assert (
        len(contexts)
        == len({cluster for cluster, _ in contexts})
        == len({context for _, context in contexts})
    )
    assert [row["id"] for row in everything] == list(range(len(everything)))
    kept = [(row["source"], row["context"], row["response"]) for row in everything]
    raw = {
        (name, record["context"].strip(), record["response"])
        for name, own in rows.items()
        for record in own
    }
    assert len({*kept}) == len(kept) and {*kept} <= raw
    for name in rows:
        for split in SPLITS:
            assert sum(row["source"] == name for row in splits[split]) <= sizes[split]
    shuffled = {
        name: random.Random(seed).sample(rows[name], len(rows[name])) for name in reversed(rows)
    }
    assert draw(shuffled) == splits


def _or_short(draw: Any, rows: Any) -> dict[str, Rows] | None:
    """What is drawn, or None where a split got no row."""
    try:
        return draw(rows)
    except UserError as mistake:
        assert "no row for the" in str(mistake)
        return None


@settings(max_examples=60)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9)), min_size=1, max_size=120),
    few=st.integers(1, 20),
    seed=st.integers(0, 9),
)
def test_a_draw_that_forgets_is_one_of_all(
    pairs: list[tuple[int, int]], few: int, seed: int
) -> None:
    """It holds few of the rows, and draws what it would draw of all; contexts come first."""
    small, whole = Draw(few, seed), Draw(1000, seed)
    for context, response in pairs:
        for draw in (small, whole):
            draw.add(str(context), Pair(str(context), str(response)))
        assert len(small._held) <= 2 * few
    assert small.drawn() == whole.drawn()[:few]
    assert len(whole.drawn()) == len({*pairs})
    assert len({cluster for cluster, _ in small.drawn()}) == min(few, len({c for c, _ in pairs}))


def test_sources_of_the_same_contexts_are_drawn_alike(run_stage: RunStage) -> None:
    sources = {
        style: {"source": {"kind": "generated", "style": style, "seed": 4}, "columns": None}
        for style in dialogues.STYLES
    }
    sizes = {"train": 60, "validation": 10, "test": 30}
    done = run_stage("conversations", {"seed": 0, "rows": sizes, "sources": sources})
    for split in SPLITS:
        own: dict[str, list[str]] = {style: [] for style in sources}
        for record in done.rows(f"{split}.parquet"):
            own[record["source"]].append(record["context"])
            assert dialogues.truth(record["context"], record["response"])
        assert all(len({*contexts}) == sizes[split] for contexts in own.values())
        assert own["help_chosen"] == own["help_rejected"]
    assert done.facts == {
        "rows": dict.fromkeys(sources, sizes),
        "missing": dict.fromkeys(sources, dict.fromkeys(SPLITS, 0)),
        "dropped": {style: {"rows": 0, "first": []} for style in sources},
        "shared_clusters": [{"sources": ["help_chosen", "help_rejected"], "clusters": 100}],
    }


# Forms of rows -----------------------------------------------------------------------------------

MANY = range(60)
TALK = ("I ask.", "I say.", "I ask\n\nagain.", "I say it again.")
CHAT = [
    {"role": role, "content": words}
    for role, words in zip(("user", "assistant") * 2, TALK, strict=True)
]
SPOKEN = "Human: I ask.\nAssistant: I say.\nHuman: I ask\n\nagain."
TRANSCRIPT = "".join(
    f"\n\n{who}: {words}" for who, words in zip(("Human", "Assistant") * 2, TALK, strict=True)
)
PASSAGE = {"passage": "story", "questions": "questions", "answers": "answers.input_text"}
TOLD = {"input_text": ["Ann", "no"], "answer_start": [3, 7]}
FORMS: list[tuple[dict[str, str], dict[str, Any], tuple[str, str] | None]] = [
    (PAIR, row(" Who? ", " I.\n"), ("Who?", "I.")),
    (PAIR, row(" \n", "I."), None),
    (PAIR, row("Who?", "\t"), None),
    (PAIR, {"context": None, "response": "I."}, None),
    (PAIR, {"context": "Who?", "response": 7}, None),
    ({"kind": "chat", "messages": "talk"}, {"talk": CHAT}, (SPOKEN, TALK[3])),
    ({"kind": "chat", "messages": "talk"}, {"talk": [*CHAT, CHAT[0]]}, (SPOKEN, TALK[3])),
    (
        {"kind": "chat", "messages": "talk"},
        {"talk": [{"role": "system", "content": "Be kind."}, *CHAT[:2]]},
        ("System: Be kind.\nHuman: I ask.", "I say."),
    ),
    ({"kind": "chat", "messages": "talk"}, {"talk": CHAT[:1]}, None),
    ({"kind": "chat", "messages": "talk"}, {"talk": CHAT[1:2]}, None),
    ({"kind": "chat", "messages": "talk"}, {"talk": [CHAT[0] | {"content": " "}, CHAT[1]]}, None),
    ({"kind": "chat", "messages": "talk"}, {"talk": [CHAT[0], {"role": "assistant"}]}, None),
    ({"kind": "chat", "messages": "talk"}, {"talk": ["Who?", "I."]}, None),
    ({"kind": "chat", "messages": "talk"}, {"talk": None}, None),
    ({"kind": "transcript", "text": "chosen"}, {"chosen": TRANSCRIPT}, (SPOKEN, TALK[3])),
    ({"kind": "transcript", "text": "chosen"}, {"chosen": TRANSCRIPT.strip()}, (SPOKEN, TALK[3])),
    ({"kind": "transcript", "text": "chosen"}, {"chosen": "\n\nHuman: I ask."}, None),
    ({"kind": "transcript", "text": "chosen"}, {"chosen": "I ask."}, None),
    ({"kind": "transcript", "text": "chosen"}, {"chosen": None}, None),
    (
        {"kind": "passage", **PASSAGE},
        {"story": "Ann left. ", "questions": ["Who left?", "Is she here?"], "answers": TOLD},
        ("Ann left.\n\nQuestion: Who left?\nAnswer: Ann\nQuestion: Is she here?", "no"),
    ),
    (
        {"kind": "passage", **PASSAGE},
        {"story": "Ann left.", "questions": ["Who?"], "answers": [{"input_text": "Ann"}]},
        ("Ann left.\n\nQuestion: Who?", "Ann"),
    ),
    (
        {"kind": "passage", **PASSAGE},
        {"story": "Ann left.", "questions": ["Who left?"], "answers": TOLD},
        None,
    ),
    ({"kind": "passage", **PASSAGE}, {"story": "A", "questions": [], "answers": None}, None),
    (
        {"kind": "turns", "turns": "utterance.text"},
        {"utterance": {"LineID": ["1", "2", "3"], "text": ["Who?", "I.", "You?"]}},
        ("A: Who?\nB: I.", "You?"),
    ),
    ({"kind": "turns", "turns": "said"}, {"said": [" ", "I.", "You?"]}, ("B: I.", "You?")),
    ({"kind": "turns", "turns": "said"}, {"said": ["Who?"]}, None),
    ({"kind": "turns", "turns": "said"}, {"said": ["Who?", None]}, None),
]


@pytest.mark.parametrize(("columns", "raw", "expected"), FORMS)
def test_the_pair_of_a_row(
    columns: dict[str, str], raw: dict[str, Any], expected: tuple[str, str] | None
) -> None:
    assert {*columns_of(columns)} == {*raw}
    assert pair(raw, columns, "here") == expected


@pytest.mark.parametrize(
    ("value", "actual"), [({"other": []}, "['other']"), ("text", "str"), ([["text"]], "list")]
)
def test_a_field_that_is_not_there_is_named(value: Any, actual: str) -> None:
    with pytest.raises(UserError) as mistake:
        pair({"said": value}, {"kind": "turns", "turns": "said.text"}, "a.parquet")
    assert str(mistake.value) == f"a.parquet: column 'said' has no field 'text', found {actual}"


# The sources -------------------------------------------------------------------------------------


def test_sources_of_any_form_become_one_set(
    run_stage: RunStage, local_hub: Path, tmp_path: Path
) -> None:
    """Stand-ins of the forms of the six sets, one of them on the hub."""
    import datasets

    (local_hub / "data").mkdir()
    texts = [f"Line {number}." for number in MANY]
    datasets.Dataset.from_list(
        [
            {"movieID": "m", "utterance": {"LineID": ["1", "2"], "text": [text, "Yes."]}}
            for text in texts
        ]
    ).to_parquet(local_hub / "data/train-00000-of-00001.parquet")
    stories = [
        {
            "story": text,
            "questions": ["Who?"],
            "answers": {"input_text": ["Ann"], "answer_end": [3]},
        }
        for text in texts
    ]
    pq.write_table(pa.Table.from_pylist(stories), tmp_path / "coqa.parquet")
    chats = [
        {"conversation_a": [CHAT[0] | {"content": text}, CHAT[1]], "winner": "model_a"}
        for text in texts
    ]
    both = [
        {side: f"\n\nHuman: {text}\n\nAssistant: {side}" for side in ("chosen", "rejected")}
        for text in texts
    ]
    hh = jsonl(tmp_path / "hh.jsonl", both)
    lines = "".join(f"{text},Good.\n" for text in texts)
    (tmp_path / "qa.csv").write_text("query,answer\n" + lines)
    columns = {
        "amazon": {"kind": "pair", "context": "query", "response": "answer"},
        "arena": {"kind": "chat", "messages": "conversation_a"},
        "chosen": {"kind": "transcript", "text": "chosen"},
        "coqa": {"kind": "passage", **PASSAGE},
        "cornell": {"kind": "turns", "turns": "utterance.text"},
        "rejected": {"kind": "transcript", "text": "rejected"},
    }
    paths = {
        "amazon": str(tmp_path / "qa.csv"), "arena": jsonl(tmp_path / "arena.jsonl", chats),
        "chosen": hh, "coqa": str(tmp_path / "coqa.parquet"), "rejected": hh,
    }  # fmt: skip
    asked = spec_of(**{name: [path] for name, path in paths.items()}, cornell=[])
    for name, source in asked["params"]["sources"].items():
        source["columns"] = columns[name]
    hub = {"kind": "hub", "id": str(local_hub), "revision": PIN, "config": None, "split": "train"}
    asked["params"]["sources"]["cornell"]["source"] = hub
    done = run_stage("conversations", **asked)
    forms = {
        "amazon": ("{}", "Good."), "arena": ("Human: {}", "I say."),
        "chosen": ("Human: {}", "chosen"), "coqa": ("{}\n\nQuestion: Who?", "Ann"),
        "cornell": ("A: {}", "Yes."), "rejected": ("Human: {}", "rejected"),
    }  # fmt: skip
    for split in SPLITS:
        for record in done.rows(f"{split}.parquet"):
            context, response = forms[record["source"]]
            assert record["context"] in {context.format(text) for text in texts}
            assert record["response"] == response
    assert done.facts["rows"] == dict.fromkeys(columns, FEW)
    same = ["arena", "chosen", "rejected"]
    assert done.facts["shared_clusters"] == [{"sources": same, "clusters": sum(FEW.values())}]


def test_what_is_dropped_and_what_is_missing_is_counted(
    run_stage: RunStage, tmp_path: Path
) -> None:
    gaps = [row("", "so"), row("Who?", " "), {"context": None, "response": "I."}]
    first = jsonl(tmp_path / "a.jsonl", [ENOUGH[0], *gaps[:2], *ENOUGH[1:30]])
    second = jsonl(tmp_path / "b.jsonl", [*ENOUGH[10:], gaps[2]])
    done = run_stage("conversations", **spec_of(WIDE, one=[first, second]))
    counts = done.facts["rows"]["one"]
    assert sum(counts.values()) == 60  # those in both files once
    missing = {split: number - counts[split] for split, number in WIDE.items()}
    assert done.facts["missing"]["one"] == missing and all(missing.values())
    assert done.facts["dropped"] == {"one": {"rows": 3, "first": [2, 3, 83]}}
    assert "3 rows without context or response dropped [2, 3, 83]\n" in done.stderr
    assert f"one: too few rows, missing are train {missing['train']}, validation" in done.stderr


WRONG = [
    ([], "conversations.sources.one: no row for the train split, 0 rows without"),
    ([row("Who?", "")] * 7, "conversations.sources.one: no row for the train split, 7 rows without"
     " context or response dropped [1, 2, 3, 4, 5]"),
    ([{"context": "Who?", "answer": "I."}], "{path}, line 1: column 'response' is missing, found"
     " ['context', 'answer']"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "reason"), WRONG)
def test_sources_that_give_nothing_are_refused(
    rows: Rows, reason: str, run_stage: RunStage, tmp_path: Path
) -> None:
    path = jsonl(tmp_path / "a.jsonl", rows)
    done = run_stage("conversations", **spec_of(one=[path]))
    assert done.reason.startswith(reason.format(path=path))
