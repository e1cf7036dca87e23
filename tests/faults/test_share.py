"""DVC's own client, a remote, clones: what is scheduled or said is exactly right."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import warm
from faults.harness import LONG, fault, run, some
from faults.test_corruption import flip
from trees import ALL, ROOT, Tree, environment, nodes

CHEAP = {"metrics": 2, "tables": 1, "figures": 1, "arms": 1}
PULL = ("scripts/share.py", "pull", "--configfile")


def git(root: Path, *arguments: str) -> None:
    """Run git, with an author and without a user's settings."""
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for role in ("AUTHOR", "COMMITTER"):
        own |= {f"GIT_{role}_NAME": "test", f"GIT_{role}_EMAIL": "test@example.org"}
    subprocess.run(["git", *arguments], cwd=root, env=environment() | own, check=True)


def share(
    tree: Tree, what: str, *faults: Any, config: str = "tiny.yaml"
) -> subprocess.CompletedProcess[str]:
    """Run scripts/share.py."""
    key = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    command = [sys.executable, "scripts/share.py", what, "--configfile", config]
    return run(tree, command, *faults, **key)


def dvc(tree: Tree, *arguments: str) -> None:
    """Run DVC's client."""
    subprocess.run([warm.python(), "-m", "dvc", *arguments, "-q"], cwd=tree.root, check=True)


@dataclass(frozen=True)
class Published:
    """A producer's tree in git, its artifacts in a remote."""

    tree: Tree
    remote: Path

    def clone(self, root: Path) -> Tree:
        """What a user has who cloned it."""
        git(root.parent, "clone", "--quiet", str(self.tree.root), str(root))
        return Tree(root)


def producer(built: Tree, root: Path) -> Tree:
    """A copy of the built tree, as a git repository that has DVC's settings."""
    shutil.copytree(built.root, root, ignore=shutil.ignore_patterns(".snakemake"))
    for name in (".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, root / name)
    (root / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(ROOT / ".dvc" / name, root / ".dvc" / name)
    data = root / "data"
    data.mkdir()
    git(root, "init", "--quiet")
    return Tree(root)


@pytest.fixture(scope="module")
def published(built: Tree, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """The tiny experiment, published to a folder."""
    base = tmp_path_factory.mktemp("published")
    tree, remote = producer(built, base / "tree"), base / "remote"
    assert tree.scheduled() == {}
    dvc(tree, "remote", "add", "--default", "storage", str(remote))
    said = share(tree, "publish")
    assert said.returncode == 0, said.stderr
    assert said.stdout == "14 artifacts are published; commit their pointers, results/**/*.dvc\n"
    git(tree.root, "add", "--all")
    git(tree.root, "commit", "--quiet", "--message", "Publish")
    assert tree.scheduled() == {}, "publishing made work for the producer"
    assert tree.scheduled("--forceall")["reasoner"] == 1
    return Published(tree, remote)


def pulled(published: Published, root: Path) -> Tree:
    """A clone that has what it needs."""
    tree = published.clone(root)
    said = share(tree, "pull")
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith("9 artifacts were pulled\n5 more are published. "), said.stdout
    return tree


def test_a_clone_without_a_pull(published: Published, tmp_path: Path) -> None:
    """All is scheduled, and a note tells what could be had."""
    tree = published.clone(tmp_path / "clone")
    assert tree.scheduled() == {
        "task": 1, "triples": 1, "base": 1, "tokens": 1, "reasoner": 1, "reasonings": 1,
        "training_set": 2, "classifier": 3, "predictions": 3, **CHEAP,
    }  # fmt: skip
    said = tree.run("--dry-run")
    pull = shlex.join(["python", *PULL, str(tree.root / "tiny.yaml")])
    assert f"Note: 9 artifacts are published and not here: {pull}\n" in said.stderr


def test_a_clone_after_a_pull(published: Published, tmp_path: Path) -> None:
    """No training; and nothing came that the tables don't need."""
    tree = pulled(published, tmp_path / "clone")
    assert tree.scheduled() == CHEAP
    assert not list(tree.root.glob("results/artifacts/base/*/"))
    said = tree.run(*ALL)
    assert said.returncode == 0, said.stderr
    for name in ("table3", "arms"):
        ours, theirs = (
            checkout.root / f"results/{name}.csv" for checkout in (tree, published.tree)
        )
        assert ours.read_bytes() == theirs.read_bytes()
    assert tree.scheduled() == {}


def test_a_changed_hyper_parameter(published: Published, tmp_path: Path) -> None:
    """What depends on it is scheduled; a pull for the changed config fetches where it starts."""
    tree = pulled(published, tmp_path / "clone")
    change: Any = {"prediction": {"max_new_tokens": 25, "batch_rows": 16}}
    assert tree.scheduled(**change) == {"predictions": 3, **CHEAP}
    tree = published.clone(tmp_path / "other")
    assert tree.scheduled(**change)["classifier"] == 3
    assert share(tree, "pull").returncode == 0  # of the changed tiny.yaml
    assert tree.scheduled(**change) == {"predictions": 3, **CHEAP}


def test_a_comment_in_the_code(published: Published, tmp_path: Path) -> None:
    """Nothing trains again."""
    tree = pulled(published, tmp_path / "clone")
    for script in (tree.root / "scripts").rglob("*.py"):
        script.write_text(script.read_text() + "\n# a comment\n")
    assert tree.scheduled() == CHEAP


@pytest.mark.parametrize("stage", some(["classifier", "predictions", "training_set"], 1))
def test_a_raised_stage_version(published: Published, stage: str, tmp_path: Path) -> None:
    """That stage and what follows from it, no more."""
    tree = pulled(published, tmp_path / "clone")
    script = tree.root / f"scripts/{stage}.py"
    script.write_text(script.read_text().replace("\nVERSION = ", "\nVERSION = 9"))
    first = {"classifier": ["classifier", "predictions"], "predictions": ["predictions"],
             "training_set": ["training_set", "classifier", "predictions"]}[stage]  # fmt: skip
    assert share(tree, "pull").returncode == 0
    counts = {"training_set": 2, "classifier": 3, "predictions": 3}
    assert tree.scheduled() == {name: counts[name] for name in first} | CHEAP


@pytest.mark.skipif(not LONG, reason="make faults runs this")
def test_raw_data_changed_and_restored(built: Tree, tmp_path: Path) -> None:
    """A file of texts; a pointer may stand for it."""
    tree = producer(built, tmp_path / "tree")
    rows = "".join(f"{'so ' * n}we go,{'joy' if n % 2 else 'anger'}\n" for n in range(1, 40))
    data = tree.root / "data/a.csv"
    data.write_text("text,label\n" + rows)
    source = {"kind": "files", "train": "data/a.csv"}
    change: Any = {
        "task": {"source": source, "columns": {"text": "text", "label": "label"}},
        "arms": {"label": {"target": "label"}},
        "triples": None,
    }
    before = tree.scheduled(**change)
    assert before["task"] == 1
    assert tree.run(*ALL, **change).returncode == 0
    dvc(tree, "remote", "add", "--default", "storage", str(tmp_path / "remote"))
    assert share(tree, "publish").returncode == 0
    dvc(tree, "add", "data/a.csv")
    assert tree.scheduled(**change) == {}
    text = data.read_text()
    data.unlink()
    assert tree.scheduled(**change) == {}, "the pointer stands for the file"
    data.write_text(text + "so be it,joy\n")
    assert tree.scheduled(**change) == before
    data.write_text(text)
    assert tree.scheduled(**change) == {}


def test_models_only(published: Published, tmp_path: Path) -> None:
    """As DVC's own client pulls them: enough to classify, and to answer the test texts again."""
    tree = published.clone(tmp_path / "clone")
    dvc(tree, "pull", "--recursive", "results/artifacts/classifier")
    model = nodes(tree, "classifier")["reason_label-seed1"]
    said = run(tree, [sys.executable, "scripts/classify.py", "--model", str(model), "a text"])
    assert said.returncode == 0, said.stderr
    assert tree.scheduled() == {
        "task": 1, "triples": 1, "base": 1, "tokens": 1, "reasoner": 1, "reasonings": 1,
        "training_set": 1, "predictions": 3, **CHEAP,
    }  # fmt: skip


def test_an_interrupted_pull(published: Published, tmp_path: Path) -> None:
    """Half of a model is told, not used; the next pull has it whole."""
    tree = pulled(published, tmp_path / "clone")
    model = nodes(tree, "classifier")["label-seed1"]
    (model / "model.safetensors").unlink()
    said = tree.run("--dry-run")
    advice = "model.safetensors: no such file; it is published: python scripts/share.py pull"
    assert said.returncode and advice in said.stdout + said.stderr
    assert share(tree, "pull").returncode == 0
    assert tree.scheduled() == CHEAP


@pytest.mark.parametrize("wait", some([0.6, 1.0, 1.4, 1.8, 2.2], 1))
def test_a_pull_that_is_killed(published: Published, wait: float, tmp_path: Path) -> None:
    """At some moment; the next one ends well."""
    tree = published.clone(tmp_path / "clone")
    command = [sys.executable, "-m", "dvc", "pull", "-q"]
    with subprocess.Popen(command, cwd=tree.root, start_new_session=True) as process:
        time.sleep(wait)
        os.killpg(process.pid, signal.SIGKILL)
    assert share(tree, "pull").returncode == 0
    assert tree.scheduled() == CHEAP


def stored(published: Published, remote: Path) -> Path:
    """Where a remote keeps the weights of a classifier, which every pull wants."""
    weights = nodes(published.tree, "classifier")["label-seed1"] / "model.safetensors"
    digest = hashlib.md5(weights.read_bytes()).hexdigest()
    return next(path for path in remote.rglob(digest[2:]) if path.parent.name == digest[:2])


def test_a_pointer_whose_object_is_missing(published: Published, tmp_path: Path) -> None:
    """DVC's words in one line, and the other artifacts are there."""
    remote = shutil.copytree(published.remote, tmp_path / "remote")
    largest = stored(published, remote)
    largest.unlink()
    tree = published.clone(tmp_path / "clone")
    dvc(tree, "remote", "modify", "storage", "url", str(remote))
    said = share(tree, "pull")
    assert said.returncode == 1 and "Traceback" not in said.stderr
    assert said.stderr.startswith("error: dvc pull: ")
    here = {path.name for path in tree.root.glob("results/artifacts/*/*/")}
    [lost] = said.stderr.strip().rpartition("; not here: ")[2].split(", ")
    assert Path(lost).name not in here and len(here) > 5


def test_a_flipped_byte_in_a_pulled_model(published: Published, tmp_path: Path) -> None:
    """A pull names it and fetches it anew."""
    tree = pulled(published, tmp_path / "clone")
    weights = nodes(tree, "classifier")["label-seed1"] / "model.safetensors"
    before = weights.read_bytes()
    weights.chmod(0o644)
    flip(weights)
    assert share(tree, "pull").returncode == 0
    assert weights.read_bytes() == before


@pytest.mark.parametrize("blind", [False, True])
def test_a_flipped_byte_in_the_remote(published: Published, blind: bool, tmp_path: Path) -> None:
    """DVC does not see it; we do. The inverse: without the check nobody would."""
    remote = shutil.copytree(published.remote, tmp_path / "remote")
    largest = stored(published, remote)
    largest.chmod(0o644)
    flip(largest)
    tree = published.clone(tmp_path / "clone")
    dvc(tree, "remote", "modify", "storage", "url", str(remote))
    said = share(
        tree, "pull", *([fault("infuse.workflow.dvc_store:_damages", "skip")] if blind else [])
    )
    if blind:
        assert said.returncode == 0
        names = [path.relative_to(tree.root) for path in tree.root.glob("results/artifacts/*/*/*")]
        assert any((tree.root / name).read_bytes() != (published.tree.root / name).read_bytes()
                   for name in names)  # fmt: skip
        return
    assert said.returncode == 1 and ": damaged, its SHA-256 is not the one" in said.stderr
    damaged = said.stderr.split(": damaged")[0].removeprefix("error: ")
    assert not (tree.root / damaged).exists()


def test_a_remote_that_can_not_be_reached(published: Published, tmp_path: Path) -> None:
    """What is damaged here stays, and nothing else is lost."""
    tree = pulled(published, tmp_path / "clone")
    weights = nodes(tree, "classifier")["label-seed1"] / "model.safetensors"
    flip(weights)
    damage = weights.read_bytes()
    shutil.rmtree(tree.root / ".dvc/cache")
    dvc(tree, "remote", "modify", "storage", "url", str(tmp_path / "nowhere"))
    said = share(tree, "pull")
    assert said.returncode == 1 and said.stderr.startswith("error: dvc pull: ")
    assert weights.read_bytes() == damage
    assert not list(tree.root.glob("results/unfinished/damaged-*"))


def test_an_object_that_the_remote_lost_is_published_again(
    published: Published, tmp_path: Path
) -> None:
    """Once its folder's listing is gone too, which DVC trusts; and all of it, to a new remote."""
    remote = shutil.copytree(published.remote, tmp_path / "remote")
    tree = published.clone(tmp_path / "producer")
    dvc(tree, "remote", "modify", "storage", "url", str(remote))
    dvc(tree, "pull")
    before = {path: path.read_bytes() for path in remote.rglob("*") if path.is_file()}
    artifact = nodes(tree, "classifier")["label-seed1"]
    listing = yaml.safe_load(Path(f"{artifact}.dvc").read_text())["outs"][0]["md5"]
    md5 = hashlib.md5((artifact / "model.safetensors").read_bytes()).hexdigest()
    for name in (md5, listing):
        (remote / "files/md5" / name[:2] / name[2:]).unlink()
    assert share(tree, "publish").returncode == 0
    assert {path: path.read_bytes() for path in before} == before
    dvc(tree, "remote", "modify", "storage", "url", str(tmp_path / "new"))
    assert share(tree, "publish").returncode == 0
    assert list((tmp_path / "new").rglob(md5[2:]))


@pytest.mark.skipif(not LONG, reason="make faults runs this")
@pytest.mark.parametrize("link", ["symlink", "hardlink"])
def test_a_cache_of_links(published: Published, link: str, tmp_path: Path) -> None:
    """What is made anew does not write through a link into DVC's cache."""
    tree = published.clone(tmp_path / "clone")
    dvc(tree, "config", "cache.type", link)
    assert share(tree, "pull").returncode == 0
    assert tree.scheduled() == CHEAP
    folder = nodes(tree, "predictions")["label-seed1"]
    rows = folder / "predictions.parquet"
    assert rows.is_symlink() or rows.stat().st_nlink > 1
    stored = [path for path in (tree.root / ".dvc/cache").rglob("*") if path.is_file()]
    cache = {path: path.read_bytes() for path in stored}
    assert tree.run(*ALL).returncode == 0  # which writes the specs
    spec = f"results/specs/predictions/{folder.name}.json"
    said = run(tree, [sys.executable, "scripts/predictions.py", spec])
    assert said.returncode == 0, said.stderr
    assert not rows.is_symlink() and rows.stat().st_nlink == 1
    assert {path: path.read_bytes() for path in cache} == cache
    assert tree.scheduled() == {}


@pytest.fixture
def s3() -> Iterator[str]:
    """The address of an S3-compatible server on loopback."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


def test_an_s3_remote(built: Tree, s3: str, tmp_path: Path) -> None:
    """Published to and pulled from a server that speaks S3."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=s3, aws_access_key_id="key", aws_secret_access_key="secret",
        region_name="us-east-1",
    )  # fmt: skip
    client.create_bucket(Bucket="models")
    tree = producer(built, tmp_path / "tree")
    dvc(tree, "remote", "add", "--default", "storage", "s3://models/mine")
    dvc(tree, "remote", "modify", "storage", "endpointurl", s3)
    said = share(tree, "publish")
    assert said.returncode == 0, said.stderr
    git(tree.root, "add", "--all")
    git(tree.root, "commit", "--quiet", "--message", "Publish")
    clone = Published(tree, tmp_path).clone(tmp_path / "clone")
    said = share(clone, "pull")
    assert said.returncode == 0, said.stderr
    assert clone.scheduled() == CHEAP


def test_without_a_remote_it_says_what_to_do(built: Tree, tmp_path: Path) -> None:
    tree = producer(built, tmp_path / "tree")
    said = share(tree, "publish")
    assert said.returncode == 1 and "remote" in said.stderr and "Traceback" not in said.stderr
    wrong = tree.root / "wrong.yaml"
    wrong.write_text(yaml.safe_dump({"seed": 1}))
    assert "seed: unknown key" in share(tree, "pull", config="wrong.yaml").stderr
    shutil.rmtree(tree.root / ".git")
    advice = "is not a git repository; git init, or without git: dvc config core.no_scm true\n"
    assert share(tree, "publish").stderr.endswith(advice)
    shutil.rmtree(tree.root / ".dvc")
    advice = "; dvc init, or without git: dvc init --no-scm\n"
    assert share(tree, "publish").stderr.endswith(advice)
