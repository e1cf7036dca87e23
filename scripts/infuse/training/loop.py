"""The training loop: one for CPU and GPU, for full weights and adapters, that resumes."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from infuse.config.recipe import Recipe
from infuse.core.errors import UserError, first_line
from infuse.core.progress import Progress
from infuse.core.signals import Deserted, held
from infuse.data.examples import Documents
from infuse.models.gpus import SAVING
from infuse.training.batching import Rows
from infuse.training.checkpoints import Checkpoints, History
from infuse.training.optimizers import new_optimizer
from infuse.training.step import Engine
from infuse.training.tracking import Watch, nobody

log = logging.getLogger("infuse")


def learning_rate(step: int, total: int, recipe: Recipe) -> float:
    """The rate of step 0, 1, ..., total - 1: linear warm-up from 0, then the schedule down to 0.

    Equal to the schedules of transformers' `get_scheduler`: the first warm-up step has rate 0.
    """
    peak, warmup = recipe.learning_rate, recipe.warmup_steps
    if step < warmup:
        return float(peak * step / warmup)
    passed = (step - warmup) / max(1, total - warmup)
    match recipe.schedule:
        case "constant":
            share = 1.0
        case "linear":
            share = 1.0 - passed
        case _:
            share = 0.5 * (1.0 + float(np.cos(np.pi * passed)))
    return float(peak * share)


def short_warmup(steps: int, recipe: Recipe) -> str:
    """What to say of a training that ends before its warm-up does; nothing of another."""
    warmup, peak = recipe.warmup_steps, recipe.learning_rate
    if steps > warmup:
        return ""
    highest = peak * (steps - 1) / warmup
    return (
        f"all {steps} steps lie within the {warmup} of the warm-up: the rate reaches {highest:.2g}"
        f" of {peak:.2g}, and the first step is idle"
    )


def train(
    engine: Engine,
    documents: Documents,
    validation: Documents | None,
    steps: Sequence[Rows],
    recipe: Recipe,
    seed: int,
    work: Path,
    checkpoint_steps: int,
    watch: Watch = nobody,
) -> History:
    """Take `steps`, from the last checkpoint in `work` where there is one.

    `watch` is told what `History` records, without its step, as it happens; of a run that is taken
    up again, first what its checkpoint recorded.

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
    optimizer = new_optimizer(model, recipe)
    ranks = engine.ranks
    state = Checkpoints(work, trained, optimizer, ranks)
    first, history = state.restore()
    if ranks.count > 1:
        ranks.agree(
            torch=torch.__version__, transformers=version("transformers"),
            state=f"after step {first}", documents=_fingerprint(documents),
        )  # fmt: skip
    history.replay(watch)
    if remark := short_warmup(len(steps), recipe):
        log.warning("%s", remark)
    due = _evaluation_steps(len(steps), recipe)
    progress = Progress(len(steps), "steps", first)
    with held() as asked_to_stop:

        def evaluate(step: int) -> None:
            """After so many steps, where that is due and not done; given up if asked to stop."""
            if validation is None or step not in due or step in history.evaluated:
                return
            loss = engine.evaluate(validation, asked_to_stop)
            if loss is not None:
                history.evaluations.append({"step": step, "loss": loss})
                watch(step, {"validation_loss": loss})
                log.info("step %d: validation loss %.4f", step, loss)

        if first:
            evaluate(first)
        for step in range(first, len(steps)):
            rows = steps[step]
            rate = learning_rate(step, len(steps), recipe)
            for group in optimizer.param_groups:
                group["lr"] = rate
            drawn = seed * 1_000_003 + step
            with _enough_memory(engine):
                loss, norm = _step(engine, documents, rows, recipe.max_grad_norm, drawn, step)
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
            evaluate(step + 1)
            progress.advance(1, f"loss {loss:.3f}")
            stop = ranks.any(asked_to_stop())
            if stop or ((step + 1) % checkpoint_steps == 0 and step + 1 < len(steps)):
                state.save(step + 1, history)
            if stop:
                if not asked_to_stop():  # but another rank
                    raise Deserted
                break
    model.eval()
    return history


def _step(
    engine: Engine, documents: Documents, rows: Rows, max_norm: float, seed: int, step: int
) -> tuple[float, float]:
    """What `Engine.step` does and gives, where that can be learned from."""
    where = f"step {step + 1} (rows {_some(documents.rows[rows])})"
    if not documents.supervised[rows].any():
        raise UserError(f"{where}: no token bears loss")
    loss, norm = engine.step(documents, rows, max_norm, seed)
    if not (np.isfinite(loss) and np.isfinite(norm)):
        raise UserError(f"{where}: loss {loss}, gradient norm {norm}; lower the learning rate")
    return loss, norm


@contextmanager
def _enough_memory(engine: Engine) -> Iterator[None]:
    """Name what helps where the GPU's memory does not suffice; the last saved state is kept."""
    try:
        yield
    except torch.OutOfMemoryError as failure:
        helps = SAVING.format(**engine.compute.model_dump())
        raise UserError(f"the GPU's memory is full ({first_line(failure)}): {helps}") from None


def _evaluation_steps(total: int, recipe: Recipe) -> set[int]:
    count = recipe.epochs * recipe.evaluations_per_epoch
    return {total * (index + 1) // count for index in range(count)}


def _fingerprint(documents: Documents) -> str:
    """Eight digits that tell other documents from these."""
    return f"{zlib.crc32(documents.tokens.data, zlib.crc32(documents.offsets.data)):08x}"


def _some(rows: Rows) -> str:
    shown = ", ".join(map(str, sorted(rows.tolist())[:8]))
    return shown + (f", ... {len(rows)} in all" if len(rows) > 8 else "")


def account(
    documents: Documents,
    steps: Sequence[Rows],
    recipe: Recipe,
    label_weight: float | None = None,
) -> dict[str, float]:
    """What a training took: the budget that a fair comparison must hold equal."""
    visited = np.concatenate(steps)
    supervised = int(documents.supervised[visited].sum())
    every = np.array([documents.supervised[rows].sum() for rows in steps])
    labels = np.array([documents.label_tokens[rows].sum() for rows in steps])
    if label_weight is not None:  # but where a step has labels alone, or none (`Engine.weights`)
        labels = np.where((labels > 0) & (labels < every), label_weight * every, labels)
    return {
        "documents": len(documents),
        "steps": len(steps),
        "sum_of_learning_rates": sum(
            learning_rate(step, len(steps), recipe) for step in range(len(steps))
        ),
        "tokens": int(documents.lengths[visited].sum()),
        "supervised_tokens": supervised,
        "label_share_of_loss": float(labels.sum() / supervised),
    }
