"""What specs tell the stages of models: sections of the config, with hashes where it names files.

The keys of artifacts are hashes of these. `workflow` writes them into specs, and each script reads
its own back. A field with a default is left out of the spec where it does not apply.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from infuse.config.arms import Vote
from infuse.config.base import Architecture, ChatTemplate, HubModel, PadToken
from infuse.config.compute import Arithmetic, Compute
from infuse.config.endpoints import ApiModel, ApiSampling
from infuse.config.reasonings import (
    Column,
    Decoding,
    ImportedHub,
    Keywords,
    ReasoningColumns,
    Sampling,
)
from infuse.config.recipe import Recipe
from infuse.config.stages import Prediction, Reasoner
from infuse.config.values import PositiveInt, Section, Seed
from infuse.data.perturbations import Kind
from infuse.data.reasoning_checks import Check
from infuse.data.targets import Target

Backend = Literal["transformers", "vllm"]


class ScratchParams(Architecture):
    """Of a `base` made by the workflow; the corpus has hashes of files, task and triples."""

    kind: Literal["scratch"]
    corpus: list[str]
    pretraining: Recipe | None
    compute: Compute
    reasoned: bool = Field(description="whether texts of the task come with reasonings")


class LocalModelParams(Section):
    """Of a `base` on this machine, known by the hash of its files."""

    kind: Literal["folder", "gguf"]
    pad_token: PadToken
    chat_template: ChatTemplate
    content: str


BaseParams = Annotated[ScratchParams | HubModel | LocalModelParams, Field(discriminator="kind")]
BASE_PARAMS: TypeAdapter[BaseParams] = TypeAdapter(BaseParams)


class TokensParams(Section):
    """Of `tokens`."""

    max_length: PositiveInt


class ReasonerParams(Reasoner):
    """Of `reasoner`."""

    compute: Compute


# Reasonings


class WrittenParams(Sampling):
    """Of `reasonings` that a model of this workflow writes; `shard`: which of how many."""

    kind: Literal["reasoner", "base"]
    date_string: str = ""
    backend: Backend
    compute: Arithmetic
    shard: Annotated[tuple[int, int], Field(strict=False)] | None = None


class AskedParams(ApiSampling):
    """Of `reasonings` from an endpoint."""

    kind: Literal["endpoint"]
    endpoint: ApiModel
    prompt: str


class FileParams(Section):
    """Of `reasonings` from a file, known by its hash."""

    kind: Literal["file"]
    columns: ReasoningColumns
    content: str


ReasoningsParams = Annotated[
    WrittenParams | Keywords | Column | AskedParams | FileParams | ImportedHub,
    Field(discriminator="kind"),
]
REASONINGS_PARAMS: TypeAdapter[ReasoningsParams] = TypeAdapter(ReasoningsParams)


# Training sets and classifiers


class ChangedTask(Section):
    """Of a `regime` that changes a share of the training rows."""

    kind: Literal["rows", "label_noise", "imbalance", "cue"]
    value: float
    seed: Seed


class HeldOutSources(Section):
    """Of a `regime` without some sources."""

    kind: Literal["source"]
    value: list[str]
    seed: Seed


class HeldOutFold(Section):
    """Of a `regime` without a fold: its number, and of how many."""

    kind: Literal["fold"]
    value: Annotated[tuple[int, int], Field(strict=False)]
    seed: Seed


HeldOutParams = HeldOutSources | HeldOutFold
RegimeParams = Annotated[ChangedTask | HeldOutParams, Field(discriminator="kind")]
REGIME_PARAMS: TypeAdapter[RegimeParams] = TypeAdapter(RegimeParams)


class TrainingSetParams(Section):
    """Of `training_set`."""

    keep: list[Check] = Field([])
    perturb: Kind | None = None


class Chat(Section):
    """What stands around a text: the system message, and the date that a template may print."""

    system: str
    date_string: str


class TargetForm(Section):
    """How an arm is asked and what it answers."""

    chat: Chat
    target: Target
    separator: str | None


class Matched(Section):
    """The forms of the arms whose steps or supervised tokens an arm takes over."""

    steps: TargetForm | None = None
    by: Literal["splitting", "repeating"] = "splitting"
    supervised_tokens: TargetForm | None = None


class ClassifierParams(TargetForm):
    """Of `classifier`."""

    label_weight: float | None
    label_smoothing: float | None = None
    recipe: Recipe
    seed: Seed
    match: Matched
    compute: Compute


# Answers


class PredictionsParams(Prediction):
    """Of `predictions`."""

    backend: Backend
    compute: Arithmetic
    vote: Vote | None = None

    def decoding(self) -> Decoding:
        """How an answer is written."""
        drawn = self.vote.model_dump(exclude={"answers"}) if self.vote else {}
        return Decoding(max_new_tokens=self.max_new_tokens, **drawn)


class ZeroShotParams(ApiSampling):
    """Of `zero_shot`."""

    endpoint: ApiModel
    list_labels: bool
    system: str
    system_role: bool


class LogitLensParams(Section):
    """Of `logit_lens`."""

    texts: PositiveInt | None
    normed: bool
    batch_rows: PositiveInt
    compute: Arithmetic
