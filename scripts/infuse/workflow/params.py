"""Parameters that nodes of several stages share."""

from __future__ import annotations

from typing import Any

from infuse.config.compute import Arithmetic
from infuse.config.experiment import Experiment
from infuse.config.reasonings import Written
from infuse.data.targets import EXPLAINED

WRITING = set(Arithmetic.model_fields)  # of compute, what writing depends on


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


def wishes(config: Experiment) -> dict[str, Any]:
    """What trainings and answers want of the base model, which is checked before they start.

    Returns:
        `chats`, how texts are asked; `separators` of the arms that write; `max_new_tokens` of an
        answer; `max_length` and `modules` of adapters, each place in the config -> value.
    """
    arms = list(config.arms.values())
    reasoned = [arm.reasons or "reasonings" for arm in arms if arm.reasoned]
    recipes = {"classifier.recipe": config.classifier.recipe}
    if any(isinstance(config.reasons(source), Written) for source in reasoned):
        recipes["reasoner.recipe"] = config.reasoner.recipe
    systems = dict.fromkeys(config.task.system if arm.system else "" for arm in arms)
    return {
        "chats": [{"system": system, "date_string": config.date_string} for system in systems],
        "separators": [
            getattr(config.classifier.separators, arm.target) if arm.target in EXPLAINED else ""
            for arm in arms
            if arm.target != "head"
        ],
        "max_new_tokens": config.prediction.max_new_tokens,
        "max_length": {f"{at}.max_length": recipe.max_length for at, recipe in recipes.items()},
        "modules": {
            f"{at}.tuning.modules": getattr(recipe.tuning, "modules", [])
            for at, recipe in recipes.items()
        },
    }


def checks(config: Experiment) -> dict[str, Any]:
    """What a base model is checked against."""
    return {
        "wishes": wishes(config),
        "layout": config.compute.layout,
        "date_string": config.date_string,
    }
