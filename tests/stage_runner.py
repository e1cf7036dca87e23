"""One stage, run in this process on a spec as the workflow would write it."""

from __future__ import annotations

import importlib
import json
import logging
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow.parquet as pq
import pytest

from infuse.config.settings import Settings
from infuse.core.files import write_json
from infuse.core.hashing import fingerprint
from infuse.core.manifest import SEAL, seal
from infuse.core.signals import SIGNALS
from infuse.workflow import job as stages
from infuse.workflow.job import Job
from infuse.workflow.rerun_key import stage_version


@dataclass(frozen=True)
class Outcome:
    """What a run of one stage left.

    Attributes:
        name: how the stage calls itself in messages.
        code: the exit code.
        stderr: what stood on the terminal.
        log: the text of the log file, time stamps included.
        output: the folder of the result; it exists where the stage ended well.
        work: the folder of the state that outlives a kill.
    """

    name: str
    code: int
    stderr: str
    log: str
    output: Path
    work: Path

    @property
    def facts(self) -> dict[str, Any]:
        """What the stage recorded of its result."""
        assert self.code == 0, self.stderr
        facts: dict[str, Any] = json.loads((self.output / "provenance.json").read_text())["facts"]
        return facts

    def rows(self, file: str) -> list[dict[str, Any]]:
        """The rows of one parquet file of the result."""
        assert self.code == 0, self.stderr
        rows: list[dict[str, Any]] = pq.read_table(self.output / file).to_pylist()
        return rows

    @property
    def reason(self) -> str:
        """Why the stage refused: its only complaint, the last line, with no result beside it."""
        complaints = [line for line in self.stderr.splitlines() if "error:" in line]
        assert self.code == 1, self.stderr
        assert complaints == self.stderr.splitlines()[-1:], self.stderr
        assert "Traceback" not in self.stderr + self.log, self.log
        assert complaints[0] in self.name + ": " + self.log.splitlines()[-1].split(" ", 2)[2]
        assert not self.output.exists()
        start = f"{self.name}: error: "
        assert complaints[0].startswith(start), complaints[0]
        return complaints[0].removeprefix(start)


def _seal(folder: Path) -> None:
    """Make a hand-made input look as a stage leaves it."""
    file = folder / SEAL
    provenance = json.loads(file.read_text()) if file.exists() else {}
    if folder.is_dir() and "seal" not in provenance:
        own = {"stage": "none", "name": "none", "key": folder.name, "facts": {}, "cost": {}}
        own["lineage"] = {}
        seal(folder, own | provenance)


def job_of(stage: str, asked: Mapping[str, Any], folder: Path, **inputs: Path) -> Job:
    """The job of a stage that works in a folder and leaves its result there.

    Args:
        asked: `params` and `settings`.
    """
    settings = Settings.model_validate(asked["settings"])
    return Job(stage, asked["params"], settings, inputs, work=folder, out=folder)


class RunStage(Protocol):
    """The type of the fixture `run_stage`."""

    def __call__(
        self,
        stage: str,
        params: Mapping[str, Any],
        inputs: Mapping[str, Path] | None = None,
        settings: Mapping[str, Any] | None = None,
        name: str = "test",
    ) -> Outcome:
        """Run `scripts/<stage>.py` and tell what it left."""


def runner(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> RunStage:
    """A `run_stage` that works under `root`."""
    logger = logging.getLogger("infuse")

    def run_stage(
        stage: str,
        params: Mapping[str, Any],
        inputs: Mapping[str, Path] | None = None,
        settings: Mapping[str, Any] | None = None,
        name: str = "test",
    ) -> Outcome:
        input_paths = {role: str(path) for role, path in (inputs or {}).items()}
        for path in input_paths.values():
            _seal(Path(path))
        key = fingerprint([stage, params, input_paths])
        output, work = (root / part / f"{stage}-{name}-{key}" for part in ("artifacts", "work"))
        spec, log = root / "specs" / f"{stage}-{name}.json", root / "logs" / f"{stage}-{name}.log"
        write_json(
            spec,
            {
                "stage": stage, "name": f"{stage} {name}", "key": key,
                "version": stage_version(stage), "params": params, "settings": settings or {},
                "inputs": input_paths, "output": str(output), "work": str(work),
            },
        )  # fmt: skip
        monkeypatch.setattr(sys, "argv", [f"scripts/{stage}.py", str(spec), "--log", str(log)])
        function = getattr(importlib.import_module(stage), stage)
        before, code = list(logger.handlers), 0
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        capsys.readouterr()
        try:
            stages.run(function)
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            for handler in set(logger.handlers) - set(before):
                logger.removeHandler(handler)
                handler.close()
            for number, handled in handlers.items():
                signal.signal(number, handled)
        said = capsys.readouterr().err
        return Outcome(f"{stage} {name}", code, said, log.read_text(), output, work)

    return run_stage
