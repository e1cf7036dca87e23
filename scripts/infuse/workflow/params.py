"""Parameters that nodes of several stages share."""

from __future__ import annotations

from typing import Any

from infuse.config.experiment import Experiment

WRITING = {"device", "dtype", "threads", "deterministic"}  # of compute, what writing depends on


def short_name(section: Any) -> str:
    """A short name: the last part of a hub id, or the kind."""
    return str(getattr(section, "id", section.kind)).rsplit("/", 1)[-1]


def endpoint_params(config: Experiment, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Whose answers they are, which enters the key; and how it is asked, which does not."""
    section = config.endpoints[name].model_dump()
    return (
        {part: section[part] for part in ("url", "model")},
        {"endpoint": section, "answers": "results/answers"},
    )


def generation_params(config: Experiment) -> dict[str, Any]:
    """What the arithmetic of writing and scoring depends on."""
    return {
        "backend": config.backend,
        "compute": config.compute.model_dump(include=WRITING),
    }


def training_params(config: Experiment) -> dict[str, Any]:
    """What the arithmetic of training depends on."""
    return {"compute": config.compute.model_dump()}


def training_settings(config: Experiment) -> dict[str, Any]:
    """What a training is told that changes no result."""
    return {"checkpoint_steps": config.checkpoint_steps, "trackers": config.trackers}
