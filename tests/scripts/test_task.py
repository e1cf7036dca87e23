"""The task stage: three sources, one form; what can't be learned from is refused in one line."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infuse.core.files import read_labels, write_json
from infuse.core.hashing import fingerprint
from infuse.core.schemas import TASK
from infuse.data.splits import chosen
from infuse.data.texts import folded
from infuse.synthetic import emotions
from stage_runner import RunStage, job_of
from task import SPLITS, task
from trees import ROOT, environment

LABELS = ["anger", "joy", "love"]
PIN = "0" * 40
ROWS = [
    {"text": "I shout", "label": "anger"},
    {"text": "we laugh", "label": "joy"},
    {"text": "Zoë, mein Schatz \N{SPARKLING HEART}", "label": "love"},
]
# All rows, no split is cut, and labels have no order.
WHOLE = {"rows": dict.fromkeys(SPLITS), "split": None, "scale": None}
Rows = Sequence[Mapping[str, Any]]


def write(path: Path, rows: Rows) -> str:
    """A data file of the kind that its name says."""
    path.parent.mkdir(exist_ok=True)
    match path.suffix:
        case ".parquet":
            pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case ".csv":
            with path.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
    return str(path)


def write_noted(path: Path, rows: Rows, names: list[str]) -> str:
    """A parquet file whose notes call the numbers in its label column `names`; its path."""
    import datasets

    kinds = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    datasets.Dataset.from_list([*rows], datasets.Features(kinds)).to_parquet(path)
    return str(path)


def spec_of(
    folder: Path, train: Rows | str = ROWS, suffix: str = ".jsonl", **columns: Any
) -> dict[str, Any]:
    """Params and settings of a task whose train split is given, as rows or as a path."""
    rest = write(folder / f"rest{suffix}", ROWS if isinstance(train, str) else train)
    path = train if isinstance(train, str) else write(folder / f"train{suffix}", train)
    return {
        "params": {
            "source": {"kind": "files", **dict.fromkeys(SPLITS, "a hash")},
            "labels": LABELS,
            "columns": {"text": ["text"], "label": "label", "id": None} | columns,
            **WHOLE,
        },
        "settings": {"splits": {"train": path, "validation": rest, "test": rest}},
    }


# Properties ------------------------------------------------------------------------------------

TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
LABELLED = st.lists(st.tuples(TEXTS, st.integers(0, 2)), max_size=20)


@settings(max_examples=30)
@given(drawn=LABELLED, suffix=st.sampled_from([".parquet", ".jsonl", ".csv"]), named=st.booleans())
def test_every_row_with_a_text_is_kept_as_it_is(
    drawn: list[tuple[str, int]],
    suffix: str,
    named: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("task")
    given = [*drawn, *((row["text"], at) for at, row in enumerate(ROWS))]
    rows = [{"text": text, "label": LABELS[at] if named else at} for text, at in given]
    job = job_of("task", spec_of(folder, rows, suffix), folder)
    facts = task(job)
    kept = pq.read_table(folder / "train.parquet")
    assert kept.schema == TASK
    assert kept.to_pylist() == [
        {"id": number, "text": text, "label": LABELS[at]}
        for number, (text, at) in enumerate(given)
        if text.strip()
    ]
    empty = [number for number, (text, _) in enumerate(drawn, 1) if not text.strip()]
    assert facts["train"]["dropped_empty"] == {"rows": len(empty), "first": empty[:5]}
    assert facts["train"]["rows"] == sum(facts["train"]["labels"].values()) == kept.num_rows


# The three sources -----------------------------------------------------------------------------


def test_the_generator_gives_each_split_texts_of_its_own(run_stage: RunStage) -> None:
    sizes = {"train": 60, "validation": 20, "test": 30}
    done = run_stage(
        "task",
        {"source": {"kind": "generated", "seed": 3, **sizes}, "labels": None, "columns": {}}
        | WHOLE,
    )
    assert json.loads((done.output / "labels.json").read_text()) == [*emotions.LABELS]
    texts = {split: [row["text"] for row in done.rows(f"{split}.parquet")] for split in SPLITS}
    assert {split: len(lines) for split, lines in texts.items()} == sizes
    assert len(set().union(*texts.values())) == sum(sizes.values())
    assert not done.work.exists()


def test_files_are_read_by_the_columns_that_the_config_names(
    run_stage: RunStage, tmp_path: Path
) -> None:
    rows = [
        {"number": str(9 - place), "said": row["text"], "felt": row["label"], "more": "x"}
        for place, row in enumerate(ROWS)
    ]
    for suffix in (".parquet", ".jsonl", ".csv"):
        asked = spec_of(tmp_path, rows, suffix, text=["said"], label="felt", id="number")
        done = run_stage("task", **asked, name=suffix[1:])
        assert done.rows("train.parquet") == [
            {"id": 9 - place, **row} for place, row in enumerate(ROWS)
        ]
        assert done.rows("test.parquet") == done.rows("train.parquet")


def test_a_hub_data_set_gives_its_splits_and_its_class_labels(
    run_stage: RunStage, local_hub: Path
) -> None:
    (local_hub / "data").mkdir()
    for split in SPLITS:
        rows = [{"text": f"{row['text']} {split}", "label": row["label"]} for row in ROWS]
        write_noted(local_hub / f"data/{split}-00000-of-00001.parquet", rows, LABELS)
    source = {"kind": "hub", "id": str(local_hub), "revision": PIN, "config": None}
    source |= {split: split for split in SPLITS}
    params = {"source": source, "labels": None, **WHOLE}
    done = run_stage("task", params | {"columns": {"text": ["text"], "label": "label", "id": None}})
    for split in SPLITS:
        assert done.rows(f"{split}.parquet") == [
            {"id": number, "text": f"{row['text']} {split}", "label": row["label"]}
            for number, row in enumerate(ROWS)
        ]
    assert json.loads((done.output / "labels.json").read_text()) == LABELS
    columns = {"columns": {"text": ["text"], "label": "label"}}
    other = run_stage("task", params | columns | {"labels": LABELS[::-1]}, name="order")
    assert other.reason == (
        "task.labels: expected the order of the data, 0 'anger', 1 'joy', 2 'love'; found"
        f" {LABELS[::-1]}; keep that order, or set null for the data's names"
    )
    wrong = run_stage(
        "task", params | {"columns": {"text": ["said"], "label": "label"}}, name="col"
    )
    assert wrong.reason == f"{local_hub} (train): column 'said' is missing, found ['text', 'label']"
    (local_hub / "none").mkdir()
    source |= {"id": str(local_hub / "none")}
    gone = run_stage(
        "task", params | {"columns": {"text": ["text"], "label": "label"}}, name="gone"
    )
    assert gone.reason.startswith(f"{local_hub}/none (train): can't be loaded (EmptyDatasetError: ")


def test_rows_without_text_are_dropped_counted_and_named(
    run_stage: RunStage, tmp_path: Path
) -> None:
    empty = [{"text": text, "label": "joy"} for text in ("", " \n\t", "\u2003")]
    done = run_stage("task", **spec_of(tmp_path, [ROWS[0], *empty, *ROWS[1:]]))
    assert done.facts["train"] == {
        "rows": 3,
        "labels": {"anger": 1, "joy": 1, "love": 1},
        "dropped_empty": {"rows": 3, "first": [2, 3, 4]},
    }
    assert "task test: train: 3 rows, 3 dropped as empty [2, 3, 4]\n" in done.stderr
    assert [row["id"] for row in done.rows("train.parquet")] == [0, 4, 5]


def test_the_script_itself_publishes_and_refuses(tmp_path: Path) -> None:
    """In a process of its own, as a rule calls it."""
    asked = spec_of(tmp_path)
    spec = {
        "stage": "task", "name": "task t", "key": fingerprint(1), "version": 1, "inputs": {},
        "output": str(tmp_path / "out"), "work": str(tmp_path / "work"), **asked,
    }  # fmt: skip
    for wanted, code in (("train", 0), ("gone", 1)):
        spec["output"] = str(tmp_path / wanted)
        asked["settings"]["splits"]["train"] = str(tmp_path / f"{wanted}.jsonl")
        write_json(tmp_path / "spec.json", spec)
        said = subprocess.run(
            [sys.executable, "scripts/task.py", tmp_path / "spec.json", "--log", tmp_path / "log"],
            cwd=ROOT, env=environment(), text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert said.returncode == code
        assert (tmp_path / wanted).exists() == (code == 0)
    assert said.stderr == f"task t: error: {tmp_path}/gone.jsonl: no such file\n"


# Splits and labels that are found ----------------------------------------------------------------

MANY = st.lists(
    st.tuples(st.text("ab ", max_size=6), st.sampled_from("xyz")), min_size=1, max_size=60
)


@settings(max_examples=150)
@given(drawn=MANY, rows=st.integers(0, 70), leave=st.booleans(), order=st.randoms())
def test_a_choice_is_by_text_and_label_and_not_by_order(
    drawn: list[tuple[str, str]], rows: int, leave: bool, order: random.Random
) -> None:
    texts, labels = [text for text, _ in drawn], [label for _, label in drawn]
    inside = chosen(texts, labels, rows, 7, leave)
    if leave:
        assert sum(inside) <= rows
    else:
        assert sum(inside) <= rows + len(texts) - len({folded(text) for text in texts}) + 3
        assert sum(inside) == len(texts) or rows < len(texts)
    sides: dict[str, set[bool]] = {}
    for text, drew in zip(texts, inside, strict=True):
        sides.setdefault(folded(text), set()).add(drew)
    assert all(len(side) == 1 for side in sides.values())
    moved = order.sample(range(len(drawn)), len(drawn))
    again = chosen([texts[at] for at in moved], [labels[at] for at in moved], rows, 7, leave)
    assert again == [inside[at] for at in moved]


@settings(max_examples=60)
@given(counts=st.lists(st.integers(2, 40), min_size=2, max_size=6), share=st.floats(0.05, 0.6))
def test_each_label_gets_its_share_of_different_texts(counts: list[int], share: float) -> None:
    labels = [str(label) for label, count in enumerate(counts) for _ in range(count)]
    rows = round(share * len(labels))
    texts = [f"text {number}" for number in range(len(labels))]
    for leave in (True, False):
        inside = chosen(texts, labels, rows, 1, leave)
        for label, count in enumerate(counts):
            drew = sum(d for d, name in zip(inside, labels, strict=True) if name == str(label))
            assert abs(drew - rows * count / len(labels)) <= 1
            assert drew < count if leave else drew > 0


@pytest.mark.parametrize("leave", [True, False])
def test_of_more_labels_than_rows_the_seed_draws(leave: bool) -> None:
    labels = [f"l{number % 50:02}" for number in range(200)]
    texts = [f"text {number}" for number in range(200)]
    drawn: Counter[str] = Counter()
    for seed in range(50):
        inside = chosen(texts, labels, 70, seed, leave)
        rows = Counter(label for label, drew in zip(labels, inside, strict=True) if drew)
        assert sorted(rows.values()) == [1] * 30 + [2] * 20
        drawn.update(label for label, count in rows.items() if count == 2)
    assert len(drawn) == 50 and max(drawn.values()) < 40


CUT = {"validation": 0.2, "test": 0.25, "seed": 3}


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([10, 9, 2], ["2", "9", "10"]),
        (["10", "9", "2"], ["2", "9", "10"]),
        (["b", "A", "c"], ["A", "b", "c"]),
        ([True, False, True], ["False", "True"]),
        ([1.0, 2.0, 3.0], ["1", "2", "3"]),
    ],
)
def test_labels_and_splits_that_nobody_named_are_found(
    values: list[Any], labels: list[str], run_stage: RunStage, tmp_path: Path
) -> None:
    rows = [{"text": f"text {n}", "label": values[n % 3], "why": f"since {n}"} for n in range(60)]
    asked = spec_of(tmp_path, rows, reasoning="why")
    asked["params"] |= {"labels": None, "split": CUT}
    asked["params"]["source"] |= {"validation": None, "test": None}
    asked["settings"]["splits"] |= {"validation": None, "test": None}
    done = run_stage("task", **asked)
    assert json.loads((done.output / "labels.json").read_text()) == labels
    parts = {split: done.rows(f"{split}.parquet") for split in SPLITS}
    assert {split: len(part) for split, part in parts.items()} == {
        "train": 33, "validation": 12, "test": 15,
    }  # fmt: skip
    kept = sorted((row for part in parts.values() for row in part), key=lambda row: row["id"])
    assert [(row["id"], row["text"], row["reasoning"]) for row in kept] == [
        (n, f"text {n}", f"since {n}") for n in range(60)
    ]
    fewer = asked | {"params": asked["params"] | {"rows": {**WHOLE["rows"], "train": 9}}}
    assert len(run_stage("task", **fewer, name="fewer").rows("train.parquet")) == 9


def test_a_column_of_too_many_labels_is_refused(run_stage: RunStage, tmp_path: Path) -> None:
    asked = spec_of(tmp_path, [{"text": f"text {n}", "label": n} for n in range(400)])
    asked["params"]["labels"] = None
    assert run_stage("task", **asked).reason == (
        "task, train split: expected 2 to 200 different labels, found 400 ('0', '1', '2', ...);"
        " is task.columns.label the right column?"
    )


def noted(
    folder: Path, labels: Sequence[str | int], names: list[str], declared: list[str] | None
) -> dict[str, Any]:
    """The spec of a task whose splits are all one file, with `names` in its notes."""
    rows = [{"text": f"text {n}", "label": label} for n, label in enumerate(labels)]
    path = write_noted(folder / "train.parquet", rows, names)
    asked = spec_of(folder, path)
    asked["settings"]["splits"] = dict.fromkeys(SPLITS, path)
    asked["params"]["labels"] = declared
    return asked


@pytest.mark.parametrize("declared", [None, ["1", "2", "3"]])
def test_places_are_not_taken_for_names_that_are_numbers(
    declared: list[str] | None, run_stage: RunStage, tmp_path: Path
) -> None:
    labels = [str(n % 3 + 1) for n in range(30)]
    done = run_stage("task", **noted(tmp_path, labels, ["1", "2", "3"], declared))
    assert [row["label"] for row in done.rows("train.parquet")] == labels


@pytest.mark.parametrize(
    ("declared", "moved"),
    [
        (["Anger", "Fear", "Very Low"], True),
        (["Fear", "Very_Low", "Anger"], False),
        (["very-low", "anger"], True),
        (["fear", "very low"], False),
        (["angst", "flau", "wut"], False),
    ],
)
def test_places_mean_what_the_data_call_them_however_the_names_are_written(
    declared: list[str], moved: bool, run_stage: RunStage, tmp_path: Path
) -> None:
    labels = [n % len(declared) for n in range(30)]
    names = ["fear", "very low", "anger"]
    done = run_stage("task", **noted(tmp_path, labels, names, declared))
    if moved:
        assert done.reason == (
            "task.labels: expected the order of the data, 0 'fear', 1 'very low', 2 'anger'; found"
            f" {declared}; keep that order, or set null for the data's names"
        )
    else:
        named = [row["label"] for row in done.rows("train.parquet")]
        assert named == [declared[label] for label in labels]


def test_declared_names_that_are_numbers_are_no_places(run_stage: RunStage, tmp_path: Path) -> None:
    asked = spec_of(tmp_path, [{"text": f"text {n}", "label": n % 4} for n in range(40)])
    asked["params"]["labels"] = ["1", "2", "3"]
    assert run_stage("task", **asked).reason == (
        f"{tmp_path / 'train.jsonl'}, row 1: unknown label 0, expected one of 1, 2, 3"
    )


NAMED = [{"text": f"text {n}", "label": ("caf\u00e9", "th\u00e9")[n % 2]} for n in range(40)]


def test_numbers_below_0_are_in_their_order(run_stage: RunStage, tmp_path: Path) -> None:
    rows = [{"text": f"text {at}", "label": at % 12 - 3} for at in range(48)]
    asked = spec_of(tmp_path, rows)
    asked["params"]["labels"] = None
    outcome = run_stage("task", **asked)
    assert read_labels(outcome.output) == [str(number) for number in range(-3, 9)]


def test_labels_that_look_alike_are_refused_with_their_code_points(
    run_stage: RunStage, tmp_path: Path
) -> None:
    asked = spec_of(tmp_path, [*NAMED, {"text": "so", "label": "cafe\u0301"}])
    asked["params"]["labels"] = None
    assert run_stage("task", **asked).reason == (
        f"{tmp_path}/train.jsonl: labels that look alike:"
        " 'caf\\xe9' (row 1), 'cafe\\u0301' (row 41)"
    )


STRANGE = [
    ([{"text": "so", "label": "cafe\u0301"}], "1",
     "'cafe\u0301' ('cafe\\u0301' looks like 'caf\\xe9')"),
    ([NAMED[0], {"text": "so", "label": "joy"}], "2", "'joy'"),
    ([{"text": row["label"], "label": row["text"]} for row in NAMED], "1",
     "'text 0', 'text 1', 'text 2', 'text 3', 'text 4', 'text 5', 'text 6', 'text 7' and 32 more;"
     " its texts are labels of train: have the columns of text and label changed places?"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "row", "said"), STRANGE)
def test_labels_that_no_training_text_has_are_refused(
    rows: Rows, row: str, said: str, run_stage: RunStage, tmp_path: Path
) -> None:
    asked = spec_of(tmp_path, NAMED)
    asked["params"]["labels"] = None
    asked["settings"]["splits"]["test"] = path = write(tmp_path / "test.jsonl", rows)
    assert run_stage("task", **asked).reason == (
        f"{path}, row {row}: label(s) that no training text has: {said}"
    )


def test_files_whose_notes_give_the_labels_other_names_are_refused(
    run_stage: RunStage, tmp_path: Path
) -> None:
    """Else the places of one would be names of the other."""
    paths = {}
    for split, names in (("train", ["neg", "pos"]), ("test", ["pos", "neg"])):
        rows = [{"text": f"{split} {n}", "label": n % 2} for n in range(8)]
        paths[split] = write_noted(tmp_path / f"{split}.parquet", rows, names)
    asked = spec_of(tmp_path, paths["train"])
    asked["params"]["labels"] = None
    asked["settings"]["splits"] |= {"validation": paths["train"], "test": paths["test"]}
    assert run_stage("task", **asked).reason == (
        f"{paths['test']}: its notes give the labels the names ['pos', 'neg'],"
        " those of train ['neg', 'pos']"
    )


def test_labels_with_one_row_or_none_are_named(run_stage: RunStage, tmp_path: Path) -> None:
    asked = spec_of(tmp_path, [*ROWS, *ROWS, {"text": "so", "label": "calm"}])
    asked["params"]["labels"] = [*LABELS, "calm"]
    asked["settings"]["splits"]["test"] = write(tmp_path / "test.jsonl", ROWS[:2] * 2)
    said = run_stage("task", **asked).stderr
    assert "train: a single row has the label(s) calm\n" in said
    assert "test: no row has the label(s) love, calm\n" in said


def test_texts_that_stand_on_two_sides_are_told(run_stage: RunStage, tmp_path: Path) -> None:
    done = run_stage("task", **spec_of(tmp_path))
    assert done.facts["test"]["also_in_train"] == 3
    assert "test: 3 texts stand in train too" in done.stderr


# Broken input: what users will not meet every day; docs/mistakes.md has the rest ----------------

ONE_OF = "expected one of anger, joy, love"
# name, columns of the config, the train split's rows, the reason
WRONG_ROWS: list[tuple[str, dict[str, str], list[dict[str, Any]], str]] = [
    ("a negative number", {}, [{"text": "so", "label": -1}],
     "{path}, row 1: unknown label -1, " + ONE_OF
     + " (-1 often marks rows whose label is not published)"),
    ("a switch as label", {}, [{"text": "so", "label": True}],
     "{path}, row 1: unknown label True, " + ONE_OF),
    ("no number as label", {}, [{"text": "so", "label": float("nan")}],
     "{path}, row 1: expected a label, found nan"),
    ("a fraction as label", {}, [{"text": "so", "label": 1.5}],
     "{path}, row 1: unknown label 1.5, " + ONE_OF),
    ("an id twice", {"id": "id"}, [{"id": 5, **ROWS[0]}, {"id": "5", **ROWS[1]}],
     "{path}, row 2: the id 5 occurs twice"),
    ("a fraction as id", {"id": "id"}, [{"id": 1.5, **ROWS[0]}],
     "{path}, row 1: expected a whole number as id, found 1.5"),
    ("a switch as id", {"id": "id"}, [{"id": True, **ROWS[0]}],
     "{path}, row 1: expected a whole number as id, found True"),
    ("a raised digit as id", {"id": "id"}, [{"id": "\u00b2", **ROWS[0]}],
     "{path}, row 1: expected a whole number as id, found '\u00b2'"),
    ("no id", {"id": "id"}, [{"id": None, **ROWS[0]}],
     "{path}, row 1: expected a whole number as id, found None"),
    ("an id beyond 64 bits", {"id": "id"}, [{"id": 2**63, **ROWS[0]}],
     "{path}, row 1: expected a whole number as id, found 9223372036854775808"),
    ("half a character as text", {}, [*ROWS, {"text": "\ud800", "label": "joy"}],
     "{path}, line 4: not JSON ('utf-8' codec can't encode character '\\ud800' in position 10:"
     " surrogates not allowed)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "rows", "reason"),
    [case[1:] for case in WRONG_ROWS],
    ids=[case[0] for case in WRONG_ROWS],
)
def test_wrong_rows_are_refused(
    columns: dict[str, str], rows: Rows, reason: str, run_stage: RunStage, tmp_path: Path
) -> None:
    done = run_stage("task", **spec_of(tmp_path, rows, **columns))
    assert done.reason == reason.format(path=tmp_path / "train.jsonl")


HEAD = b"text,label\n"
# name, the file's name, its bytes (None: there is no file), how the reason begins
WRONG_FILES: list[tuple[str, str, bytes | None, str]] = [
    ("no file", "no.csv", None, "{path}: no such file"),
    ("no suffix", "a", b"", "{path}: expected a file that ends in .parquet, .jsonl, .csv"),
    ("an empty jsonl", "a.jsonl", b"", "task, train split: no rows"),
    ("an empty parquet", "a.parquet", b"", "{path}: not a readable file ("),
    ("a csv that is not UTF-8", "a.csv", HEAD + b"so,joy\n" * 9999 + b"caf\xe9 au lait,joy\n",
     "{path}: not valid UTF-8 (invalid continuation byte:"
     " b'oy\\nso,joy\\nso,joy\\ncaf\\xe9 au lait,j')"),
    ("a jsonl that is not UTF-8", "a.jsonl", b'{"text": "caf\xe9", "label": "joy"}\n',
     "{path}: not valid UTF-8 (invalid continuation byte: b'{{\"text\": \"caf\\xe9"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [case[1:] for case in WRONG_FILES],
    ids=[case[0] for case in WRONG_FILES],
)
def test_wrong_files_are_refused(
    file: str, content: bytes | None, reason: str, run_stage: RunStage, tmp_path: Path
) -> None:
    path = tmp_path / file
    if content is not None:
        path.write_bytes(content)
    done = run_stage("task", **spec_of(tmp_path, str(path)))
    assert done.reason.startswith(reason.format(path=path))


def test_a_folder_in_place_of_a_file_is_refused(run_stage: RunStage, tmp_path: Path) -> None:
    for suffix in (".csv", ".jsonl", ".parquet"):
        folder = tmp_path / f"folder{suffix}"
        folder.mkdir()
        done = run_stage("task", **spec_of(tmp_path, str(folder)), name=suffix[1:])
        assert done.reason.startswith(f"{folder}: not a readable file (")


@pytest.mark.parametrize("cut", [4, 200, -9])
def test_a_parquet_file_that_was_cut_is_refused(
    cut: int, run_stage: RunStage, tmp_path: Path
) -> None:
    path = Path(write(tmp_path / "cut.parquet", ROWS * 40))
    path.write_bytes(path.read_bytes()[:cut])
    done = run_stage("task", **spec_of(tmp_path, str(path)))
    assert done.reason.startswith(f"{path}: not a readable file (")


def test_a_parquet_file_with_damage_inside_is_refused(run_stage: RunStage, tmp_path: Path) -> None:
    path = Path(write(tmp_path / "damaged.parquet", ROWS * 400))
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 60 + content[64:])
    done = run_stage("task", **spec_of(tmp_path, str(path)))
    assert done.reason.startswith(f"{path}: not a readable file (")


def test_bytes_in_a_text_column_are_refused(run_stage: RunStage, tmp_path: Path) -> None:
    rows = [{"text": b"so", "label": "joy"}]
    done = run_stage("task", **spec_of(tmp_path, rows, ".parquet"))
    assert done.reason == (
        f"{tmp_path}/train.parquet, row 1: column 'text': expected text, found bytes b'so'"
    )


def test_state_of_another_key_is_refused_and_kept(run_stage: RunStage, tmp_path: Path) -> None:
    gone = run_stage("task", **spec_of(tmp_path, str(tmp_path / "train.jsonl")))
    assert gone.reason.endswith("no such file")
    owner = gone.work / "spec.json"
    key = json.loads(owner.read_text())["key"]
    write_json(owner, {"key": "another"})
    (gone.work / "state").touch()
    done = run_stage("task", **spec_of(tmp_path))
    folder = f"{gone.work}: holds state of key another, not {key}; move the folder elsewhere"
    assert done.reason == folder
    assert (gone.work / "state").exists()


RATINGS = [
    {
        "context": f"context {at // 3}",
        "response": f"reply {at}",
        "rating": 1 + at % 9 / 2,
        "of": "a",
    }
    for at in range(90)
]


def rated(folder: Path, rows: Rows, **columns: str | None) -> dict[str, Any]:
    """Params and settings of a task with a scale, whose splits are all cut from one file."""
    path = write(folder / "ratings.jsonl", rows)
    return {
        "params": {
            "source": {"kind": "files", "train": "a hash", "validation": None, "test": None},
            "labels": None,
            "columns": {"text": ["context", "response"], "label": "rating", "source": "of"}
            | {"cluster": "context"}
            | columns,
            "rows": dict.fromkeys(SPLITS),
            "split": {"validation": 0.2, "test": 0.3, "seed": 0},
            "scale": {"low": 1, "high": 5},
        },
        "settings": {"splits": {"train": path, "validation": None, "test": None}},
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"of": "A"}, "task: names of a source that look alike: 'A', 'a'"),
        ({"of": float("nan")}, "{path}, row 3: expected a source, found nan"),
        ({"context": None}, "{path}, row 3: expected a cluster, found None"),
        ({"rating": True}, "{path}, row 3: expected a rating of 1-5 (task.scale), found True"),
    ],
)
def test_settings_are_read_as_labels_are(
    change: dict[str, Any], said: str, run_stage: RunStage, tmp_path: Path
) -> None:
    rows = [row | (change if at == 2 else {}) for at, row in enumerate(RATINGS)]
    reason = run_stage("task", **rated(tmp_path, rows)).reason
    same = sorted(reason.split("alike: ")[-1].split(", ")) == ["'A'", "'a'"]
    assert reason == said.format(path=tmp_path / "ratings.jsonl") or same


def test_ratings_become_labels_half_up_and_no_context_is_parted(
    tmp_path: Path, run_stage: RunStage
) -> None:
    done = run_stage("task", **rated(tmp_path, RATINGS))
    splits = {split: done.rows(f"{split}.parquet") for split in SPLITS}
    assert json.loads((done.output / "labels.json").read_text()) == list("12345")
    sides = {row["cluster"]: split for split, rows in splits.items() for row in rows}
    for split, rows in splits.items():
        assert {sides[row["cluster"]] for row in rows} == {split}
        for row in rows:
            own = RATINGS[row["id"]]
            assert row["text"] == f"context: {own['context']}\nresponse: {own['response']}"
            assert (row["rating"], row["source"], row["dimension"]) == (own["rating"], "a", "")
            assert row["label"] == str(int(own["rating"] + 0.5))
    assert sum(map(len, splits.values())) == 90 and len(splits["test"]) in range(21, 28)


def test_all_labels_of_a_scale_are_known_though_no_row_has_them(
    tmp_path: Path, run_stage: RunStage
) -> None:
    rows = [row | {"rating": 4 + at % 2} for at, row in enumerate(RATINGS)]
    done = run_stage("task", **rated(tmp_path, rows))
    assert json.loads((done.output / "labels.json").read_text()) == list("12345")


@pytest.mark.parametrize(
    ("change", "columns", "said"),
    [
        ({"rating": 5.5}, {}, "expected a rating of 1-5 (task.scale), found 5.5"),
        ({"rating": "good"}, {}, "expected a rating of 1-5 (task.scale), found 'good'"),
        ({"rating": None}, {}, "expected a rating of 1-5 (task.scale), found None"),
        (
            {"on": "1-3"}, {"scale": "on"},
            "a rating on the scale 1-3, expected 1-5 (task.scale)",
        ),
        ({"context": 7}, {}, "expected a text, found 7"),
        ({"of": None}, {}, "expected a source, found None"),
        ({"talk": " "}, {"cluster": "talk"}, "expected a cluster, found ' '"),
    ],
)  # fmt: skip
def test_a_rating_that_is_not_of_the_scale_is_refused(
    tmp_path: Path, run_stage: RunStage, change: dict[str, Any], columns: dict[str, str], said: str
) -> None:
    rows = [{"on": "1 - 5", "talk": "x"} | row for row in RATINGS]
    rows[4] |= change
    done = run_stage("task", **rated(tmp_path, rows, **columns))
    assert done.reason == f"{tmp_path / 'ratings.jsonl'}, row 5: {said}"


def test_a_context_on_two_sides_is_refused(tmp_path: Path, run_stage: RunStage) -> None:
    spec = rated(tmp_path, RATINGS)
    files = spec["settings"]["splits"]
    files |= {"validation": files["train"], "test": write(tmp_path / "test.jsonl", RATINGS)}
    spec["params"]["source"] |= {"validation": "a hash", "test": "a hash"}
    said = run_stage("task", **spec).reason
    assert said.startswith("task, validation split: the cluster 'context ")
    assert said.endswith(" stands in train too; leave the split to be cut from train")
