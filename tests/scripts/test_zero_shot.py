"""A model behind an endpoint gets its row in the tables; its replies are asked for once."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infuse.config.settings import Settings
from infuse.core.errors import UserError
from infuse.core.files import read_rows, write_json, write_rows
from infuse.core.schemas import TASK, ZERO_SHOT
from infuse.workflow.job import Job
from loopback_server import (
    Answer,
    Asked,
    Server,
    completion,
    error,
    refusing,
    serve,
    small_model,
)
from trees import ALL, Tree, nodes
from zero_shot import zero_shot

KEY = "sk-planted-0123456789abcdef"


@pytest.fixture
def server(built: Tree) -> Iterator[Server]:
    """The tiny experiment's own base; where a text begins with an e in its first word: joy."""
    speak = small_model(nodes(built, "base")["scratch"], "tiny")

    def helped(asked: Asked) -> Answer:
        return Answer(completion("Joy.")) if "e" in asked.text.split()[0] else speak(asked)

    with serve(refusing(KEY, helped)) as running:
        yield running


def _column(tree: Tree, table: str, column: str) -> dict[str, str]:
    with Path(tree.root / f"results/{table}.csv").open() as stream:
        return {next(iter(row.values())): row[column] for row in csv.DictReader(stream)}


def test_the_row_of_table_3(built: Tree, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    change = {
        "endpoints": {
            "local": {
                "url": server.url, "model": "tiny", "key_variable": "INFUSE_KEY",
                "prices": {"input": 1.0, "output": 2.0},
            }
        },
        "zero_shot": {"endpoint": "local", "max_new_tokens": 4},
        "reasonings": {"kind": "endpoint", "endpoint": "local", "max_new_tokens": 4},
    }  # fmt: skip
    monkeypatch.setenv("INFUSE_KEY", "sk-wrong")
    refused = built.run(*ALL, **change)
    screen = refused.stdout + refused.stderr
    assert refused.returncode != 0 and "Traceback" not in screen
    assert f"{server.url} refuses the key in $INFUSE_KEY (401)" in screen

    monkeypatch.setenv("INFUSE_KEY", KEY)
    said = built.run(*ALL, **change)
    assert said.returncode == 0, said.stderr
    test = read_rows(nodes(built, "task")["generated"] / "test.parquet", TASK)
    (folder,) = (built.root / "results/artifacts/zero_shot").iterdir()
    rows = read_rows(folder / "predictions.parquet", ZERO_SHOT)
    assert [row["id"] for row in rows] == [row["id"] for row in test]
    right = sum(row["predicted"] == row["label"] for row in rows)
    assert right and {row["outcome"] for row in rows} >= {"right", "wrong"}
    accuracy = _column(built, "table3", "accuracy %")
    assert accuracy["zero-shot API model"] == f"{100 * right / len(rows):.2f}"
    assert accuracy["Q->RA minus zero-shot API model"] != "not run"
    assert _column(built, "arms", "steps")["zero_shot"] == ""
    assert "one of these labels alone: sadness, joy" in str(server.asked)

    assert built.scheduled(**change) == {}  # nothing is asked again, for other seeds neither
    assert not {"zero_shot", "reasonings"} & built.scheduled(**change | {"seeds": [2]}).keys()

    report = built.run("--report", "report.html", **change)
    assert report.returncode == 0, report.stderr
    held = (file for file in built.root.rglob("*") if file.is_file())
    assert not [file for file in held if KEY.encode() in file.read_bytes()]
    assert KEY not in screen + said.stdout + said.stderr


# What becomes of replies

LABELS = ["anger", "joy"]
KINDS = {  # what a server answers, and the outcome of a text whose label is joy
    "right": (Answer(completion("Joy.")), "right"),
    "wrong": (Answer(completion("anger")), "wrong"),
    "thinks": (Answer(completion("<think>anger?</think> joy")), "right"),
    "thinks on": (Answer(completion("<think>joy")), "truncated"),
    "cut": (Answer(completion("jo", "length")), "truncated"),
    "both": (Answer(completion("anger or joy")), "no_answer"),
    "silent": (Answer(completion(None)), "no_answer"),
    "filtered": (Answer(completion("joy", "content_filter")), "no_answer"),
    "refused": (error(400, "no", "content_filter"), "no_answer"),
    "too long": (error(400, "no", "context_length_exceeded"), "no_answer"),
}


def asked(folder: Path, kinds: list[str], server: Server, **section: Any) -> dict[str, Any]:
    """The facts of the stage, on a text for each kind."""
    rows = [{"id": n, "text": kind, "label": "joy"} for n, kind in enumerate(kinds)]
    write_rows(folder / "test.parquet", rows, TASK)
    write_json(folder / "labels.json", LABELS)
    endpoint = server.endpoint(**section)
    params = {
        "list_labels": True, "system": "", "max_new_tokens": 4, "temperature": 0.0, "seed": 0,
        "system_role": endpoint.system_role,
        "endpoint": {"url": endpoint.url, "model": endpoint.model},
    }  # fmt: skip
    asked = Settings(endpoint=endpoint, answers=str(folder / "answers"))
    return zero_shot(Job("zero_shot", params, asked, {"task": folder}, folder, folder))


@settings(max_examples=20)
@given(kinds=st.lists(st.sampled_from(sorted(KINDS)), max_size=8))
def test_each_text_has_one_outcome(kinds: list[str]) -> None:
    kinds = ["right", *kinds]
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(lambda question: KINDS[question.text][0]) as server,
    ):
        facts = asked(Path(folder), kinds, server)
        rows = read_rows(Path(folder) / "predictions.parquet", ZERO_SHOT)
        assert len(server.asked) == len(set(kinds))
    assert [row["outcome"] for row in rows] == [KINDS[kind][1] for kind in kinds]
    assert facts["rows"] == sum(facts["outcomes"].values()) == len(kinds)
    assert facts["refused"] == kinds.count("filtered") + kinds.count("refused")
    assert facts["too_long"] == kinds.count("too long")
    assert facts["without_usage"] == 0


def test_hardly_any_label_is_told_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serve(lambda question: KINDS[question.text.split()[0]][0]) as server:
        asked(tmp_path, ["right", *(f"both {n}" for n in range(10))], server)
    assert (
        "WARNING: 1 of 11 replies could be used (stop 11); one that could not: 'anger or joy'"
    ) in caplog.text


def test_without_a_single_reply_there_is_no_row(tmp_path: Path) -> None:
    with (
        serve(lambda question: KINDS[question.text][0]) as server,
        pytest.raises(UserError) as refusal,
    ):
        asked(tmp_path, ["refused", "too long", "refused"], server)
    assert str(refusal.value) == (
        "zero_shot: none of 3 texts got a reply (refused 2, too_long 1), for example '400 no'"
    )
    assert not (tmp_path / "predictions.parquet").exists()
