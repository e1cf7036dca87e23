"""What lies on the hub after a push is what was made here; or a line says why nothing was sent."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infuse.config import experiment
from infuse.core.errors import UserError
from infuse.core.files import read_rows
from infuse.core.manifest import names
from infuse.core.schemas import TEXT_REASONING_LABEL
from infuse.workflow import hub_upload, plan
from loopback_hub import OWNER, STRANGER, TOKEN, Hub, serve
from trees import ROOT, Tree, copied, environment, nodes

PUSHED = {
    "text_label": "training_set", "text_reasoning_label": "training_set", "reasoner": "reasoner",
    "label-seed1": "classifier", "label_same_steps-seed1": "classifier",
    "reason_label-seed1": "classifier",
}  # fmt: skip
LOAD = """
import json, sys
from pathlib import Path
import datasets, torch
from huggingface_hub import hf_hub_download
from infuse.models import loading
data, model, folder = sys.argv[1:]
file = "model.safetensors"
same = Path(folder, file).read_bytes() == Path(hf_hub_download(model, file)).read_bytes()
ours, theirs = (loading.load_model(one).state_dict() for one in (folder, model))
same &= ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)
tokens = [loading.load_tokenizer(one).get_vocab() for one in (folder, model)]
print(json.dumps([datasets.load_dataset(data)["train"].to_list(), same, tokens[0] == tokens[1]]))
"""


def push(
    tree: Tree, hub: Hub, *arguments: str, token: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run scripts/push.py on the tiny experiment."""
    shutil.copy(ROOT / "tests/tiny.yaml", tree.root / "pushed.yaml")
    command = [sys.executable, "scripts/push.py", "--configfile", "pushed.yaml", *arguments]
    said = subprocess.run(
        command, cwd=tree.root, env=environment() | hub.variables(tree.root / "caches", token),
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert not any(secret in said.stdout + said.stderr for secret in (TOKEN, STRANGER, "hf_old"))
    return said


def folders_of(tree: Tree) -> dict[str, Path]:
    """The folders that are pushed, by the end of their repository's name."""
    return {
        name: nodes(tree, stage)["scratch" if stage == "reasoner" else name]
        for name, stage in PUSHED.items()
    }


def files(folder: Path) -> dict[str, bytes]:
    """What a folder holds, but for Snakemake's own file."""
    whole = [*names(folder), "README.md", "provenance.json"]
    return {name: (folder / name).read_bytes() for name in whole}


def test_regimes_and_controls_are_not_the_experiments_own() -> None:
    own = plan.build(experiment.load({})).own
    classifiers = [f"{arm}-seed{seed}" for arm in experiment.load({}).arms for seed in (1, 2)]
    sets = [name for name, stage in PUSHED.items() if stage == "training_set"]
    assert sorted(node.name for node in own) == sorted([*sets, "scratch", *classifiers])


def test_two_artifacts_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One would lie over the other."""
    sources = {"shuffle": {"kind": "keywords", "words": 5, "folds": 5}}
    arms = {
        "label": {"target": "label"},
        "keywords": {"target": "reason_label", "reasons": "shuffle"},
        "shuffled": {"target": "reason_label", "perturb": "shuffle"},
    }
    both = plan.build(experiment.load({"arms": arms, "other_reasonings": sources}))
    monkeypatch.setattr(hub_upload, "is_here", lambda node: True)
    monkeypatch.setattr(hub_upload, "check_all", lambda *_: None)
    with pytest.raises(UserError, match=r"^--to: 2 artifacts would be me/diary-shuffle_text_rea"):
        hub_upload.repositories(both, "me", "")


def test_a_push_that_is_not_confirmed_sends_nothing(built: Tree) -> None:
    with serve() as hub:
        said = push(built, hub, "--to", OWNER)
        assert said.returncode == 0 and not said.stderr and not hub.asked, said.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.stdout.splitlines()]
    listed = {name: (kind, int(number)) for name, kind, number, _ in rows[2:8]}
    assert listed == {
        f"{OWNER}/tiny-{name}": (
            "dataset" if PUSHED[name] == "training_set" else "model", len(files(folder))
        )
        for name, folder in folders_of(built).items()
    }  # fmt: skip
    command = f"python scripts/push.py --configfile pushed.yaml --to {OWNER} --confirm"
    assert said.stdout.endswith(f"\nNothing was sent. To do it: {command}\n")


def test_what_is_pushed_is_what_was_made(built: Tree, tmp_path: Path) -> None:
    """And once: a second push sends nothing, and what was mended is sent alone."""
    folders = folders_of(built)
    with serve() as hub:
        said = push(built, hub, "--to", OWNER, "--confirm", token=TOKEN)
        assert said.returncode == 0, said.stderr
        pushed = {
            name: hub.repositories[
                "datasets" if PUSHED[name] == "training_set" else "models", f"{OWNER}/tiny-{name}"
            ]
            for name in folders
        }
        assert len(hub.repositories) == len(pushed)
        for name, folder in folders.items():
            repository, (node, _, key) = pushed[name], folder.name.rpartition("-")
            assert repository.private and repository.commits[repository.head] == files(folder)
            assert repository.messages[1:] == [f"{PUSHED[name]} {node}, key {key}"]
            assert b'"/' not in files(folder)["provenance.json"]
            for text in files(folder).values():
                assert str(built.root.parent).encode() not in text
        heads, uploads = {name: repo.head for name, repo in pushed.items()}, len(hub.objects)
        repository = pushed["reasoner"]
        whole = repository.commits[repository.head]
        heads["reasoner"] = repository.replace(whole | {"README.md": b"# Mine"}, "Mine")
        stale = {"model-00001-of-00002.safetensors": b"", "LICENSE": b"theirs"}
        repository.replace(whole | {"README.md": b"# Mine"} | stale, "More")
        said = push(built, hub, "--to", OWNER, "--confirm", token=TOKEN)
        assert said.returncode == 0 and len(hub.objects) == uploads, said.stderr
        assert repository.commits[repository.head] == whole | {"LICENSE": b"theirs"}
        assert {n: repo.head for n, repo in pushed.items() if heads[n] != repo.head}.keys() == {
            "reasoner"
        }
        data, model = (f"{OWNER}/tiny-{name}" for name in list(folders)[1::4])
        own = hub.variables(tmp_path / "caches", TOKEN) | {"PYTHONPATH": str(ROOT / "scripts")}
        loaded = subprocess.run(
            [sys.executable, "-c", LOAD, data, model, str(folders["reason_label-seed1"])],
            env=environment() | own, text=True, capture_output=True, check=False,
        )  # fmt: skip
    assert loaded.returncode == 0, loaded.stderr
    rows = read_rows(folders["text_reasoning_label"] / "train.parquet", TEXT_REASONING_LABEL)
    assert json.loads(loaded.stdout) == [rows, True, True]


FIRST = "me/tiny-text_label: the hub"


@pytest.mark.parametrize(
    ("namespace", "token", "said"),
    [
        ("me", "", "no token: set HF_TOKEN to one that may write, or `hf auth login`"),
        ("me", "hf_old", f"{FIRST} does not know the token (HF_TOKEN)"),
        ("me", STRANGER, f"{FIRST} forbids it to this token (HF_TOKEN)"),
        ("them", TOKEN, f"{FIRST} forbids it to this token (HF_TOKEN)".replace("me", "them", 1)),
        ("no/where", TOKEN, "--to: Repo id must be in the form"),
    ],
)
def test_a_refusal_is_told_in_one_line(built: Tree, namespace: str, token: str, said: str) -> None:
    with serve() as hub:
        completed = push(built, hub, "--to", namespace, "--confirm", token=token)
    assert completed.returncode == 1 and not hub.repositories
    [line] = completed.stderr.splitlines()
    assert line.startswith(f"error: {said}")


def test_a_push_without_a_network_is_told_in_one_line(built: Tree) -> None:
    with serve() as hub:
        pass
    said = push(built, hub, "--to", OWNER, "--confirm", token=TOKEN)
    [line] = said.stderr.splitlines()
    assert line.startswith(f"error: {FIRST} can't be reached (ConnectError: ")


def test_what_is_not_there_is_named_and_what_is_damaged_is_refused(
    built: Tree, tmp_path: Path
) -> None:
    tree = Tree(copied(tmp_path / "tree"))
    with serve() as hub:
        said = push(tree, hub, "--to", OWNER)
        assert said.returncode == 1
        assert said.stderr.endswith("no folder results here; --directory names where it is\n")
        folders = folders_of(built)
        here = tree.root / folders["text_label"].relative_to(built.root)
        shutil.copytree(folders.pop("text_label"), here)
        said = push(tree, hub, "--to", OWNER)
        assert said.returncode == 0 and said.stdout.count("tiny-") == 1
        named = said.stderr.removeprefix("Note: not made yet, so not pushed: ").strip().split(", ")
        assert sorted(named) == sorted(str(f.relative_to(built.root)) for f in folders.values())
        (here / "train.parquet").write_bytes((here / "validation.parquet").read_bytes())
        said = push(tree, hub, "--to", OWNER, "--confirm", token=TOKEN)
        assert said.returncode == 1 and not hub.asked
        assert "train.parquet: damaged, " in said.stderr.splitlines()[-1]
