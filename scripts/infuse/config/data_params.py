"""What specs tell the stages of data: sections of the config, with hashes where it names files.

The keys of artifacts are hashes of these. `workflow` writes them into specs, and each script reads
its own back. A field with a default is left out of the spec where it does not apply.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from infuse.config.conversations import GeneratedTalk, TalkColumns, TalkHub, TalkSizes
from infuse.config.endpoints import ApiModel, ApiSampling
from infuse.config.judging import Dimension, SimulatedJudge
from infuse.config.task import GeneratedTask, Judged, Scale, Sizes, TaskColumns, TaskHub, TwoHop
from infuse.config.triples import GeneratedTriples, TripleFormat
from infuse.config.values import Hub, LabelName, Name, PositiveInt, Section, Seed, Share
from infuse.data.judge_styles import StyleName


class HashedFiles(Section):
    """The hashes of local files, in the order of the config."""

    kind: Literal["files"]
    files: list[str]


class HashedTalk(Section):
    """One source of conversations."""

    source: Annotated[GeneratedTalk | HashedFiles | TalkHub, Field(discriminator="kind")]
    columns: TalkColumns | None


class ConversationsParams(Section):
    """Of `conversations`."""

    sources: dict[Name, HashedTalk]
    rows: TalkSizes
    seed: Seed


class SimulatedJudgmentsParams(Section):
    """Of `judgments` by a simulated judge, which reads no words of ours."""

    judge: SimulatedJudge
    styles: list[StyleName]
    dimensions: dict[Name, dict[str, str]]
    seed: Seed | None


class ModelJudge(Section):
    """A model behind an endpoint, by what its answers depend on."""

    kind: Literal["endpoint"]
    endpoint: ApiModel


class AskedJudgmentsParams(ApiSampling):
    """Of `judgments` by a model."""

    judge: ModelJudge
    styles: list[StyleName]
    dimensions: dict[Name, Dimension]


JudgmentsParams = SimulatedJudgmentsParams | AskedJudgmentsParams
JUDGMENTS_PARAMS: TypeAdapter[JudgmentsParams] = TypeAdapter(JudgmentsParams)


class NearestRatingsParams(Section):
    """Of `ratings` whose explanations are those nearest to the mean."""

    dimensions: list[Name]
    merger: None


class MergedRatingsParams(ApiSampling):
    """Of `ratings` whose explanations a model merges."""

    dimensions: list[Name]
    merger: ApiModel


RatingsParams = NearestRatingsParams | MergedRatingsParams
RATINGS_PARAMS: TypeAdapter[RatingsParams] = TypeAdapter(RatingsParams)


class HashedSplits(Section):
    """The hash of each split's file; None: cut from train."""

    kind: Literal["files"]
    train: str
    validation: str | None
    test: str | None


class GeneratedColumns(Section):
    """What a generator gives beside text and label."""

    reasoning: str | None = None


class CutSplits(Section):
    """How the splits that the source does not have are cut from train."""

    validation: Share | None = None
    test: Share | None = None
    seed: Seed


class TaskParams(Section):
    """Of `task`."""

    source: Annotated[
        GeneratedTask | TwoHop | HashedSplits | TaskHub | Judged, Field(discriminator="kind")
    ]
    columns: TaskColumns | GeneratedColumns
    labels: list[LabelName] | None
    rows: Sizes
    split: CutSplits | None
    scale: Scale | None


class TriplesParams(Section):
    """Of `triples`."""

    source: Annotated[GeneratedTriples | HashedFiles | Hub, Field(discriminator="kind")]
    columns: TripleFormat | None = None
    train_share: Share
    rows: PositiveInt | None
    max_reasoning_characters: PositiveInt | None
