"""The shape of an experiment: typed sections, defaults from `config.yaml`, every error at once.

An experiment file holds only what differs from `config.yaml`. Mappings merge key by key, except
`arms` and a mapping that names another `kind`, which replace the default's as a whole.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from infuse.errors import UserError

DEFAULTS = Path(__file__).parents[2] / "config.yaml"

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", description="a full commit hash")]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=0)]
Split = Literal["train", "validation", "test"]


class Section(BaseModel):
    """A part of the config: unknown keys are refused, strings are not turned into numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Hub(Section):
    """A data set on the hub, pinned to a commit."""

    kind: Literal["hub"]
    id: str
    revision: Commit
    config: str | None = None


class GeneratedTask(Section):
    """Diary lines from the workflow's own generator."""

    kind: Literal["generated"]
    train: PositiveInt
    validation: PositiveInt
    test: PositiveInt
    seed: Count


class TaskFiles(Section):
    """One local parquet, jsonl or csv file for each split."""

    kind: Literal["files"]
    train: str
    validation: str
    test: str


class TaskColumns(Section):
    """Which columns hold what; without an `id`, a row's id is its number."""

    text: str
    label: str
    id: str | None = None


class Task(Section):
    """Labelled texts."""

    source: Annotated[GeneratedTask | TaskFiles | Hub, Field(discriminator="kind")]
    columns: TaskColumns
    labels: Annotated[list[str], Field(min_length=2)]
    system: str

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        folded = [label.strip().casefold() for label in self.labels]
        if len(set(folded)) < len(folded):
            raise ValueError("labels must differ, also when case is ignored")
        if not all(folded) or any("\n" in label for label in self.labels):
            raise ValueError("a label is one line of text, not empty")
        return self


class GeneratedTriples(Section):
    """Triples from the workflow's own generator."""

    kind: Literal["generated"]
    rows: PositiveInt
    seed: Count


class TripleFiles(Section):
    """Local parquet, jsonl or csv files, all with the same columns."""

    kind: Literal["files"]
    paths: Annotated[list[str], Field(min_length=1)]


class TripleColumns(Section):
    """Columns of (question, answer, reasoning) triples; `domain` is optional."""

    kind: Literal["triples"]
    question: str
    answer: str
    reasoning: str
    domain: str | None = None


class ChatColumns(Section):
    """A column of chat messages; the reasoning stands in the answer's think tags."""

    kind: Literal["chat"]
    messages: str
    domain: str | None = None


class Triples(Section):
    """What the reasoner learns from."""

    source: Annotated[GeneratedTriples | TripleFiles | Hub, Field(discriminator="kind")]
    columns: Annotated[TripleColumns | ChatColumns, Field(discriminator="kind")]
    train_share: Share
    rows: PositiveInt | None
    max_reasoning_characters: PositiveInt | None


class Rows(Section):
    """A fixed number of rows for each optimizer step."""

    kind: Literal["rows"]
    rows: PositiveInt


class Tokens(Section):
    """Rows are packed into bins; a step takes `bins` of them, so short rows mean few steps."""

    kind: Literal["tokens"]
    bin_tokens: PositiveInt
    bin_rows: PositiveInt
    bins: PositiveInt


class Full(Section):
    """All weights are trained."""

    kind: Literal["full"]


class Lora(Section):
    """Low-rank adapters on the named modules, merged into the weights when training ends."""

    kind: Literal["lora"]
    rank: PositiveInt
    alpha: PositiveFloat
    dropout: Annotated[float, Field(ge=0, lt=1)]
    modules: Annotated[list[str], Field(min_length=1)]


class Recipe(Section):
    """How a model is trained."""

    epochs: PositiveInt
    max_length: Annotated[int, Field(ge=8)]
    batching: Annotated[Rows | Tokens, Field(discriminator="kind")]
    learning_rate: PositiveFloat
    schedule: Literal["cosine", "linear", "constant"]
    warmup_steps: Count
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: PositiveFloat
    evaluations_per_epoch: Count
    tuning: Annotated[Full | Lora, Field(discriminator="kind")]

    @model_validator(mode="after")
    def _document_fits_bin(self) -> Self:
        if isinstance(self.batching, Tokens) and self.batching.bin_tokens < self.max_length:
            raise ValueError("batching.bin_tokens must be at least max_length")
        return self


class Scratch(Section):
    """A tokenizer and a small Llama made by the workflow, pre-trained where a recipe is given."""

    kind: Literal["scratch"]
    vocabulary: Annotated[int, Field(ge=300)]
    hidden_size: PositiveInt
    intermediate_size: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    key_value_heads: PositiveInt
    positions: PositiveInt
    seed: Count
    corpus: list[str]
    pretraining: Recipe | None

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % (2 * self.heads):
            raise ValueError("hidden_size must be a multiple of twice the number of heads")
        if self.heads % self.key_value_heads:
            raise ValueError("heads must be a multiple of key_value_heads")
        return self


class HubModel(Section):
    """A model on the hub, pinned to a commit."""

    kind: Literal["hub"]
    id: str
    revision: Commit


class Folder(Section):
    """A local folder with config, tokenizer and safetensors weights."""

    kind: Literal["folder"]
    path: str


class Reasoner(Section):
    """Stage 1."""

    recipe: Recipe
    seed: Count


class Sampling(Section):
    """How the reasoner writes; temperature 0 is greedy."""

    kind: Literal["reasoner"]
    temperature: Annotated[float, Field(ge=0)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    max_new_tokens: PositiveInt
    batch_rows: PositiveInt
    seed: Count


class ReasoningColumns(Section):
    """Columns of a published set of reasonings; rows are matched on text and label."""

    text: str
    reasoning: str
    label: str


class ImportedFile(Section):
    """Reasonings from a local file, in place of stage 1."""

    kind: Literal["file"]
    path: str
    columns: ReasoningColumns


class ImportedHub(Section):
    """Reasonings from the hub, in place of stage 1."""

    kind: Literal["hub"]
    id: str
    revision: Commit
    config: str | None = None
    columns: ReasoningColumns


class Match(Section):
    """What an arm takes over from another arm."""

    steps: str


class Arm(Section):
    """How a training target is made, and with what budget."""

    target: Literal["label", "reason_label", "label_reason"]
    match: Match | None = None


class Separators(Section):
    """What stands between the two parts of a target."""

    reason_label: Annotated[str, Field(min_length=1)]
    label_reason: Annotated[str, Field(min_length=1)]


class Classifier(Section):
    """Stage 2."""

    recipe: Recipe
    separators: Separators


class Prediction(Section):
    """How a classifier is read: greedy, at most `max_new_tokens`."""

    max_new_tokens: PositiveInt
    batch_rows: PositiveInt


class Compute(Section):
    """What the arithmetic depends on; all of it enters the keys of what is computed."""

    device: Literal["cpu", "cuda"]
    dtype: Literal["float32", "bfloat16"]
    threads: PositiveInt
    layout: Literal["padded", "packed"]
    micro_tokens: PositiveInt


class Experiment(Section):
    """A whole experiment."""

    experiment: Name
    task: Task
    triples: Triples
    base: Annotated[Scratch | HubModel | Folder, Field(discriminator="kind")]
    date_string: str
    reasoner: Reasoner
    reasonings: Annotated[Sampling | ImportedFile | ImportedHub, Field(discriminator="kind")]
    classifier: Classifier
    arms: Annotated[dict[Name, Arm], Field(min_length=1)]
    seeds: Annotated[list[Count], Field(min_length=1)]
    prediction: Prediction
    compute: Compute
    checkpoint_steps: PositiveInt

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        conflicts = [*self._matches(), *self._lengths()]
        if len(set(self.seeds)) < len(self.seeds):
            conflicts.append(f"seeds: expected different numbers, found {self.seeds}")
        if conflicts:
            raise ValueError("\n".join(conflicts))
        return self

    def _matches(self) -> Iterator[str]:
        for name, arm in self.arms.items():
            if arm.match is None:
                continue
            where, wanted = f"arms.{name}.match.steps", arm.match.steps
            other = self.arms.get(wanted)
            if other is None:
                yield f"{where}: no arm is called {wanted!r}{_nearest(wanted, list(self.arms))}"
            elif other.match is not None:
                yield f"{where}: the arm {wanted!r} is itself matched, expected one that is not"

    def _lengths(self) -> Iterator[str]:
        if not isinstance(self.base, Scratch):
            return
        recipes = {"reasoner": self.reasoner.recipe, "classifier": self.classifier.recipe}
        for name, recipe in recipes.items():
            if recipe.max_length > self.base.positions:
                yield (
                    f"{name}.recipe.max_length: expected at most base.positions"
                    f" ({self.base.positions}), found {recipe.max_length}"
                )


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


def load(change: Mapping[str, Any]) -> Experiment:
    """The experiment that `change` makes of the default.

    Raises:
        UserError: every error found, one line each.
    """
    merged = merge(yaml.safe_load(DEFAULTS.read_text(encoding="utf-8")), change)
    try:
        return Experiment.model_validate(merged)
    except ValidationError as invalid:
        lines = [line for error in invalid.errors() for line in _explain(error).splitlines()]
        raise UserError(f"{len(lines)} error(s) in the config:\n  " + "\n  ".join(lines)) from None


def schema() -> str:
    """The JSON schema of an experiment file, for editors: no key is required there."""
    tree = Experiment.model_json_schema()
    tree.pop("required")
    return json.dumps(tree, indent=1, sort_keys=True) + "\n"


def _explain(error: Mapping[str, Any]) -> str:
    """One line for one error: where, what was found, what was expected."""
    where, valid = _locate(error["loc"])
    found = error["input"]
    match error["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key{_nearest(where.rsplit('.', 1)[-1], valid)}"
        case "missing":
            return f"{where}: missing"
        case "union_tag_invalid" | "union_tag_not_found":
            kinds = error["ctx"].get("expected_tags", "")
            kind = found.get("kind") if isinstance(found, Mapping) else None
            if not kinds:
                return f"{where}: expected a mapping that names its kind, found {found!r}"
            return f"{where}.kind: {kind!r} is not one of {kinds}{_nearest(str(kind), valid)}"
        case "value_error":
            return f"{where}: {error['ctx']['error']}" if where else str(error["ctx"]["error"])
        case _:
            said = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            return f"{where}: expected {said}, found {found!r}"


def _locate(location: tuple[str | int, ...]) -> tuple[str, list[str]]:
    """The key path that a user would write, and the names that are valid at its end."""
    model: Any = Experiment
    path = ""
    valid: list[str] = []
    for part in location:
        options = _sections(model)
        tagged = {_tag(option): option for option in options}
        if part in tagged and len(options) > 1:
            model = tagged[part]
            continue
        if part == "[key]":
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
        valid = [name for option in options for name in option.model_fields]
        model = _step(model, options, part)
    tags = [tag for option in _sections(model) if (tag := _tag(option))]
    return path, tags or valid


def _step(model: Any, options: list[type[Section]], part: str | int) -> Any:
    for option in options:
        if part in option.model_fields:
            return option.model_fields[str(part)].annotation
    values = get_args(model)
    return values[-1] if values else None


def _sections(annotation: Any) -> list[type[Section]]:
    """The config sections inside an annotation, which may be a union."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    if isinstance(annotation, type):
        return []
    return [found for part in get_args(annotation) for found in _sections(part)]


def _tag(section: type[Section]) -> str | None:
    kind = section.model_fields.get("kind")
    return get_args(kind.annotation)[0] if kind else None


def _nearest(name: str, valid: list[str]) -> str:
    close = difflib.get_close_matches(name, valid, n=1)
    return f", did you mean {close[0]!r}?" if close else ""
