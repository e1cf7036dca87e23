"""Commits are looked up once, kept, and all of a run is made of them; after `fetch`, offline."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from httpx2 import Request, Response
from huggingface_hub.errors import RemoteEntryNotFoundError, RepositoryNotFoundError
from hypothesis import given
from hypothesis import strategies as st

import tiny
from infuse.config import experiment, revisions
from infuse.core.errors import UserError
from infuse.core.hub_errors import complaint
from infuse.models import loading
from infuse.synthetic import emotions
from infuse.workflow import plan
from loopback_hub import STRANGER, TOKEN, Hub, Repository, serve
from trees import ROOT, Tree, copied, environment

COLUMNS = {"text": "text", "label": "label", "reasoning": "reasoning"}
PAGE = (ROOT / "docs/hub.md").read_text()

# Which revisions are filled in ------------------------------------------------------------------

PINS = st.one_of(st.none(), st.text("0123456789abcdef", min_size=40, max_size=40))
PLACES = {
    "base.": "models", "task.source.": "datasets", "triples.source.": "datasets",
    "reasonings.": "datasets", "other_reasonings.more.": "datasets",
}  # fmt: skip


def hubs(pins: Mapping[str, str | None]) -> experiment.Experiment:
    """An experiment that has all from the hub; each place is named like its repository."""
    part = {
        where: {"kind": "hub", "id": f"them/{where}x", "revision": pin}
        for where, pin in pins.items()
    }
    return experiment.load(
        {
            "task": {"source": part["task.source."]},
            "triples": {"source": part["triples.source."]},
            "base": part["base."],
            "reasonings": part["reasonings."] | {"columns": COLUMNS},
            "other_reasonings": {"more": part["other_reasonings.more."] | {"columns": COLUMNS}},
            "regimes": None,
            "controls": [],
        }
    )


@given(pins=st.fixed_dictionaries(dict.fromkeys(PLACES, PINS)))
def test_those_that_are_open_are_filled_and_nothing_else(pins: dict[str, str | None]) -> None:
    asked: dict[str, tuple[str, str]] = {}

    def look(where: str, kind: str, name: str) -> str:
        asked[where] = kind, name
        return "f" * 40

    filled = revisions.filled(hubs(pins), look)
    is_open = [where for where, pin in pins.items() if pin is None]
    assert asked == {where: (PLACES[where], f"them/{where}x") for where in is_open}
    assert filled == hubs(pins | dict.fromkeys(is_open, "f" * 40))


def test_what_is_fetched_is_what_the_hub_has() -> None:
    """A scratch base is trained: that is not fetching."""
    stages = ("task", "triples", "base", "reasonings")
    everything = plan.build(hubs(dict.fromkeys(PLACES, "f" * 40)))
    assert [node.stage for node in everything.fetched] == ["task", "base", "reasonings"]
    tiny = experiment.merge(
        yaml.safe_load((ROOT / "tests/tiny.yaml").read_text()), {"controls": []}
    )
    assert [node.stage for node in plan.build(experiment.load(tiny)).fetched] == list(stages[:2])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("models: [", "line 1: not YAML ("),
        ("- them/tiny", "expected a mapping, found ['them/tiny']"),
        ("modles: {}", "modles: unknown key, did you mean 'models'?"),
        ("datasets: {them/tiny: main}", "datasets.'them/tiny': expected a full commit hash"),
    ],
)
def test_a_damaged_lock_is_told_in_one_line(content: str, said: str, tmp_path: Path) -> None:
    lock = tmp_path / "revisions.yaml"
    lock.write_text(content)
    with pytest.raises(UserError) as refusal:
        revisions.pinned(experiment.load({}), lock)
    head, line = str(refusal.value).split("\n")
    assert head == "1 error(s) in the config:" and said in line
    assert lock.read_text() == content


def test_a_lock_that_can_not_be_written_is_told_with_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revisions, "_head", lambda *_: "f" * 40)
    (tmp_path / "file").touch()
    with pytest.raises(UserError) as refusal:
        revisions.pinned(
            hubs({"base.": None} | dict.fromkeys(list(PLACES)[1:], "0" * 40)),
            tmp_path / "file/revisions.yaml",
        )
    said = str(refusal.value)
    assert "can't be written (" in said and f"set each `revision` (them/base.x {'f' * 40})" in said


# The whole way ----------------------------------------------------------------------------------

HUB_CONFIG: dict[str, Any] = {
    "task": {
        "source": {"kind": "hub", "id": "them/texts"}, "rows": {"train": 48, "test": 16},
    },
    "triples": {"source": {"kind": "hub", "id": "them/triples"}},
    "base": {"kind": "hub", "id": "them/tiny", "pad_token": "<|end_of_text|>"},
    "arms": {"reason_label": {"target": "reason_label"}},
}  # fmt: skip


def parquet(rows: list[dict[str, Any]]) -> bytes:
    """The bytes of a table."""
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a model so small that it knows nothing."""
    texts = emotions.texts(96, 1)
    tokenizer = loading.scratch_tokenizer([text.text for text in texts], 400)
    tokenizer.pad_token = None
    small = tiny.architecture(layers=1, heads=2, key_value_heads=1, positions=256)
    model_folder = tmp_path_factory.mktemp("model")
    loading.save(loading.scratch_model(small, tokenizer), tokenizer, model_folder)
    return {file.name: file.read_bytes() for file in model_folder.iterdir()}


def fill(hub: Hub, folder: Mapping[str, bytes]) -> dict[str, dict[str, str]]:
    """Put a model, texts and triples on the hub, and give their commits."""
    texts = [{"text": line.text, "label": line.label} for line in emotions.texts(96, 1)]
    parts = {"train": texts[:64], "validation": texts[64:80], "test": texts[80:]}
    files = {f"data/{split}-0.parquet": parquet(rows) for split, rows in parts.items()}
    triples = parquet([asdict(triple) for triple in emotions.triples(60, 1)])
    return {
        "datasets": {
            "them/texts": hub.commit("datasets", "them/texts", files),
            "them/triples": hub.commit("datasets", "them/triples", {"train.parquet": triples}),
        },
        "models": {"them/tiny": hub.commit("models", "them/tiny", folder)},
    }


@pytest.fixture(scope="module")
def served(
    folder: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Hub, dict[str, dict[str, str]], Tree]]:
    """A hub with what an experiment needs, the commits, and a tree whose hub it is."""
    with serve() as hub:
        place = tmp_path_factory.mktemp("hub")
        commits = fill(hub, folder)
        yield hub, commits, Tree(copied(place / "tree"), hub.variables(place / "caches"))


def test_a_pinned_revision_that_can_not_be_had(
    served: tuple[Hub, Any, Tree], folder: dict[str, bytes]
) -> None:
    """Each stage says it in a line of its own."""
    hub, _, tree = served
    zeros = {"revision": "0" * 40}
    hub.commit("models", "them/gated", folder, gated=True)
    said = tree.run(
        "--keep-going", "--", "fetch",
        base={"kind": "hub", "id": "them/gated", **zeros},
        task={"source": {"kind": "hub", "id": "them/texts", **zeros}},
        triples={"source": {"kind": "hub", "id": "them/none", **zeros}},
    )  # fmt: skip
    lines = [line for line in said.stderr.splitlines() if "error: " in line]
    assert sorted(lines) == [  # the base looks at the task, and waits for it
        f"task texts: error: them/texts (train): the hub has no revision {'0' * 40} of it",
        f"triples none: error: them/none (train): {HIDDEN}",
    ]
    assert "Traceback" not in said.stderr and "the hub has no revision COMMIT of it`" in PAGE


def test_fetch_then_everything_else_offline(
    served: tuple[Hub, dict[str, dict[str, str]], Tree],
) -> None:
    """The hub moves on and is not asked again; the run ends with what was looked up first."""
    hub, commits, tree = served
    compute = experiment.load({}).compute.model_dump() | {"device": "cuda"}
    said = tree.run("fetch", compute=compute, **HUB_CONFIG)  # here is no GPU
    assert said.returncode == 0, said.stdout + said.stderr
    lock = tree.root / "revisions.yaml"
    kept = lock.read_text()
    assert yaml.safe_load(kept) == commits and kept.startswith("datasets:\n  them/texts: ")
    for kind, ids in commits.items():
        for name in ids:
            hub.commit(kind, name, {"README.md": b"Nothing is as it was."})
    asked = len(hub.asked)
    said = tree.run("results/table3.csv", **HUB_CONFIG)
    assert said.returncode == 0, said.stdout + said.stderr
    assert len(hub.asked) == asked and lock.read_text() == kept
    [base] = tree.root.glob("results/artifacts/base/tiny-*")
    params = json.loads((base / "provenance.json").read_text())["params"]
    assert params["revision"] == commits["models"]["them/tiny"]
    tokenizer_config = json.loads((base / "tokenizer_config.json").read_text())
    assert tokenizer_config["pad_token"] == "<|end_of_text|>"


# What is said when it fails ---------------------------------------------------------------------

ASK = """
import json, os, sys
from pathlib import Path
from infuse.config import experiment, revisions
from infuse.core.errors import UserError
for token, change in json.load(sys.stdin):
    os.environ["HF_TOKEN"] = token
    try:
        revisions.pinned(experiment.load(change), Path(sys.argv[1]))
        print("fine")
    except UserError as refusal:
        print(*str(refusal).splitlines()[1:], sep=" | ")
"""
HIDDEN = "the hub has no such repository, or shows it to others alone (HF_TOKEN)"
NOWHERE = "http://127.0.0.1:9"  # nothing listens there
GATED = "it is gated: accept its licence on the hub, then set HF_TOKEN"


def base(name: str) -> dict[str, Any]:
    """A base model on the hub, and nothing else there."""
    return {"base": {"kind": "hub", "id": name}}


def ask(cases: list[tuple[str, dict[str, Any]]], lock: Path, own: Mapping[str, str]) -> list[str]:
    """What each token hears for a config."""
    said = subprocess.run(
        [sys.executable, "-c", ASK, str(lock)], input=json.dumps(cases), text=True,
        env=environment() | {"PYTHONPATH": str(ROOT / "scripts")} | dict(own),
        capture_output=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert not any(token in said.stdout + said.stderr for token in (TOKEN, STRANGER, "hf_old"))
    return [line.strip() for line in said.stdout.splitlines()]


def documented(line: str, name: str) -> bool:
    """Whether the page tells of a line, `...` and OWNER/NAME standing for what differs."""
    general = re.sub(r"\(\w+: .*?\)", "(...)", line.replace(name, "OWNER/NAME"))
    return f"| `{general.replace('0' * 40, 'COMMIT')}` |" in PAGE


def test_each_refusal_of_a_lookup(tmp_path: Path) -> None:
    both = base("them/no") | {"task": {"source": {"kind": "hub", "id": "them/no"}}}
    cases = [
        ("", base("them/no"), f"base.id: them/no: {HIDDEN}"),
        (TOKEN, base("them/no"), f"base.id: them/no: {HIDDEN}"),
        ("", both, f"task.source.id: them/no: {HIDDEN} |   base.id: them/no: {HIDDEN}"),
        ("", base("them/gated"), f"base.id: them/gated: {GATED}"),
        (STRANGER, base("them/gated"), f"base.id: them/gated: {GATED}"),
        ("hf_old", base("them/no"),
         "base.id: them/no: the hub does not know the token (HF_TOKEN)"),
        ("", base("them/empty"), "base.id: them/empty: the hub has no revision main of it"),
        (TOKEN, base("them/gated"), "fine"),
        ("", base("them/gated"), "fine"),  # since it was looked up
    ]  # fmt: skip
    lock = tmp_path / "revisions.yaml"
    with serve() as hub:
        commit = hub.commit("models", "them/gated", {"config.json": b"{}"}, gated=True)
        hub.repositories["models", "them/empty"] = Repository()
        own = hub.variables(tmp_path / "caches")
        answers = ask([(token, change) for token, change, _ in cases], lock, own)
    assert answers == [said for *_, said in cases]
    assert yaml.safe_load(lock.read_text())["models"] == {"them/gated": commit}
    assert all(documented(said, said.split(": ")[1]) for said in answers[:2] + answers[3:6])


def test_a_file_that_a_repository_lacks_is_told_by_whoever_needs_it() -> None:
    lacks = Response(404, request=Request("HEAD", "http://127.0.0.1/them/tiny"))
    failure = OSError("them/tiny has no config.json")
    failure.__cause__ = RemoteEntryNotFoundError("404", response=lacks)
    assert complaint(failure) is None
    failure.__cause__ = RepositoryNotFoundError("404", response=lacks)
    assert complaint(failure) == HIDDEN


def test_without_a_network_an_open_revision_is_refused_and_a_known_one_is_not(
    served: tuple[Hub, Any, Tree], tmp_path: Path
) -> None:
    own = served[-1].own | {"NO_PROXY": "", "HTTP_PROXY": NOWHERE}
    tree = Tree(copied(tmp_path / "tree"), own)
    said = tree.run("-n", "--", "fetch", **base("them/tiny"))
    assert said.returncode and "Traceback" not in said.stdout + said.stderr
    lines = [printed.strip() for printed in (said.stdout + said.stderr).splitlines()]
    [line] = [printed for printed in lines if printed.startswith("base.revision is not set")]
    assert documented(line, "them/tiny"), line
    (tree.root / "revisions.yaml").write_text(f"models: {{them/tiny: '{'0' * 40}'}}\n")
    assert tree.scheduled(**base("them/tiny"))["base"] == 1
