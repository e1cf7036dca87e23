"""Which arms are compared, and what regimes need of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infuse.config.arms import AnyArm, roles
from infuse.config.experiment import Experiment
from infuse.config.reasonings import Asked, Keywords, Sampling
from infuse.workflow.local_files import reasoning_sources


def arm_params(arms: Mapping[str, AnyArm]) -> dict[str, dict[str, Any]]:
    """Arms as parameters of a stage, by name."""
    return {name: arm.model_dump() for name, arm in arms.items()}


def compared(config: Experiment) -> list[list[str]]:
    """The pairs of arms that are compared, the primary one first.

    Where the config names none: the reasoning arm with the other arms of table 3, first that which
    takes its steps.
    """
    if config.comparisons is not None:
        return config.comparisons
    parts = roles(config.arms)
    others = [parts["Q->A, equal steps"], parts["Q->A"]]
    ours = parts["Q->RA"]
    return [[ours, other] for other in others if ours and other]


def arms_in_regimes(config: Experiment) -> list[str]:
    """The arms that regimes train: those that are named, or compared, or else all."""
    named = config.regimes.arms if config.regimes else None
    return named or [name for pair in compared(config)[:1] for name in pair] or list(config.arms)


def sources_of_true_labels(config: Experiment) -> list[str]:
    """The sources of reasonings that regimes need, and that nobody can write for other labels."""
    arms = {name: config.arms[name] for name in arms_in_regimes(config)}
    return [
        source
        for source in reasoning_sources(arms)
        if not isinstance(config.reasons(source), Sampling | Asked | Keywords)
    ]
