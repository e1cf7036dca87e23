"""What a resumed training restores: weights, optimizer state, and what happened so far.

Random numbers and learning rates are not among it: both follow from the seed and the step.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from infuse.core.files import read_json, settle, write_json
from infuse.core.manifest import seal, whole
from infuse.training.optimizers import restore, state_of
from infuse.training.ranks import ALONE, Ranks
from infuse.training.sharding import kept, like
from infuse.training.tracking import Watch

log = logging.getLogger("infuse")


@dataclass
class History:
    """What happened: one entry for each step, one for each evaluation."""

    steps: list[dict[str, float]] = field(default_factory=list)
    evaluations: list[dict[str, float]] = field(default_factory=list)

    @property
    def evaluated(self) -> set[float]:
        """The steps after which there was an evaluation."""
        return {entry["step"] for entry in self.evaluations}

    def replay(self, watch: Watch) -> None:
        """Tell all of it, in the order in which it happened."""
        entries = [*self.steps]
        entries += [
            {"step": entry["step"], "validation_loss": entry["loss"]} for entry in self.evaluations
        ]
        for entry in sorted(entries, key=lambda entry: entry["step"]):
            watch(int(entry["step"]), {name: entry[name] for name in entry if name != "step"})


@dataclass(frozen=True)
class Checkpoints:
    """The last two saved states of a run: trained weights, optimizer state, history."""

    work: Path
    trained: Mapping[str, torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    ranks: Ranks = ALONE

    def save(self, step: int, history: History) -> None:
        """Write the state under a temporary name, then let it replace the one before the last.

        The first rank writes; the others wait.
        """
        tensors = {f"weight.{name}": kept(weight.detach()) for name, weight in self.trained.items()}
        for name, weight in self.trained.items():
            for part, value in state_of(self.optimizer, weight).items():
                tensors[f"{part}.{name}"] = kept(value)
        if self.ranks.rank == 0:
            self._write(step, history, tensors)
        self.ranks.any(False)

    def _write(self, step: int, history: History, tensors: Mapping[str, torch.Tensor]) -> None:
        unfinished = self.work / "checkpoint.part"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        save_file({name: value.contiguous() for name, value in tensors.items()},
                  unfinished / "state.safetensors")  # fmt: skip
        write_json(unfinished / "history.json", asdict(history))
        seal(unfinished, {"step": step})
        settle(unfinished, self._folder(step))
        for other in self._saved()[:-2]:
            shutil.rmtree(self._folder(other))

    def restore(self) -> tuple[int, History]:
        """Put the newest whole state back; give the number of steps it holds, and its history."""
        for step in reversed(self._saved()):
            folder = self._folder(step)
            if not whole(folder, "an earlier state is taken"):
                continue
            with safe_open(folder / "state.safetensors", "pt") as tensors:
                keys = [key.partition(".") for key in tensors.keys()]  # noqa: SIM118, no mapping
                for name, weight in self.trained.items():  # of which one is whole at a time
                    ours = {part: f"{part}.{name}" for part, _, of in keys if of == name}
                    state = {part: tensors.get_tensor(key) for part, key in ours.items()}
                    with torch.no_grad():
                        weight.copy_(like(state.pop("weight"), weight))
                    restore(self.optimizer, weight, state)
            log.info("resumed after step %d", step)
            return step, History(**read_json(folder / "history.json"))
        return 0, History()

    def _folder(self, step: int) -> Path:
        return self.work / f"checkpoint-{step}"

    def _saved(self) -> list[int]:
        """The steps of all checkpoints, in order."""
        names = (re.fullmatch(r"checkpoint-(\d+)", path.name) for path in self.work.glob("*"))
        return sorted(int(name[1]) for name in names if name)
