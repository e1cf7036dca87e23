"""A model behind an endpoint gets its row in the tables; its replies are asked for once."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from infuse.core.files import read_rows
from infuse.core.schemas import TASK, ZERO_SHOT
from loopback_server import Answer, Asked, Server, completion, refusing, serve, small_model
from trees import ALL, Tree, nodes

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

    asked = len(server.asked)
    again = built.run("results/table3.csv", **change | {"seeds": [2]})
    assert again.returncode == 0, again.stderr
    assert len(server.asked) == asked

    report = built.run("--report", "report.html", **change | {"seeds": [2]})
    assert report.returncode == 0, report.stderr
    held = (file for file in built.root.rglob("*") if file.is_file())
    assert not [file for file in held if KEY.encode() in file.read_bytes()]
    assert KEY not in screen + said.stdout + said.stderr
