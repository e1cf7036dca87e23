"""What the families share: faults in a script, what a run left, and how many cases there are."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import warm
from infuse.core.manifest import sealed
from patience import PATIENCE
from trees import Tree, again, environment, nodes

LONG = bool(os.environ.get("FAULTS"))  # `make faults`; the short form is part of `make test`
EVERY = 3  # steps between checkpoints
STEP, PASS = "infuse.training.loop:_step", "infuse.training.step:Engine.loss_sum"
CHUNK = "infuse.inference.generation:continue_prefilled"
Work = Callable[[Tree, str], list[str]]


def some(cases: list[Any], short: int, seed: int = 0) -> list[Any]:
    """All cases in the long form, else `short` of them, drawn by the seed."""
    return cases if LONG else random.Random(seed).sample(cases, short)


def fault(at: str, do: str, time: int = 1) -> dict[str, Any]:
    """One fault, as tests/faults/driver.py takes it."""
    return {"at": at, "do": do, "time": time}


def run(
    tree: Tree, command: list[str], *faults: Mapping[str, Any], **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a script of the tree in a process of its own, with faults in it."""
    python, driver = warm.python(), Path(__file__).with_name("driver.py")
    return subprocess.run(
        [python, driver, json.dumps(faults), *command[1:]],
        cwd=tree.root, env=environment(python) | env, text=True, capture_output=True, check=False,
        timeout=PATIENCE,
    )  # fmt: skip


def contents(folder: Path) -> Any:
    """Size and SHA-256 of each file of a sealed folder."""
    return sealed(folder)["files"]


def artifacts(tree: Tree) -> dict[str, Any]:
    """`contents` of everything that was made."""
    results = tree.root / "results"
    folders = [
        *results.glob("artifacts/*/*-*"), *results.glob("tiny/*/tiny-*")
    ]  # fmt: skip
    return {
        str(folder.relative_to(results)): {
            name: content for name, content in contents(folder).items() if name != "costs.csv"
        }
        for folder in folders
        if folder.is_dir()
    }


def one_line(said: subprocess.CompletedProcess[str]) -> str:
    """The only complaint of a run that ended badly, without a traceback."""
    assert said.returncode not in (0, None), said.stdout + said.stderr
    assert "Traceback" not in said.stderr + said.stdout, said.stderr
    complaints = [line for line in said.stderr.splitlines() if "error:" in line]
    assert len(complaints) == 1, said.stderr
    return complaints[0]


def training(tree: Tree, name: str, epochs: int = 3, **settings: Any) -> list[str]:
    """The command of a training of the reasoning arm, each step in several passes."""
    folder = nodes(tree, "classifier")["reason_label-seed1"]
    params = sealed(folder)["params"]
    return again(
        tree, folder, name, {"checkpoint_steps": EVERY} | settings,
        recipe=params["recipe"] | {"epochs": epochs},
        compute=params["compute"] | {"micro_tokens": 128},
    )  # fmt: skip


def generation(tree: Tree, name: str) -> list[str]:
    """The command of drawing a reasoning for each text, ten at a time."""
    return again(tree, nodes(tree, "reasonings")["scratch"], name, batch_rows=10)
