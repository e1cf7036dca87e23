"""Curves of a training in TensorBoard, Weights & Biases and the other trackers of accelerate."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from infuse.errors import UserError
from infuse.stage import Job

FOLDER = "results/trackers"
Watch = Callable[[int, Mapping[str, float]], None]  # step, and what was measured at it


def nobody(_step: int, _values: Mapping[str, float]) -> None:
    """Watch nothing."""


@contextlib.contextmanager
def watched(job: Job) -> Iterator[Watch]:
    """Where the values of each step and evaluation go: to the trackers that the config names.

    Raises:
        UserError: the package of a tracker is not installed.
    """
    names = job.settings["trackers"]
    if not names:
        yield nobody
        return
    from accelerate import Accelerator
    from accelerate.tracking import get_available_trackers

    installed = {tracker.value for tracker in get_available_trackers()}
    for name in names:
        if name not in installed:
            raise UserError(f"trackers: the package of {name!r} is not installed")
    accelerator = Accelerator(log_with=names, project_dir=FOLDER, cpu=True)
    accelerator.init_trackers(job.work.name, config=dict(_flat(job.params)))
    try:
        yield lambda step, values: accelerator.log(dict(values), step)
    finally:
        accelerator.end_training()


def _flat(params: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in params.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}/")
        else:
            yield f"{above}{name}", value if isinstance(value, int | float) else str(value)
