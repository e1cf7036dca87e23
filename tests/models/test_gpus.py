"""GPUs: each job has its own, and what is not here is refused before anything runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import tiny
from infuse.core.errors import UserError
from infuse.models import gpus
from trees import ROOT, Tree, environment

CLAIM = """
import os, sys
from pathlib import Path
from infuse.models import gpus
from infuse.core.errors import UserError
try:
    gpus.claim(Path(sys.argv[1]))
    print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
except UserError as mistake:
    print(mistake, flush=True)
sys.stdin.read()
"""


class Machine:
    """A machine with so many GPUs, as `nvidia-smi` tells, and jobs on it."""

    def __init__(self, folder: Path, gpus: int) -> None:
        self.folder, self.jobs = folder, list[subprocess.Popen[str]]()
        tool = folder / "bin/nvidia-smi"
        tool.parent.mkdir()
        tool.write_text(f"#!/bin/sh\nseq 0 {gpus - 1}\n" if gpus else "#!/bin/sh\nexit 9\n")
        tool.chmod(0o755)

    def job(self, **own: str) -> str:
        """Start a job that claims a GPU and stays; what it has, or is told."""
        variables = {name: v for name, v in environment().items() if name != "CUDA_VISIBLE_DEVICES"}
        paths = {"PATH": f"{self.folder / 'bin'}{os.pathsep}{variables['PATH']}"}
        started = subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(self.folder / "slots")], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=variables | paths | {"PYTHONPATH": str(ROOT / "scripts")} | own,
        )  # fmt: skip
        self.jobs.append(started)
        assert started.stdout is not None
        return started.stdout.readline().strip()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    host = Machine(tmp_path, 3)
    yield host
    for job in host.jobs:
        job.kill()
        job.communicate()


def test_each_job_has_a_gpu_of_its_own(machine: Machine) -> None:
    assert sorted(machine.job() for _ in range(3)) == ["0", "1", "2"]
    assert machine.job() == "all 3 GPUs are taken: start with --resources gpu=3"
    machine.jobs[1].send_signal(signal.SIGKILL)
    machine.jobs[1].wait()
    assert machine.job() == "1"


def test_what_a_scheduler_gave_is_kept(machine: Machine) -> None:
    assert machine.job(CUDA_VISIBLE_DEVICES="2") == "2"
    assert machine.job(CUDA_VISIBLE_DEVICES="GPU-5e, 7") == "GPU-5e"
    assert machine.job(CUDA_VISIBLE_DEVICES="GPU-5e, 7") == "7"


def test_without_gpus_nothing_is_claimed(tmp_path: Path) -> None:
    host = Machine(tmp_path, 0)
    assert host.job() == "None"
    host.jobs[0].communicate()


def test_a_chip_without_bfloat16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    gpus.require(tiny.COMPUTE)
    with pytest.raises(UserError, match="bfloat16, but Tesla T4 has none; expected float32"):
        gpus.require(tiny.COMPUTE | {"dtype": "bfloat16"})


def test_a_run_without_its_gpu_does_not_start(built: Tree) -> None:
    """But what needs none does."""
    cuda = {"compute": {"device": "cuda"}}
    said = built.run("results/table3.csv", **cuda)
    assert said.returncode == 1
    assert "compute.device: cuda, but torch finds no GPU here" in said.stdout + said.stderr
    assert "Traceback" not in said.stdout + said.stderr
    assert not list((built.root / "results/unfinished").iterdir())
    assert built.run("--until", "task", "--", "results/table3.csv", **cuda).returncode == 0
