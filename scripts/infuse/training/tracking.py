"""Curves of a training in TensorBoard, Weights & Biases and the other trackers of accelerate."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from infuse.core.errors import UserError
from infuse.training.ranks import ALONE, Ranks

FOLDER = "results/trackers"
Watch = Callable[[int, Mapping[str, float]], None]  # step, and what was measured at it


def nobody(_step: int, _values: Mapping[str, float]) -> None:
    """Watch nothing."""


@contextlib.contextmanager
def watched(
    trackers: Sequence[str], run: str, params: Mapping[str, Any], ranks: Ranks = ALONE
) -> Iterator[Watch]:
    """Where the values of each step and evaluation go: to the trackers that the config names.

    Each process tells all of its training from the first step, so what an earlier one left in
    TensorBoard's folder of the run is removed: no step stands there twice. Other trackers get a
    run of its own.

    Args:
        run: the name of the training.
        params: what the trackers show as its config.
        ranks: of which the first alone tells.

    Raises:
        UserError: the package of a tracker is not installed.
    """
    if not trackers or ranks.rank > 0:
        yield nobody
        return
    from accelerate import Accelerator
    from accelerate.tracking import get_available_trackers

    installed = {tracker.value for tracker in get_available_trackers()}
    for name in trackers:
        if name not in installed:
            raise UserError(f"trackers: the package of {name!r} is not installed")
    shutil.rmtree(Path(FOLDER) / run, ignore_errors=True)
    threads = torch.get_num_threads()
    accelerator = Accelerator(log_with=list(trackers), project_dir=FOLDER, cpu=True)
    torch.set_num_threads(threads)  # with several ranks it has a number of its own
    accelerator.init_trackers(run, config=dict(_flat(params)))
    try:
        yield lambda step, values: accelerator.log(dict(values), step)
    finally:
        for tracker in accelerator.trackers:  # `end_training` would end the ranks' group as well
            tracker.finish()


def _flat(params: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}/")
        else:
            yield f"{above}{name}", value if isinstance(value, int | float) else str(value)
