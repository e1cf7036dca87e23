"""The true workflow in a copy of the tree, under a path that shells dislike."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

import warm
from infuse.config import experiment
from infuse.workflow import plan

ROOT = Path(__file__).parents[1]
ALL = ("all", "results/arms.csv")  # everything that can be asked for, but probes
ODD = 'it\'s a "tr\u00e4e" & $HOME'  # a folder's name
STUDY = ("results/quality.csv", "results/layers.csv")  # of a task with a scale
PARTS = (
    "Snakefile",
    "config.yaml",
    "envs",
    "experiments",
    "profiles",
    "report",
    "rules",
    "scripts",
)


@dataclass(frozen=True)
class Tree:
    """A copy of the workflow with a `results/` of its own.

    Attributes:
        own: variables of the environment that it runs in.
    """

    root: Path
    own: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, **change: object) -> subprocess.CompletedProcess[str]:
        """Run snakemake on the tiny experiment with `change` laid over its top-level keys."""
        file = self.root / "tiny.yaml"
        file.write_text(yaml.safe_dump(tiny() | change, sort_keys=False))
        ours = arguments if any(a.startswith("-") for a in arguments) else ("--", *arguments)
        return snakemake(self.root, "--configfile", str(file), *ours, **self.own)

    def scheduled(self, *options: str, **change: object) -> dict[str, int]:
        """How many jobs of each rule a dry run would start."""
        said = self.run(*options, "--dry-run", "--quiet", "host", "--", *ALL, **change)
        assert said.returncode == 0, said.stderr
        jobs: dict[str, int] = {}
        for line in (said.stdout + said.stderr).splitlines():
            match line.split():
                case [rule, count] if (
                    rule.isidentifier() and count.isdigit() and rule not in ("total", "all")
                ):
                    jobs[rule] = int(count)
        return jobs


def snakemake(root: Path, *arguments: str, **own: str) -> subprocess.CompletedProcess[str]:
    """Run snakemake in a folder, with variables of its own."""
    python = warm.python(**own)
    return subprocess.run(
        [python, "-m", "snakemake", "--cores", "2", *arguments],
        cwd=root, env=environment(python) | own, text=True, capture_output=True, check=False,
    )  # fmt: skip


def environment(python: Path = Path(sys.executable)) -> dict[str, str]:
    """This process's environment, with an interpreter first on the path."""
    return os.environ | {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}


def copied(root: Path) -> Path:
    """A new folder with a copy of the workflow in it."""
    root.mkdir()
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, root / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / part)
    return root


def of_all_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A temporary folder that the processes of one run of the tests share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The tiny experiment, built once from nothing; each worker has a copy of its own."""
    whole = of_all_workers(tmp_path_factory) / "built once" / ODD
    whole.parent.mkdir(exist_ok=True)
    with (whole.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (done := whole.parent / "done").exists():
            shutil.rmtree(whole, ignore_errors=True)
            said = Tree(copied(whole)).run(*ALL)
            assert said.returncode == 0, said.stdout + said.stderr
            done.touch()
    return Tree(shutil.copytree(whole, tmp_path_factory.mktemp("work flow") / ODD))


@pytest.fixture(autouse=True)
def _clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a stopped run left is not there for the next test, whichever that is."""
    yield
    if "built" in request.fixturenames:
        for left in (request.getfixturevalue("built").root / "results/unfinished").iterdir():
            shutil.rmtree(left)


def short_study() -> dict[str, Any]:
    """experiments/quality-small.yaml as short as it may be, with every stage in it."""
    small = yaml.safe_load((ROOT / "experiments/quality-small.yaml").read_text())
    short: dict[str, Any] = {
        "conversations": {"rows": {"train": 10, "validation": 2, "test": 4}},
        "judging": {"styles": ["one_to_four", "one_to_five_examples"]},
        "base": {"hidden_size": 32, "intermediate_size": 48, "layers": 2, "heads": 2}
        | {"vocabulary": 400, "pretraining": None},
        "classifier": {"recipe": {"epochs": 1}},
        "arms": {name: small["arms"][name] for name in ("label", "label_explanation")},
        "comparisons": [["label_explanation", "label"]],
        "held_out": {"sources": ["shop"], "arms": ["label"]},
        "seeds": [1],
    }  # fmt: skip
    return experiment.merge(small, short)


@pytest.fixture(scope="session")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The short study, built once from nothing."""
    tree = Tree(copied(tmp_path_factory.mktemp("rated") / "tree"))
    said = tree.run(*STUDY, **short_study())
    assert said.returncode == 0, said.stdout + said.stderr
    return tree


def nodes(tree: Tree, stage: str) -> dict[str, Path]:
    """The artifacts of one stage of the tiny experiment, by name."""
    return {node.name: tree.root / node.path for node in tiny_plan().stage(stage)}


def committed(table: str) -> list[dict[str, str]]:
    """The lines of a table under docs/, copied there from results/."""
    with (ROOT / "docs" / table).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def tiny() -> dict[str, Any]:
    """The tiny experiment: what it changes of the default."""
    change: dict[str, Any] = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text())
    return change


def tiny_plan() -> plan.Plan:
    """The plan of the tiny experiment."""
    return plan.build(experiment.load(tiny()))


def again(
    tree: Tree, artifact: Path, name: str, settings: Mapping[str, Any] | None = None, **params: Any
) -> list[str]:
    """The command that makes an artifact once more, as results/NAME, with other parameters."""
    spec = json.loads(
        (tree.root / "results/specs" / artifact.parent.name / f"{artifact.name}.json").read_text()
    )
    spec |= {"params": spec["params"] | params, "key": name}
    spec |= {"settings": spec["settings"] | dict(settings or {})}
    spec |= {"output": f"results/{name}", "work": f"results/unfinished/{name}"}
    path = tree.root / f"{name}.json"
    path.write_text(json.dumps(spec))
    script = f"scripts/{spec['stage']}.py"
    return [str(warm.python()), script, str(path), "--log", f"{name}.log"]
