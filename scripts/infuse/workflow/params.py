"""Parameters that nodes of several stages share."""

from __future__ import annotations

from typing import Any

from infuse.config.arms import Arm
from infuse.config.compute import Arithmetic
from infuse.config.experiment import Experiment
from infuse.config.model_params import Chat, TargetForm
from infuse.config.reasonings import Written
from infuse.config.settings import Requirements, Settings
from infuse.data.targets import EXPLAINED

WRITING = set(Arithmetic.model_fields)  # of compute, what writing depends on


def short_name(section: Any) -> str:
    """A short name: the last part of a hub id, or the kind."""
    return str(getattr(section, "id", section.kind)).rsplit("/", 1)[-1]


def endpoint_params(config: Experiment, name: str) -> tuple[dict[str, Any], Settings]:
    """Whose answers they are, which enters the key; and how it is asked, which does not."""
    endpoint = config.endpoints[name]
    own = endpoint.model_dump(include={"url", "model"})
    return own, Settings(endpoint=endpoint, answers="results/answers")


def generation_params(config: Experiment) -> dict[str, Any]:
    """What the arithmetic of writing and scoring depends on."""
    return {
        "backend": config.backend,
        "compute": config.compute.model_dump(include=WRITING),
    }


def training_params(config: Experiment) -> dict[str, Any]:
    """What the arithmetic of training depends on."""
    return {"compute": config.compute.model_dump()}


def base_settings(config: Experiment) -> Settings:
    """What a base model is checked against."""
    return Settings(
        requirements=requirements(config),
        layout=config.compute.layout,
        date_string=config.date_string,
    )


def training_settings(config: Experiment) -> Settings:
    """What a training is told that changes no result."""
    own = {"checkpoint_steps": config.checkpoint_steps, "trackers": config.trackers}
    return base_settings(config) | own | {"distributed": config.distributed}


def target_form(config: Experiment, arm: Arm) -> TargetForm:
    """How an arm is asked and what it answers."""
    system = config.task.system if arm.system else ""
    return TargetForm(
        chat=Chat(system=system, date_string=config.date_string),
        target=arm.target,
        separator=getattr(config.classifier.separators, arm.target, None),
    )


def requirements(config: Experiment) -> Requirements:
    """What all trainings and answers of an experiment need of its base model."""
    arms = list(config.arms.values())
    reasoned = [arm.reasons or "reasonings" for arm in arms if arm.reasoned]
    recipes = {"classifier.recipe": config.classifier.recipe}
    if any(isinstance(config.reasons(source), Written) for source in reasoned):
        recipes["reasoner.recipe"] = config.reasoner.recipe
    unlike = {(arm.target, arm.system): arm for arm in arms}.values()
    return Requirements(
        forms=[target_form(config, arm) for arm in unlike],
        separators=[
            getattr(config.classifier.separators, arm.target) if arm.target in EXPLAINED else ""
            for arm in arms
            if arm.target != "head"
        ],
        max_new_tokens=config.prediction.max_new_tokens,
        max_length={f"{at}.max_length": recipe.max_length for at, recipe in recipes.items()},
        modules={
            f"{at}.tuning.modules": getattr(recipe.tuning, "modules", [])
            for at, recipe in recipes.items()
        },
    )
