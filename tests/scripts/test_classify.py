"""New texts through the command line: one JSON line for each, and the same answers as in tables."""

from __future__ import annotations

import io
import json
import subprocess
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

import warm
from classify import _texts
from infuse.core.errors import UserError
from infuse.core.files import read_labels, read_rows
from infuse.core.schemas import PREDICTIONS
from infuse.data.encoder import Encoder
from infuse.inference.form import Form
from infuse.models import loading
from trees import Tree, environment, nodes


def classify(
    tree: Tree, arm: str, *arguments: str, lines: bytes = b"", **locale: str
) -> subprocess.CompletedProcess[bytes]:
    model = str(nodes(tree, "classifier")[f"{arm}-seed1"].relative_to(tree.root))
    return subprocess.run(
        [warm.python(), "scripts/classify.py", "--model", model, *arguments],
        cwd=tree.root, env=environment() | locale,
        input=lines, capture_output=True, check=False,
    )  # fmt: skip


def answers(said: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    assert said.returncode == 0, said.stderr
    return [json.loads(line) for line in said.stdout.decode().splitlines()]


@pytest.mark.parametrize("arm", ["label", "reason_label"])
def test_whoever_renders_a_text_asks_as_it_was_trained(built: Tree, arm: str) -> None:
    folder = nodes(built, "classifier")[f"{arm}-seed1"]
    form = Form.load(folder)
    (prompt,) = Encoder(loading.load_tokenizer(folder), **form.chat).chats(["so be it"])
    asked = [{"role": "user", "content": "so be it"}]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rendered = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
    assert rendered == prompt


@pytest.mark.parametrize("arm", ["label", "reason_label"])
def test_the_answers_are_those_of_the_tables(built: Tree, arm: str, tmp_path: Path) -> None:
    folder = nodes(built, "predictions")[f"{arm}-seed1"]
    rows = read_rows(folder / "predictions.parquet", PREDICTIONS)
    labels = read_labels(nodes(built, "task")["generated"])
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"said": row["text"]}) + "\n" for row in rows))
    said = classify(built, arm, "--file", str(file), "--column", "said", "--max-new-tokens", "24")
    for row, answer in zip(rows, answers(said), strict=True):
        assert answer["text"] == row["text"]
        assert answer["label"] == (row["predicted"] or None)
        assert answer["reasoning"] == row["reasoning"]
        judged = {"right": "answered", "wrong": "answered"}
        assert answer["outcome"] == judged.get(row["outcome"], row["outcome"])
        scores = np.array(row["log_probabilities"])
        assert list(answer["probabilities"]) == labels
        assert list(answer["probabilities"].values()) == pytest.approx(
            np.exp(scores - np.logaddexp.reduce(scores)), abs=1e-4
        )


def test_lines_of_standard_input_and_texts_that_cannot_be_asked(built: Tree) -> None:
    lines = ["so\u00e9 glad", "", "  ", "word " * 300, "the end"]
    short = ("--max-new-tokens", "2")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0"}
    said = classify(built, "label", *short, lines="\r\n".join(lines).encode(), **plain)
    predictions = answers(said)
    assert [answer["text"] for answer in predictions] == lines
    outcomes = [answer["outcome"] for answer in predictions]
    assert outcomes[1:4] == ["no_text", "no_text", "too_long"]
    for answer in predictions[1:4]:
        assert answer["label"] is None and answer["probabilities"] is None
    assert sum(predictions[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    by_argument = classify(built, "label", *short, lines[0], lines[4], **plain)
    for prediction, other in zip(
        answers(by_argument), (predictions[0], predictions[4]), strict=True
    ):
        assert prediction["label"] == other["label"]
        assert prediction["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)


def texts_of(folder: Path, columns: list[str], **given: Any) -> list[str]:
    """The texts that a classifier is asked, which learned from texts of such columns."""
    Form(["joy", "fear"], "label", None, {}, columns).save(folder)
    nothing: dict[str, Any] = {"texts": [], "file": None, "column": None}
    return list(_texts(Namespace(model=folder, **nothing | given)))


def test_a_text_of_several_columns_is_put_together_as_it_was_learned(tmp_path: Path) -> None:
    file = tmp_path / "new.csv"
    file.write_text("talk,reply\nhow so, because\n,yes\n")
    wanted = ["context: how so\nresponse: because", "response: yes"]
    learned = ["context", "response"]
    assert texts_of(tmp_path, learned, file=str(file), column=["talk", "reply"]) == wanted
    file.write_text(file.read_text().replace("talk,reply", "context,response"))
    assert texts_of(tmp_path, learned, file=str(file)) == wanted
    for refused in ({}, {"file": str(file), "column": ["response"]}):
        with pytest.raises(UserError, match="context, response"):
            texts_of(tmp_path, learned, **refused)
    with pytest.raises(UserError, match="--column: expected 1"):
        texts_of(tmp_path, [], file=str(file), column=learned)


def test_a_byte_order_mark_is_no_part_of_the_first_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\ufeffso\r\n\ufeffand so\n"))
    assert texts_of(tmp_path, []) == ["so", "\ufeffand so"]
