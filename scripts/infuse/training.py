"""The training engine: one loop for CPU and GPU, for full weights and adapters, that resumes.

The loss of a step is the mean cross-entropy over all target tokens of the step's rows, however the
rows are laid out: padded on the right, or packed into one sequence with restarting positions, where
attention is cut at each restart. Both are exact; which is faster depends on the chip.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers.modeling_utils import PreTrainedModel

from infuse.batching import Rows, micro_batches
from infuse.documents import Documents
from infuse.errors import UserError
from infuse.files import read_json, settle, write_json
from infuse.integrity import check, seal
from infuse.interruption import held
from infuse.models import backbone
from infuse.stage import Progress
from infuse.tracking import Watch, nobody

log = logging.getLogger("infuse")


@dataclass
class History:
    """What happened: one entry for each step, one for each evaluation."""

    steps: list[dict[str, float]] = field(default_factory=list)
    evaluations: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Engine:
    """A model with the arithmetic it runs under.

    Attributes:
        compute: device, dtype (of the matrix products; weights stay float32), layout and
            micro_tokens, the most tokens of one forward pass.
        label_weight: the share of the loss that falls on the labels' tokens; None: that of these
            tokens among all.
    """

    model: PreTrainedModel
    compute: Mapping[str, Any]
    label_weight: float | None = None

    def loss_sum(
        self, documents: Documents, rows: Rows, weights: tuple[float, float] | None = None
    ) -> torch.Tensor:
        """Sum of the cross-entropy in nats over the target tokens of `rows`, in one pass.

        Args:
            weights: of each token of a label, and of each other; None: 1.
        """
        lengths, starts = documents.lengths[rows], documents.starts[rows]
        if self.compute["layout"] == "padded":
            width = int(lengths.max())
            inputs = np.zeros((len(rows), width), np.int64)
            for line, row in enumerate(rows):
                inputs[line, : lengths[line]] = documents[row]
            # Causal attention never looks right, so padding there needs no mask.
            positions = None
            begins = np.arange(len(rows)) * width
        else:
            inputs = np.concatenate([documents[row] for row in rows])[None].astype(np.int64)
            # Positions that restart tell transformers where a document ends, but only while
            # neither mask nor cache is given.
            positions = self._tensor(
                np.concatenate([np.arange(length) for length in lengths])[None]
            )
            begins = np.cumsum(lengths) - lengths
        # The state at a token predicts the next, so targets are read one place earlier.
        wanted = np.concatenate(
            [
                np.arange(begin + start, begin + length)
                for begin, start, length in zip(begins, starts, lengths, strict=True)
            ]
        )
        decoder, head = backbone(self.model)
        tokens = self._tensor(inputs)
        with self._autocast():
            states = decoder(
                input_ids=tokens, position_ids=positions, use_cache=False
            ).last_hidden_state
            states = states.flatten(0, 1)[self._tensor(wanted - 1)]
            logits = head(states)
        targets = tokens.flatten()[self._tensor(wanted)]
        if weights is None:
            return functional.cross_entropy(logits.float(), targets, reduction="sum")
        of_labels = np.concatenate([documents.is_label(row) for row in rows])
        losses = functional.cross_entropy(logits.float(), targets, reduction="none")
        return losses @ self._tensor(np.where(of_labels, *weights)).to(losses.dtype)

    def weights(self, documents: Documents, rows: Rows) -> tuple[float, float] | None:
        """The weights for `loss_sum` by which a step's labels have `label_weight` of its loss."""
        if self.label_weight is None:
            return None
        every, labels = (
            int(count[rows].sum()) for count in (documents.supervised, documents.label_tokens)
        )
        return self.label_weight * every / labels, (1 - self.label_weight) * every / (
            every - labels
        )

    def passes(self, documents: Documents, rows: Rows) -> list[Rows]:
        """The forward passes that `rows` take."""
        return micro_batches(
            documents.lengths,
            rows,
            self.compute["micro_tokens"],
            self.compute["layout"] == "padded",
        )

    @torch.no_grad()
    def evaluate(self, documents: Documents) -> float:
        """Mean cross-entropy in nats over all target tokens."""
        self.model.eval()
        every = np.arange(len(documents))
        total = sum(self.loss_sum(documents, part).item() for part in self.passes(documents, every))
        self.model.train()
        return total / int(documents.supervised.sum())

    def _tensor(self, values: np.ndarray[Any, Any]) -> torch.Tensor:
        return torch.from_numpy(values).to(self.model.device)

    def _autocast(self) -> torch.autocast:
        dtype = getattr(torch, self.compute["dtype"])
        return torch.autocast(self.model.device.type, dtype, enabled=dtype != torch.float32)


def learning_rate(step: int, total: int, recipe: Mapping[str, Any]) -> float:
    """The rate of step 0, 1, ..., total - 1: linear warm-up from 0, then the schedule down to 0.

    Equal to the schedules of transformers' `get_scheduler`: the first warm-up step has rate 0.
    """
    peak, warmup = recipe["learning_rate"], recipe["warmup_steps"]
    if step < warmup:
        return float(peak * step / warmup)
    passed = (step - warmup) / max(1, total - warmup)
    match recipe["schedule"]:
        case "constant":
            share = 1.0
        case "linear":
            share = 1.0 - passed
        case _:
            share = 0.5 * (1.0 + float(np.cos(np.pi * passed)))
    return float(peak * share)


def train(
    engine: Engine,
    documents: Documents,
    validation: Documents | None,
    steps: Sequence[Rows],
    recipe: Mapping[str, Any],
    seed: int,
    work: Path,
    checkpoint_steps: int,
    watch: Watch = nobody,
) -> History:
    """Take `steps`, from the last checkpoint in `work` where there is one.

    `watch` is told what `History` records, without its step, as it happens.

    A run that was killed and taken up again ends with the same bytes as an undisturbed one: a
    step depends on the weights, the optimizer's state, its rows and (seed, step) alone.

    Raises:
        Stopped: a signal came; the state is saved.
        UserError: a loss or gradient is not finite, or a step has no target token; the rows of the
            source are named.
    """
    model = engine.model
    model.train()
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    optimizer = torch.optim.AdamW(
        trained.values(), lr=0.0, weight_decay=recipe["weight_decay"], fused=True
    )
    state = _Checkpoints(work, trained, optimizer)
    first, history = state.restore()
    due = _evaluation_steps(len(steps), recipe)
    progress = Progress(len(steps), "steps", first)
    with held() as asked_to_stop:
        for step in range(first, len(steps)):
            rows = steps[step]
            rate = learning_rate(step, len(steps), recipe)
            for group in optimizer.param_groups:
                group["lr"] = rate
            torch.manual_seed(seed * 1_000_003 + step)
            loss, norm = _step(engine, documents, rows, recipe["max_grad_norm"], trained, step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            values = {
                "loss": loss,
                "learning_rate": rate,
                "grad_norm": norm,
                "rows": len(rows),
                "tokens": int(documents.lengths[rows].sum()),
                "supervised_tokens": int(documents.supervised[rows].sum()),
            }
            history.steps.append({"step": step + 1} | values)
            watch(step + 1, values)
            if validation is not None and step + 1 in due:
                held_out = engine.evaluate(validation)
                history.evaluations.append({"step": step + 1, "loss": held_out})
                watch(step + 1, {"validation_loss": held_out})
                log.info("step %d: validation loss %.4f", step + 1, held_out)
            progress.advance(1, f"loss {loss:.3f}")
            stop = asked_to_stop()
            if stop or ((step + 1) % checkpoint_steps == 0 and step + 1 < len(steps)):
                state.save(step + 1, history)
            if stop:
                break
    model.eval()
    return history


def _step(
    engine: Engine,
    documents: Documents,
    rows: Rows,
    max_norm: float,
    trained: Mapping[str, torch.nn.Parameter],
    step: int,
) -> tuple[float, float]:
    """Leave the step's clipped gradients on the weights; give mean loss and gradient norm."""
    supervised = int(documents.supervised[rows].sum())
    where = f"step {step + 1} (rows {_some(documents.rows[rows])})"
    if supervised == 0:
        raise UserError(f"{where}: no token bears loss")
    total, weights = 0.0, engine.weights(documents, rows)
    for part in engine.passes(documents, rows):
        loss = engine.loss_sum(documents, part, weights) / supervised
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    norm = torch.nn.utils.clip_grad_norm_(trained.values(), max_norm).item()
    if not (np.isfinite(total) and np.isfinite(norm)):
        raise UserError(f"{where}: loss {total}, gradient norm {norm}; lower the learning rate")
    return total, norm


def _evaluation_steps(total: int, recipe: Mapping[str, Any]) -> set[int]:
    count = recipe["epochs"] * recipe["evaluations_per_epoch"]
    return {total * (index + 1) // count for index in range(count)}


def _some(rows: Rows) -> str:
    shown = ", ".join(map(str, sorted(rows.tolist())[:8]))
    return shown + (f", ... {len(rows)} in all" if len(rows) > 8 else "")


@dataclass(frozen=True)
class _Checkpoints:
    """The last two saved states of a run: trained weights, optimizer state, history."""

    work: Path
    trained: Mapping[str, torch.nn.Parameter]
    optimizer: torch.optim.Optimizer

    def save(self, step: int, history: History) -> None:
        """Write the state under a temporary name, then let it replace the one before the last."""
        unfinished = self.work / "checkpoint.part"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        tensors = {f"weight.{name}": weight.detach() for name, weight in self.trained.items()}
        for name, weight in self.trained.items():
            for part, value in self.optimizer.state[weight].items():
                tensors[f"{part}.{name}"] = value
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
            try:
                check(folder)
            except UserError as damage:
                log.warning("%s; an earlier state is taken", damage)
                shutil.rmtree(folder)
                continue
            tensors = load_file(folder / "state.safetensors")
            for name, weight in self.trained.items():
                with torch.no_grad():
                    weight.copy_(tensors[f"weight.{name}"])
                self.optimizer.state[weight] = {
                    # AdamW counts its steps on the CPU unless it is fused on a GPU.
                    part: tensors[f"{part}.{name}"].to(weight.device)
                    for part in ("step", "exp_avg", "exp_avg_sq")
                }
            log.info("resumed after step %d", step)
            return step, History(**read_json(folder / "history.json"))
        return 0, History()

    def _folder(self, step: int) -> Path:
        return self.work / f"checkpoint-{step}"

    def _saved(self) -> list[int]:
        """The steps of all checkpoints, in order."""
        names = (re.fullmatch(r"checkpoint-(\d+)", path.name) for path in self.work.glob("*"))
        return sorted(int(name[1]) for name in names if name)


def account(
    documents: Documents,
    steps: Sequence[Rows],
    recipe: Mapping[str, Any],
    label_weight: float | None = None,
) -> dict[str, float]:
    """What a training took: the budget that a fair comparison must hold equal."""
    visited = np.concatenate(steps)
    supervised = int(documents.supervised[visited].sum())
    return {
        "documents": len(documents),
        "steps": len(steps),
        "sum_of_learning_rates": sum(
            learning_rate(step, len(steps), recipe) for step in range(len(steps))
        ),
        "tokens": int(documents.lengths[visited].sum()),
        "supervised_tokens": supervised,
        "label_share_of_loss": (
            label_weight or int(documents.label_tokens[visited].sum()) / supervised
        ),
    }
