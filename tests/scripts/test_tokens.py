"""Triples as tokens: the documents that all rows at once would give, and what was dropped."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tiny
import tokens as stage
from infuse.core.errors import UserError
from infuse.core.files import write_rows
from infuse.core.schemas import TRIPLES
from infuse.data.encoder import Encoder
from infuse.data.examples import Documents, collect, reasoner_pieces
from infuse.training.training_data import open_documents
from stage_runner import RunStage, job_of
from trees import Tree, again, environment, nodes

SPLITS = ("train", "validation")
MOST = 60
Rows = Sequence[dict[str, Any]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder, as far as this stage looks."""
    folder = tmp_path_factory.mktemp("base")
    tiny.tokenizer().save_pretrained(folder)
    return folder


def row(question: str = "so", reasoning: str = "so it is", domain: str = "all") -> dict[str, Any]:
    return {"question": question, "answer": "yes", "reasoning": reasoning, "domain": domain}


def triples(folder: Path, train: Rows, validation: Rows) -> Path:
    """What the stage of that name leaves."""
    folder.mkdir()
    for split, rows in zip(SPLITS, (train, validation), strict=True):
        write_rows(folder / f"{split}.parquet", rows, TRIPLES)
    return folder


def at_once(rows: Rows) -> tuple[Documents, dict[str, Any]]:
    """The documents of rows that are tokenized together, in memory."""
    texts = ([triple[part] for triple in rows] for part in ("question", "answer", "reasoning"))
    return collect(reasoner_pieces(Encoder(tiny.tokenizer()), *texts), MOST)


TEXTS = st.lists(
    st.sampled_from(["so ", "because", "<|eot_id|>", "日", "\n"]), min_size=1, max_size=12
).map("".join)
ROWS = st.lists(st.builds(row, TEXTS, TEXTS, st.sampled_from(["all", "math"])), max_size=9).map(
    lambda rows: [row(), *rows]
)


@settings(max_examples=25)
@given(train=ROWS, validation=ROWS, batch=st.integers(1, 5))
def test_the_documents_are_those_of_all_rows_at_once(
    base: Path,
    train: Rows,
    validation: Rows,
    batch: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    out = tmp_path_factory.mktemp("tokens")
    asked = {"params": {"max_length": MOST}, "settings": {}}
    triples_folder = triples(out / "triples", train, validation)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stage, "BATCH", batch)
        facts = stage.tokens(job_of("tokens", asked, out, base=base, triples=triples_folder))
    for split, rows in zip(SPLITS, (train, validation), strict=True):
        expected, dropped = at_once(rows)
        documents = open_documents(out, split)
        for field in fields(Documents):
            ours, theirs = getattr(documents, field.name), getattr(expected, field.name)
            assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs), field.name
        assert {name: facts[split][name] for name in facts[split] if name != "dropped"} == {
            "documents": len(expected),
            "tokens": expected.lengths.sum(),
            "supervised_tokens": expected.supervised.sum(),
            "longest": expected.lengths.max(),
        }
        left_out = set(range(len(rows))) - set(expected.rows.tolist())
        assert sum(part["rows"] for part in dropped.values()) == len(left_out)
        dropped_by_domain = {part["domain"]: part["rows"] for part in facts[split]["dropped"]}
        assert dropped_by_domain == Counter(rows[number]["domain"] for number in left_out)


def test_tokens_stay_on_disk_until_they_are_read(built: Tree) -> None:
    tokens = open_documents(nodes(built, "tokens")["scratch"], "train").tokens
    assert isinstance(tokens.base, np.memmap) and not tokens.flags.writeable


def test_threads_change_no_byte(built: Tree) -> None:
    folder = nodes(built, "tokens")["scratch"]
    command = again(built, folder, "two-threads", {"threads": 2})
    subprocess.run(command, cwd=built.root, env=environment(), check=True, capture_output=True)
    for split in SPLITS:
        other = built.root / f"results/two-threads/{split}.tokens"
        assert other.read_bytes() == (folder / f"{split}.tokens").read_bytes()


def test_a_split_without_documents_is_refused(
    base: Path, run_stage: RunStage, tmp_path: Path
) -> None:
    triples_folder = triples(
        tmp_path / "triples", [row()], [row(domain="math"), row(domain="math")]
    )
    params, inputs = {"max_length": 8}, {"base": base, "triples": triples_folder}
    short = run_stage("tokens", params, inputs, {"threads": 1})
    assert short.reason == (
        f"{triples_folder}/train.parquet: no triple is left to learn from, dropped:"
        " [{'reason': 'longer than 8 tokens', 'domain': 'all', 'rows': 1}]"
    )


def test_files_that_do_not_fit_are_named(base: Path, run_stage: RunStage, tmp_path: Path) -> None:
    inputs = {"base": base, "triples": triples(tmp_path / "triples", [row()], [row()])}
    folder = run_stage("tokens", {"max_length": 99}, inputs, {"threads": 1}).output
    file, size = folder / "train.tokens", len(open_documents(folder, "train").tokens) * 4
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(UserError, match=f"train.tokens: expected {size} bytes, found {size - 4}"):
        open_documents(folder, "train")
    file.unlink()
    with pytest.raises(UserError, match=f"train.tokens: expected {size} bytes, found 0"):
        open_documents(folder, "train")
