"""The sections of an experiment: what each may hold, and what is refused within one.

What sections want of each other is checked by `config.Experiment`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    ValidationInfo,
    field_validator,
)

from infuse.perturbations import Kind
from infuse.refusals import PATTERNS, hint, shown
from infuse.targets import REASONED, Style, Target

NAME, _COMMIT, _HUB, _DATA, _CORPUS = PATTERNS
Name = Annotated[str, Field(pattern=NAME)]
Commit = Annotated[str, Field(pattern=_COMMIT, description=PATTERNS[_COMMIT])]
HubId = Annotated[str, Field(pattern=_HUB, description=PATTERNS[_HUB])]
DataFile = Annotated[str, Field(pattern=_DATA, description=PATTERNS[_DATA])]
CorpusFile = Annotated[str, Field(pattern=_CORPUS, description=PATTERNS[_CORPUS])]
Share = Annotated[float, Field(gt=0, lt=1)]
# Largest values: what torch takes, even where a seed is multiplied by a million.
Count = Annotated[int, Field(ge=0, lt=2**31)]
PositiveInt = Annotated[int, Field(gt=0, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _label_name(value: Any) -> Any:
    """A label's name; a whole number stands for its digits."""
    if isinstance(value, bool):
        raise ValueError(f": expected a name, found {shown(value)}{hint(value)}")
    return str(value).strip() if isinstance(value, int | str) else value


LabelName = Annotated[str, BeforeValidator(_label_name, json_schema_input_type=str | int)]


Tracker = Literal[
    "tensorboard", "wandb", "mlflow", "comet_ml", "aim", "clearml", "dvclive", "swanlab", "trackio"
]
Chip = Literal["a40", "a100-40", "a100-80", "l40s", "rtx4090", "h100", "h200"]


Columns = Annotated[
    list[str],
    Field(min_length=1),
    BeforeValidator(
        lambda value: [value] if isinstance(value, str) else value,
        json_schema_input_type=str | list[str],
    ),
]


class Section(BaseModel):
    """A part of the config: unknown keys are refused, strings are not turned into numbers.

    What a validator says is the end of a line that begins with the key path of its field.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Hub(Section):
    """A data set on the hub, at a commit; null: the one that revisions.yaml keeps."""

    kind: Literal["hub"]
    id: HubId
    revision: Commit | None = None
    config: str | None = None


class GeneratedTask(Section):
    """Diary lines from the workflow's own generator."""

    kind: Literal["generated"]
    train: PositiveInt
    validation: PositiveInt
    test: PositiveInt
    seed: Seed


class Riddles(Section):
    """Riddles from the workflow's own generator: controls of the comparison itself."""

    kind: Literal["riddles"]
    train: PositiveInt
    validation: PositiveInt
    test: PositiveInt
    words: Annotated[int, Field(ge=4, le=180, multiple_of=4)] = Field(
        description="that may stand in each of the two places of a riddle"
    )
    both: bool = Field(description="whether two steps lead to the label, or one")
    honest: bool = Field(description="whether reasonings tell the first step, or something random")
    noise: Annotated[float, Field(ge=0, lt=0.75)]
    seed: Seed


class TaskFiles(Section):
    """A local parquet, jsonl or csv file for each split; those not given are cut from train."""

    kind: Literal["files"]
    train: DataFile
    validation: DataFile | None = None
    test: DataFile | None = None


class TaskHub(Hub):
    """A data set on the hub, and the names of its splits; null: cut from train."""

    train: str = "train"
    validation: str | None = "validation"
    test: str | None = "test"


class Judged(Section):
    """The section `conversations`, as those whom `judging` names have rated them."""

    kind: Literal["judged"]


class TaskColumns(Section):
    """Which columns hold what; without an `id`, a row's id is its number.

    A text of several columns has each on lines of its own, after the column's name. The last four
    are read where the task has a scale: rows of one `cluster` (a conversation, a context) never
    stand in two splits, and `source` and `dimension` tell the settings that tables keep apart.
    """

    text: Columns
    label: str
    reasoning: str | None = None
    id: str | None = None
    cluster: str | None = None
    source: str | None = None
    dimension: str | None = None
    scale: str | None = Field(None, description="of each row, as in 1-5: held against task.scale")


class Scale(Section):
    """Ratings from `low` to `high`; labels are the whole numbers."""

    low: Annotated[int, Field(ge=0)]
    high: Annotated[int, Field(lt=100)]

    @field_validator("high")
    @classmethod
    def _above(cls, high: int, info: ValidationInfo) -> int:
        if high <= info.data.get("low", -1):
            raise ValueError(f": expected more than low ({info.data['low']}), found {high}")
        return high


class Split(Section):
    """How splits are cut from train, by text and label."""

    validation: Share
    test: Share
    seed: Seed


class Sizes(Section):
    """About so many rows of a split, drawn by text and label; null: all."""

    train: PositiveInt | None
    validation: PositiveInt | None
    test: PositiveInt | None


class Task(Section):
    """Labelled texts."""

    source: Annotated[
        GeneratedTask | Riddles | TaskFiles | TaskHub | Judged, Field(discriminator="kind")
    ]
    scale: Scale | None
    split: Split
    rows: Sizes
    columns: TaskColumns
    labels: Annotated[list[LabelName], Field(min_length=2)] | None
    system: str

    @field_validator("scale")
    @classmethod
    def _of_ratings(cls, scale: Scale | None, info: ValidationInfo) -> Scale | None:
        source = info.data.get("source")
        if isinstance(source, Judged) and scale != Scale(low=1, high=5):
            raise ValueError(": expected {low: 1, high: 5}, to which judges' scores are brought")
        if isinstance(source, GeneratedTask | Riddles) and scale is not None:
            raise ValueError(": expected null, since the generator's labels have no order")
        return scale

    @field_validator("columns")
    @classmethod
    def _of_a_scale(cls, columns: TaskColumns, info: ValidationInfo) -> TaskColumns:
        for part in ("cluster", "source", "dimension", "scale"):
            if getattr(columns, part) is not None and info.data.get("scale", ...) is None:
                raise ValueError(f".{part}: expected null, since the task has no scale")
        judged = isinstance(info.data.get("source"), Judged)
        if info.data.get("scale") and len(columns.text) > 1 and not columns.cluster and not judged:
            raise ValueError(".cluster: expected a column, since the text has several")
        return columns

    @field_validator("split")
    @classmethod
    def _something_is_left(cls, split: Split) -> Split:
        if split.validation + split.test >= 1:
            raise ValueError(
                f": expected validation and test to leave some of train,"
                f" found {split.validation} + {split.test}"
            )
        return split

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if labels is None:
            return labels
        if info.data.get("scale") is not None:
            raise ValueError(": expected null, since task.scale names them")
        folded = [label.strip().casefold() for label in labels]
        if len(set(folded)) < len(folded):
            raise ValueError(f": expected names that differ in more than case, found {labels}")
        mistakes = [
            f"[{index}]: expected one line of text, found {label!r}"
            for index, label in enumerate(labels)
            if label.splitlines() != [label] or not label.strip()
        ]
        if mistakes:
            raise ValueError("\n".join(mistakes))
        return labels


class Pair(Section):
    """A column of contexts and one of responses."""

    kind: Literal["pair"]
    context: str
    response: str


class Chat(Section):
    """A column of chat messages; the last of the assistant's is the response."""

    kind: Literal["chat"]
    messages: str


class Transcript(Section):
    """A column of dialogues as one text, with Human: and Assistant: before each turn."""

    kind: Literal["transcript"]
    text: str


class Passage(Section):
    """A text, and lists of questions about it and of their answers; the last are the pair's."""

    kind: Literal["passage"]
    passage: str
    questions: str
    answers: str


class Turns(Section):
    """A column of lists of utterances; the last is the response."""

    kind: Literal["turns"]
    turns: str


class GeneratedTalk(Section):
    """Conversations from the workflow's own generator, whose quality is known."""

    kind: Literal["generated"]
    style: Literal["shop", "help_chosen", "help_rejected", "film"]
    seed: Seed


class TalkFiles(Section):
    """Local parquet, jsonl or csv files, all with the same columns."""

    kind: Literal["files"]
    paths: Annotated[list[DataFile], Field(min_length=1)]


class TalkHub(Hub):
    """A split of a data set on the hub."""

    split: str = "train"


class TalkSource(Section):
    """One source of conversations; `columns` tell where context and response stand."""

    source: Annotated[GeneratedTalk | TalkFiles | TalkHub, Field(discriminator="kind")]
    columns: (
        Annotated[Pair | Chat | Transcript | Passage | Turns, Field(discriminator="kind")] | None
    ) = Field(None, validate_default=True)

    @field_validator("columns")
    @classmethod
    def _told(cls, columns: Any, info: ValidationInfo) -> Any:
        source = info.data.get("source")
        if source is not None and (columns is None) != isinstance(source, GeneratedTalk):
            expected = "null" if columns else "{kind: pair, context, response} or the like"
            raise ValueError(f": expected {expected} where the source's kind is {source.kind!r}")
        return columns


class TalkSizes(Section):
    """About so many conversations of each source in each split."""

    train: PositiveInt
    validation: PositiveInt
    test: PositiveInt


class Conversations(Section):
    """Pairs of context and response, for judges to rate."""

    sources: Annotated[dict[Name, TalkSource], Field(min_length=1)]
    rows: TalkSizes
    seed: Seed = 0


class SimulatedJudge(Section):
    """A judge of generated conversations: their quality with a bias and normal noise on it; of its
    replies a share has a fault.
    """

    kind: Literal["simulated"]
    bias: float = 0.0
    noise: Annotated[float, Field(ge=0)] = 0.5
    faults: Annotated[float, Field(ge=0, lt=1)] = 0.0


class AskedJudge(Section):
    """A model behind an endpoint."""

    kind: Literal["endpoint"]
    endpoint: str


class Rated(Section):
    """A rated conversation that a prompt shows."""

    context: str
    response: str
    score: Annotated[float, Field(ge=1, le=5)]
    explanation: str


class Dimension(Section):
    """What is rated, in the words that a judge reads."""

    definition: Annotated[str, Field(min_length=1)]
    examples: list[Rated] = []


class Judging(Section):
    """Who rates conversations, on what, and who makes one explanation of many."""

    judges: Annotated[
        dict[Name, Annotated[SimulatedJudge | AskedJudge, Field(discriminator="kind")]],
        Field(min_length=1),
    ]
    dimensions: Annotated[dict[Name, Dimension], Field(min_length=1)]
    styles: Annotated[list[Style], Field(min_length=1)] = Field(
        list(get_args(Style)), validate_default=True
    )
    merger: str | None = Field(
        None, description="an endpoint; null: the explanation whose rating is nearest to the mean"
    )
    max_new_tokens: PositiveInt = 256
    temperature: Annotated[float, Field(ge=0)] | None = 0.0
    seed: Seed | None = 0

    @field_validator("styles")
    @classmethod
    def _examples_are_there(cls, styles: list[Any], info: ValidationInfo) -> list[Any]:
        dimensions = info.data.get("dimensions", {})
        bare = [name for name, one in dimensions.items() if not one.examples]
        shown = [style for style in styles if style.endswith("examples")]
        if bare and shown:
            raise ValueError(f": {shown[0]} needs examples in judging.dimensions.{bare[0]}")
        return styles


class Probes(Section):
    """Which classifiers are looked into, and at how many test texts; null: all of both."""

    arms: Annotated[list[Name], Field(min_length=1)] | None
    texts: PositiveInt | None
    normed: bool = Field(description="whether the final norm is applied in every layer")
    batch_rows: PositiveInt


class HeldOut(Section):
    """Training sets without a source, or a fold of the conversations, which is then the test.

    `folds`: of the training rows, by cluster.
    """

    sources: list[Columns] | None = Field(None, description="one, or several held out together")
    folds: Annotated[int, Field(ge=2)] | None = Field(None, validate_default=True)
    arms: Annotated[list[Name], Field(min_length=1)]

    @field_validator("folds")
    @classmethod
    def _one_of_both(cls, folds: int | None, info: ValidationInfo) -> int | None:
        if (folds is None) == (not info.data.get("sources")):
            raise ValueError(": expected either this or held_out.sources")
        return folds


class GeneratedTriples(Section):
    """Triples from the workflow's own generator."""

    kind: Literal["generated"]
    rows: PositiveInt
    seed: Seed


class TripleFiles(Section):
    """Local parquet, jsonl or csv files, all with the same columns."""

    kind: Literal["files"]
    paths: Annotated[list[DataFile], Field(min_length=1)]


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
    drop_last: bool = False


class Full(Section):
    """All weights are trained."""

    kind: Literal["full"]


Modules = Annotated[
    list[str],
    Field(min_length=1),
    BeforeValidator(
        lambda value: [value] if value == "all-linear" else value,
        json_schema_input_type=list[str] | Literal["all-linear"],
    ),
]


class Lora(Section):
    """Low-rank adapters on the named modules, merged into the weights when training ends.

    With `bits` the weights of all layers are frozen in so many; null: in those of the recipe.
    """

    kind: Literal["lora"]
    rank: PositiveInt
    alpha: PositiveFloat
    dropout: Annotated[float, Field(ge=0, lt=1)]
    modules: Modules
    bits: Literal[4] | None = None


class Recipe(Section):
    """How a model is trained."""

    epochs: PositiveInt
    max_length: Annotated[int, Field(ge=8)]
    batching: Annotated[Rows | Tokens, Field(discriminator="kind")]
    learning_rate: PositiveFloat
    schedule: Literal["cosine", "linear", "constant"]
    warmup_steps: Count
    optimizer: Literal["adamw", "paged_adamw_8bit"]
    weights: Literal["float32", "bfloat16"]
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: PositiveFloat
    evaluations_per_epoch: Count
    tuning: Annotated[Full | Lora, Field(discriminator="kind")]

    @field_validator("batching")
    @classmethod
    def _document_fits_bin(cls, batching: Rows | Tokens, info: ValidationInfo) -> Rows | Tokens:
        longest = info.data.get("max_length", 0)
        if isinstance(batching, Tokens) and batching.bin_tokens < longest:
            raise ValueError(
                f".bin_tokens: expected at least max_length ({longest}),"
                f" found {batching.bin_tokens}"
            )
        return batching


def fit(recipe: Recipe, positions: int, below: str) -> None:
    """Refuse documents that are longer than what the model reads.

    Args:
        below: the recipe's place below the section that is checked.
    """
    if recipe.max_length > positions:
        raise ValueError(
            f"{below}.max_length: expected at most base.positions ({positions}),"
            f" found {recipe.max_length}"
        )


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
    seed: Seed
    corpus: list[CorpusFile]
    pretraining: Recipe | None

    @field_validator("heads")
    @classmethod
    def _heads_divide(cls, heads: int, info: ValidationInfo) -> int:
        size = info.data.get("hidden_size", 0)
        if size % (2 * heads):
            raise ValueError(
                f": expected a number whose double divides hidden_size ({size}), found {heads}"
            )
        return heads

    @field_validator("key_value_heads")
    @classmethod
    def _groups_divide(cls, groups: int, info: ValidationInfo) -> int:
        heads = info.data.get("heads", 0)
        if heads % groups:
            raise ValueError(f": expected a number that divides heads ({heads}), found {groups}")
        return groups

    @field_validator("pretraining")
    @classmethod
    def _length_fits(cls, recipe: Recipe | None, info: ValidationInfo) -> Recipe | None:
        if recipe is not None and "positions" in info.data:
            fit(recipe, info.data["positions"], "")
        if recipe is not None and not info.data.get("corpus", True):
            raise ValueError(": expected null, since base.corpus names no texts to learn from")
        if recipe is not None and getattr(recipe.tuning, "bits", None):
            raise ValueError(".tuning.bits: expected null, since nothing is there to be frozen")
        return recipe


PadToken = Annotated[
    Annotated[str, Field(min_length=1)] | None,
    Field(description="the saved tokenizer's; null: the one that it has"),
]
ChatTemplate = Annotated[
    Literal["plain"] | None,
    Field(description="the saved tokenizer's; null: the one that it has; plain: a short one"),
]


class HubModel(Section):
    """A model on the hub, at a commit; null: the one that revisions.yaml keeps."""

    kind: Literal["hub"]
    id: HubId
    revision: Commit | None = None
    pad_token: PadToken = None
    chat_template: ChatTemplate = None


class Folder(Section):
    """A local folder with config, tokenizer and safetensors weights."""

    kind: Literal["folder"]
    path: Annotated[str, Field(min_length=1)]
    pad_token: PadToken = None
    chat_template: ChatTemplate = None


class Reasoner(Section):
    """Stage 1."""

    recipe: Recipe
    seed: Seed


class Sampling(Section):
    """How a model writes; temperature 0 is greedy."""

    kind: str
    temperature: Annotated[float, Field(ge=0)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    max_new_tokens: PositiveInt
    batch_rows: PositiveInt
    seed: Seed


class Written(Sampling):
    """Reasonings of the reasoner."""

    kind: Literal["reasoner"]


class Untuned(Sampling):
    """Reasonings of the base model, which has seen no triples but those of its corpus."""

    kind: Literal["base"]


class Keywords(Section):
    """The words of a text that weigh most for its label in a linear model of other texts."""

    kind: Literal["keywords"]
    words: PositiveInt = 5
    folds: Annotated[int, Field(ge=2)] = 5


class Column(Section):
    """Reasonings from the task's own column, in place of stage 1."""

    kind: Literal["column"]


class Asked(Section):
    """Reasonings from an endpoint, in place of stage 1."""

    kind: Literal["endpoint"]
    endpoint: str
    prompt: str = "Text: {text}\nLabel: {label}\nIn one or two sentences: why does it fit?"
    temperature: Annotated[float, Field(ge=0)] | None = 0.0
    max_new_tokens: PositiveInt = 256
    seed: Seed | None = 0

    @field_validator("prompt")
    @classmethod
    def _both_stand_in_it(cls, prompt: str) -> str:
        if not all(place in prompt for place in ("{text}", "{label}")):
            raise ValueError(f": expected {{text}} and {{label}} in it, found {prompt!r}")
        return prompt


class ReasoningColumns(Section):
    """Columns of a published set of reasonings; rows are matched on text and label."""

    text: str
    reasoning: str
    label: str


class ImportedFile(Section):
    """Reasonings from a local file, in place of stage 1."""

    kind: Literal["file"]
    path: DataFile
    columns: ReasoningColumns


class ImportedHub(Section):
    """Reasonings from the hub, in place of stage 1."""

    kind: Literal["hub"]
    id: HubId
    revision: Commit | None = None
    config: str | None = None
    columns: ReasoningColumns


Reasons = Annotated[
    Written | Untuned | Keywords | Column | Asked | ImportedFile | ImportedHub,
    Field(discriminator="kind"),
]


class Match(Section):
    """What an arm takes over from another arm.

    Its number of steps, over the same passes cut smaller or by repeating the rows; its number of
    supervised tokens, by a loss on the last tokens of the prompt too.
    """

    steps: str | None = None
    by: Literal["splitting", "repeating"] = "splitting"
    supervised_tokens: str | None = None


class Arm(Section):
    """How a training target is made, and with what budget."""

    target: Target
    reasons: str | None = None
    perturb: Kind | None = None
    label_weight: Share | None = None
    system: bool = True
    match: Match | None = None

    @property
    def reasoned(self) -> bool:
        """Whether a reasoning is part of the target."""
        return self.target in REASONED

    @field_validator("reasons", "perturb", "label_weight")
    @classmethod
    def _target_has_a_reasoning(cls, value: Any, info: ValidationInfo) -> Any:
        target = info.data.get("target")
        if value is not None and target in get_args(Target) and target not in REASONED:
            raise ValueError(f": a target of {target} has no reasoning")
        return value

    @field_validator("match")
    @classmethod
    def _match_makes_sense(cls, match: Match | None, info: ValidationInfo) -> Match | None:
        if match and not match.steps and not match.supervised_tokens:
            raise ValueError(": expected the name of an arm in steps or supervised_tokens")
        if match and match.by == "repeating" and (not match.steps or match.supervised_tokens):
            raise ValueError(".by: repeating goes with steps alone")
        if match and match.supervised_tokens and info.data.get("target") != "label":
            raise ValueError(".supervised_tokens: expected in an arm whose target is label")
        return match


class Regimes(Section):
    """Other training sets that the compared arms learn from: each a share, below 1 of the rows.

    `rows`: so many of the training rows. `label_noise`: so many labels are drawn from the others.
    `imbalance`: of all labels but the most frequent, so many rows are left. `cue`: so many texts
    begin with a word that stands for their label, and no test text does.
    """

    arms: list[Name] | None = Field(description="null: those of the first comparison")
    rows: list[Share]
    label_noise: list[Share]
    imbalance: list[Share]
    cue: list[Annotated[float, Field(gt=0, le=1)]]
    seed: Seed


class Separators(Section):
    """What stands between the two parts of a target."""

    reason_label: Annotated[str, Field(min_length=1)]
    label_reason: Annotated[str, Field(min_length=1)]


class Classifier(Section):
    """Stage 2."""

    recipe: Recipe
    separators: Separators


class Prices(Section):
    """Of an endpoint, for a million tokens."""

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]


class Endpoint(Section):
    """A server with OpenAI's chat interface; the key stands in an environment variable."""

    url: str
    model: str
    key_variable: str | None = Field(None, description="environment variable that holds the key")
    concurrency: PositiveInt = 8
    attempts: PositiveInt = 6
    timeout: PositiveFloat = 60.0
    prices: Prices | None = None

    @field_validator("url")
    @classmethod
    def _no_credentials(cls, url: str) -> str:
        # What stands there may hold a key, so it is never shown.
        try:
            parts = urlsplit(url)
            whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            whole = False
        if not whole:
            raise ValueError(": expected http://HOST/... or https://HOST/..., found another text")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(": expected no user, password or query; name a key_variable")
        return url

    @field_validator("key_variable")
    @classmethod
    def _a_variable(cls, name: str | None) -> str | None:
        # What stands there may be the key itself. Small letters would let many keys pass for names.
        if name is not None and not re.fullmatch("[A-Z_][A-Z0-9_]*", name):
            raise ValueError(
                ": expected the name of an environment variable, in capitals, not the key"
            )
        return name


class ZeroShot(Section):
    """The row of table 3 of a model that was not trained for the task."""

    endpoint: str
    list_labels: bool = True
    max_new_tokens: PositiveInt = 32
    temperature: Annotated[float, Field(ge=0)] | None = 0.0
    seed: Seed | None = 0


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
    gradient_checkpointing: Literal["never", "always", "auto"]
    deterministic: bool
    compile: bool

    @field_validator("compile")
    @classmethod
    def _one_size(cls, compile: bool, info: ValidationInfo) -> bool:
        if compile and info.data.get("layout") == "padded":
            raise ValueError(": expected false, since passes of layout padded differ in size")
        return compile
