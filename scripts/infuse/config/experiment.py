"""The shape of an experiment: typed sections, defaults from `config.yaml`, every error at once.

An experiment file holds only what differs from `config.yaml`. Mappings merge key by key, except
`arms` and a mapping that names another `kind`, which replace the default's as a whole. Of several
files, each is laid over what those before it made, by the same rule.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator

from infuse.config import yaml_text
from infuse.config.arms import Arm, HeldOut, LogitLens, Regimes
from infuse.config.base import Folder, Gguf, HubModel, Scratch
from infuse.config.compute import Compute, Distributed, Tracker
from infuse.config.conversations import Conversations, GeneratedTalk
from infuse.config.endpoints import Endpoint, ZeroShot
from infuse.config.judging import AskedJudge, Judging
from infuse.config.messages import NAME, explain, nearest, refusal, shown, unwritable
from infuse.config.reasonings import Asked, Column, Reasons, Written
from infuse.config.recipe import fit
from infuse.config.stages import Classifier, Prediction, Reasoner
from infuse.config.task import GeneratedTask, Judged, Task, TwoHop
from infuse.config.triples import Triples
from infuse.config.values import DIFFERENT, Name, PositiveInt, Section, Seed
from infuse.core.errors import UserError, first_line
from infuse.core.gpu_models import GpuName
from infuse.data.targets import ZERO_SHOT

DEFAULTS = Path(__file__).parents[3] / "config.yaml"
LONGEST = 100  # characters of an experiment's name, which is a folder's, and begins others
# What stands in results/ beside the experiments.
TAKEN = ("answers", "artifacts", "benchmarks", "logs", "specs", "trackers", "unfinished")


class Experiment(Section):
    """A whole experiment."""

    experiment: Name
    conversations: Conversations | None
    endpoints: dict[Name, Endpoint]
    judging: Judging | None
    task: Task
    triples: Triples | None
    base: Annotated[Scratch | HubModel | Folder | Gguf, Field(discriminator="kind")]
    date_string: str
    reasoner: Reasoner
    other_reasonings: dict[Name, Reasons]
    arms: Annotated[dict[Name, Arm], Field(min_length=1)]
    comparisons: list[Annotated[list[Name], Field(min_length=2, max_length=2)]] | None
    regimes: Regimes | None
    held_out: HeldOut | None
    logit_lens: LogitLens
    controls: Annotated[list[str], DIFFERENT]
    expected: Literal["gain", "none"] | None
    reasonings: Reasons
    classifier: Classifier
    seeds: Annotated[list[Seed], Field(min_length=1), DIFFERENT]
    prediction: Prediction
    zero_shot: ZeroShot | None
    backend: Literal["transformers", "vllm"]
    gpu: GpuName | None
    gpu_price: Annotated[float, Field(ge=0)] | None
    shards: Annotated[int, Field(gt=0, le=256)]
    compute: Compute
    distributed: Distributed
    checkpoint_steps: PositiveInt
    trackers: Annotated[list[Tracker], DIFFERENT]

    def reasons(self, source: str) -> Any:
        """The section `reasonings`, by that name, or one of `other_reasonings`."""
        return self.other_reasonings.get(source, self.reasonings)

    @field_validator("experiment")
    @classmethod
    def _folder_is_free(cls, name: str) -> str:
        if name.casefold() in TAKEN:  # some disks take both for one
            raise ValueError(f": expected another name, results/{name} is taken")
        if len(name) > LONGEST:
            raise ValueError(f": expected at most {LONGEST} characters, found {len(name)}")
        return name

    @field_validator("judging")
    @classmethod
    def _judges_can_be_had(cls, judging: Judging | None, info: ValidationInfo) -> Judging | None:
        endpoints, talk = info.data.get("endpoints"), info.data.get("conversations")
        if judging is None or endpoints is None:
            return judging
        for name, judge in judging.judges.items():
            if isinstance(judge, AskedJudge):
                _known(judge.endpoint, list(endpoints), f".judges.{name}.endpoint", _AN_ENDPOINT)
            elif talk and not all(
                isinstance(pairs.source, GeneratedTalk) for pairs in talk.sources.values()
            ):
                raise ValueError(f".judges.{name}: only generated conversations can be simulated")
        if judging.merger is not None:
            _known(judging.merger, list(endpoints), ".merger", _AN_ENDPOINT)
        return judging

    @field_validator("task")
    @classmethod
    def _ratings_can_be_had(cls, task: Task, info: ValidationInfo) -> Task:
        if not isinstance(task.source, Judged):
            return task
        for section in ("conversations", "judging"):
            if section in info.data and info.data[section] is None:
                raise ValueError(f".source.kind: judges need the section {section}, which is null")
        return task

    @field_validator("held_out")
    @classmethod
    def _parts_exist(cls, held: HeldOut | None, info: ValidationInfo) -> HeldOut | None:
        task, arms = info.data.get("task"), info.data.get("arms")
        if held is None or task is None or arms is None:
            return held
        if task.scale is None:
            raise ValueError(": expected null, since the task has no scale (task.scale)")
        _are_arms(held.arms, arms)
        column = "source" if held.folds is None else "cluster"
        talk = info.data.get("conversations")
        if not isinstance(task.source, Judged):
            if getattr(task.columns, column) is None:
                raise ValueError(f": expected the column's name in task.columns.{column}")
        elif talk is not None:
            for index, names in enumerate(held.sources or ()):
                for name in names:
                    where = "one of conversations.sources"
                    _known(name, list(talk.sources), f".sources[{index}]", where)
        return held

    @field_validator("logit_lens")
    @classmethod
    def _arms_have_layers(cls, logit_lens: LogitLens, info: ValidationInfo) -> LogitLens:
        arms = info.data.get("arms")
        if arms is None:
            return logit_lens
        _are_arms(logit_lens.arms or (), arms)
        for index, name in enumerate(logit_lens.arms or ()):
            if not arms[name].one_answer:
                found = f"{name!r} {'votes' if arms[name].vote else 'has a linear head'}"
                raise ValueError(f".arms[{index}]: expected an arm that writes once, {found}")
        return logit_lens

    @field_validator("reasoner", "classifier")
    @classmethod
    def _length_fits(cls, section: Any, info: ValidationInfo) -> Any:
        base = info.data.get("base")
        if isinstance(base, Scratch):
            fit(section.recipe, base.positions, ".recipe")
        return section

    @field_validator("compute", "distributed")
    @classmethod
    def _recipes_can_be_computed(cls, section: Any, info: ValidationInfo) -> Any:
        parts = (info.data.get(name) for name in ("base", "reasoner", "classifier"))
        recipes = (getattr(part, "recipe", getattr(part, "pretraining", None)) for part in parts)
        section.suit([recipe for recipe in recipes if recipe is not None])
        return section

    @field_validator("compute")
    @classmethod
    def _gpu_computes(cls, compute: Compute, info: ValidationInfo) -> Compute:
        if info.data.get("gpu") and (compute.device, compute.dtype) != ("cuda", "bfloat16"):
            raise ValueError(": expected device cuda and dtype bfloat16, since a gpu is named")
        return compute

    @field_validator("reasonings")
    @classmethod
    def _reasonings_have_a_source(cls, section: Any, info: ValidationInfo) -> Any:
        arms = info.data.get("arms")
        if arms is not None and not any(arm.reasoned and not arm.reasons for arm in arms.values()):
            return section
        _sourced(section, info.data, "")
        return section

    @field_validator("other_reasonings")
    @classmethod
    def _reasons_exist(cls, others: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "reasonings" in others:
            raise ValueError(".reasonings: expected another name, this one is taken")
        for name, section in others.items():
            _sourced(section, info.data, f".{name}")
            _reachable(section, info.data, f".{name}")
        return others

    @field_validator("reasonings", "zero_shot")
    @classmethod
    def _endpoint_exists(cls, section: Any, info: ValidationInfo) -> Any:
        _reachable(section, info.data, "")
        return section

    @field_validator("arms")
    @classmethod
    def _arms_fit_each_other(cls, arms: dict[str, Arm], info: ValidationInfo) -> dict[str, Arm]:
        mistakes = [f".{ZERO_SHOT}: expected another name, this one is taken"] * (ZERO_SHOT in arms)
        sources = info.data.get("other_reasonings")
        for name, arm in arms.items():
            if arm.reasons and sources is not None and arm.reasons not in sources:
                near = nearest(arm.reasons, list(sources))
                expected = "expected one of other_reasonings"
                mistakes.append(f".{name}.reasons: {expected}, found {arm.reasons!r}{near}")
            for what, wanted in (arm.match.model_dump(exclude={"by"}) if arm.match else {}).items():
                if wanted is not None:
                    mistakes += _unmatched(f".{name}.match.{what}", name, wanted, arms)
        if mistakes:
            raise ValueError("\n".join(mistakes))
        return arms

    @field_validator("comparisons")
    @classmethod
    def _compared_arms_exist(
        cls, pairs: list[list[str]] | None, info: ValidationInfo
    ) -> list[list[str]] | None:
        arms = info.data.get("arms")
        mistakes = []
        for index, pair in enumerate(pairs or ()):
            for place, name in enumerate(pair):
                if arms is not None and name not in arms:
                    mistakes.append(_no_arm(f"[{index}][{place}]", name, arms))
            if pair[0] == pair[1]:
                mistakes.append(f"[{index}]: expected two different arms, found {pair[0]!r} twice")
            elif set(pair) in map(set, (pairs or [])[:index]):
                mistakes.append(f"[{index}]: these two arms are compared already")
        if mistakes:
            raise ValueError("\n".join(mistakes))
        return pairs

    @field_validator("regimes")
    @classmethod
    def _regimes_have_arms(cls, regimes: Regimes | None, info: ValidationInfo) -> Regimes | None:
        arms = info.data.get("arms")
        if regimes is not None and arms is not None:
            _are_arms(regimes.arms or (), arms)
        return regimes


_AN_ENDPOINT = "one of endpoints"


def _unmatched(where: str, name: str, wanted: str, arms: Mapping[str, Arm]) -> list[str]:
    """Why an arm can't take over something of the arm `wanted`, if it can't."""
    if wanted == name:
        return [f"{where}: expected another arm than {name!r} itself"]
    if wanted not in arms:
        return [_no_arm(where, wanted, arms)]
    if arms[wanted].match is not None:
        return [f"{where}: expected an arm without a match, found {wanted!r}"]
    return []


def _no_arm(where: str, name: str, arms: Mapping[str, Arm]) -> str:
    return f"{where}: expected the name of an arm, found {name!r}{nearest(name, list(arms))}"


def _are_arms(names: Iterable[str], arms: Mapping[str, Arm]) -> None:
    mistakes = [
        _no_arm(f".arms[{index}]", name, arms)
        for index, name in enumerate(names)
        if name not in arms
    ]
    if mistakes:
        raise ValueError("\n".join(mistakes))


def _sourced(section: Any, known: Mapping[str, Any], below: str) -> None:
    """Refuse a source of reasonings that lacks what it is made of."""
    task = known.get("task")
    if isinstance(section, Written) and known.get("triples", ...) is None:
        raise ValueError(f"{below}.kind: a reasoner learns from triples, and those are null")
    if isinstance(section, Column) and task and not isinstance(task.source, TwoHop | Judged):
        if isinstance(task.source, GeneratedTask):
            raise ValueError(f"{below}.kind: generated texts have no column of reasonings")
        if task.columns.reasoning is None:
            raise ValueError(f"{below}.kind: expected the column's name in task.columns.reasoning")


def _reachable(section: Any, known: Mapping[str, Any], below: str) -> None:
    """Refuse a section that asks an endpoint which is not there."""
    endpoints = known.get("endpoints")
    if isinstance(section, Asked | ZeroShot) and endpoints is not None:
        _known(section.endpoint, list(endpoints), f"{below}.endpoint", _AN_ENDPOINT)


def _known(name: str, names: list[str], below: str, expected: str) -> None:
    if name not in names:
        # What is no name may be an address with a key in it.
        shown = repr(name) if re.fullmatch(NAME, name) else "a text that is no name"
        near = nearest(name, names) or f" (there are: {', '.join(names) or 'none'})"
        raise ValueError(f"{below}: expected {expected}, found {shown}{near}")


def merge(default: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`default` with `change` laid over it, by the rule that the module's docstring states."""
    merged = dict(default)
    for key, value in change.items():
        old = merged.get(key)
        if (
            isinstance(old, Mapping)
            and isinstance(value, Mapping)
            and key != "arms"
            and value.get("kind", old.get("kind")) == old.get("kind")
        ):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def read_change(path: Path) -> dict[str, Any]:
    """The content of an experiment file.

    Raises:
        UserError: it can't be read, or is no mapping.
    """
    try:
        change = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as failure:
        raise UserError(f"{path}: not a readable config ({first_line(failure)})") from None
    if not isinstance(change, dict):
        raise UserError(f"{path}: expected a mapping")
    yaml_text.check([path])
    return change


def load(*changes: Mapping[str, Any]) -> Experiment:
    """The experiment that changes make of the default, one laid over the other.

    Raises:
        UserError: every error found, one line each.
    """
    for change in changes:
        if not isinstance(change, Mapping):
            return validate(change)
    return validate(functools.reduce(merge, changes, _defaults()))


@functools.cache
def _defaults() -> Mapping[str, Any]:
    return read_mapping(DEFAULTS)


def read_mapping(path: Path) -> Mapping[str, Any]:
    """The content of a YAML file of the workflow's own.

    Raises:
        UserError: it can't be read, or is no mapping.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as damage:
        line = damage.problem_mark.line + 1 if damage.problem_mark else "?"
        raise refusal([f"{path.name}, line {line}: not YAML ({damage.problem})"]) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as damage:
        raise refusal([f"{path.name}: not readable ({first_line(damage)})"]) from None
    if not isinstance(tree, Mapping):
        raise refusal([f"{path.name}: expected a mapping, found {shown(tree)}"])
    yaml_text.check([path])
    return tree


def validate(tree: Any) -> Experiment:
    """The experiment that a whole config describes.

    Raises:
        UserError: every error found, one line each.
    """
    if halves := list(unwritable(tree)):
        raise refusal(halves)
    try:
        return Experiment.model_validate(tree)
    except ValidationError as invalid:
        raise refusal(
            line for error in invalid.errors() for line in explain(error, Experiment)
        ) from None


def schema() -> str:
    """The JSON schema of an experiment file, for editors.

    No key is required there, except in `arms`, which replace the default's. So a section without
    its `kind` may fit several.
    """
    tree = Experiment.model_json_schema()
    for section in (tree, *tree["$defs"].values()):
        if section["title"] not in ("Arm", "Match", "Vote"):
            section.pop("required", None)
    return json.dumps(tree, indent=1, sort_keys=True).replace('"oneOf":', '"anyOf":') + "\n"
