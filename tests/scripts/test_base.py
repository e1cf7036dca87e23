"""The scratch base: a model folder that transformers loads, pre-trained on training texts alone."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from base import _tell_of_answers, _texts
from infuse.config.settings import Settings
from infuse.core.errors import UserError
from infuse.core.files import write_rows
from infuse.core.schemas import TASK, TRIPLES
from infuse.workflow.job import Job
from trees import Tree, nodes

CUT = gzip.compress(b"a line\n" * 999, mtime=0)[:-12]


def test_the_folder_loads_and_chats(built: Tree) -> None:
    folder = nodes(built, "base")["scratch"]
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
    chat = tokenizer.apply_chat_template(
        [{"role": "user", "content": "a text"}], tokenize=False, add_generation_prompt=True
    )
    assert chat.startswith("<|begin_of_text|><|start_header_id|>user<|end_header_id|>")
    assert chat.endswith("<|start_header_id|>assistant<|end_header_id|>\n\n")


def test_labels_and_roles_are_whole_tokens(built: Tree) -> None:
    """Else a label is spelt, and a small model learns to spell before it learns to choose."""
    tokenizer = AutoTokenizer.from_pretrained(nodes(built, "base")["scratch"])
    for word in ("user", "assistant", "joy", "sadness"):
        assert len(tokenizer.encode(word, add_special_tokens=False)) == 1


def test_pretraining_lowers_the_loss(built: Tree) -> None:
    folder = nodes(built, "base")["scratch"]
    losses = [step["loss"] for step in json.loads((folder / "history.json").read_text())["steps"]]
    facts = json.loads((folder / "provenance.json").read_text())["facts"]
    assert facts["steps"] == len(losses)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.txt", b"caf\xe9 au lait"), ("a.txt.gz", b"no gzip"), ("b.txt.gz", CUT)],
)
def test_a_damaged_corpus_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}: not readable as text \("):
        list(_texts(str(tmp_path / name)))


def test_test_texts_among_the_triples_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = ["How so?", "Why?"]
    triples = [
        {"question": f" {text} ", "answer": "yes", "reasoning": "So.", "domain": "d"}
        for text in asked
    ]
    for folder in ("task", "triples"):
        (tmp_path / folder).mkdir()
    write_rows(tmp_path / "triples/train.parquet", triples, TRIPLES)
    for split, texts in (("validation", ["When?"]), ("test", ["WHY?", "Where?"])):
        rows = [{"id": n, "text": text, "label": "yes"} for n, text in enumerate(texts)]
        write_rows(tmp_path / f"task/{split}.parquet", rows, TASK)
    inputs, task = {"triples": tmp_path / "triples"}, {"task": tmp_path / "task"}
    _tell_of_answers(Job("base", {}, Settings(), inputs, tmp_path, tmp_path, task))
    (told,) = caplog.messages
    assert told.startswith("1 of 2 test texts are questions of the triples too")
