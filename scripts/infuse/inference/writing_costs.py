"""What writing will take: work, memory, time.

Prompts are counted, and each answer is taken to be as long as it may be.

Formulas are for models of Llama's kind. A model reads a prompt in one pass. Then each step writes a
token for every row of a batch. One multiplication with an addition is two operations.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from infuse.config.compute import Arithmetic
from infuse.config.model_params import PredictionsParams, TargetForm, WrittenParams
from infuse.config.reasonings import Decoding
from infuse.core.gpu_models import GpuModel
from infuse.data.encoder import Encoder, Ids
from infuse.data.prompts import reasoning_prompts
from infuse.data.slots import Slots
from infuse.data.targets import EXPLAINED
from infuse.inference.backends import TransformersWriter, Writer
from infuse.inference.generation import MOST_SCORES, chunks
from infuse.models.shapes import Shape

EXACTLY, AT_MOST, LONGEST_LABEL = "exactly", "at most", "longest label"
SAMPLED_STEPS = 16  # of the steps of a batch, measured


@dataclass(frozen=True)
class Writing:
    """What is read and written for each text.

    Attributes:
        prompts: token ids of each.
        written: tokens after each prompt, the end included.
        counted: whether all will write so many tokens ("exactly"), none will write more
            ("at most"), or an arm that has learned to write a label alone does so.
        scored: tokens that are read for the scores of all labels, after each prompt.
        read_again: tokens that stand before the scored labels and are read once more for them, of
            each prompt.
        batch_rows: rows of a batch.
        weight_bytes: of each weight of the model that writes.
        left_out: prompts beside these that are not asked, since they leave no place for a label,
            or for any token of a reasoning.
    """

    prompts: Sequence[Ids]
    written: int
    counted: str
    scored: int
    read_again: npt.NDArray[np.int64]
    batch_rows: int
    weight_bytes: int
    left_out: int = 0

    @cached_property
    def read(self) -> npt.NDArray[np.int64]:
        """Tokens of each prompt."""
        return np.array([len(prompt) for prompt in self.prompts], np.int64)

    @property
    def tokens(self) -> int:
        """Read and written, without what scores read."""
        return int(self.read.sum()) + self.written * len(self.prompts)

    @property
    def tokens_for_scores(self) -> int:
        """Read for the scores of labels."""
        return int(self.read_again.sum()) + self.scored * len(self.prompts)

    def batches(self) -> Iterator[npt.NDArray[np.int64]]:
        """Tokens of each batch's prompts."""
        return (self.read[rows] for rows in chunks(self.read.tolist(), self.batch_rows))


def of_reasonings(
    encoder: Encoder, texts: Sequence[dict[str, Any]], params: WrittenParams, positions: int
) -> Writing:
    """The writing of a reasoning for each text.

    Args:
        positions: most tokens of a prompt and a reasoning together.
    """
    every = reasoning_prompts(encoder, params.prompt, texts)
    prompts = [prompt for prompt in every if len(prompt) < positions]
    nothing, left_out = np.zeros(len(prompts), np.int64), len(every) - len(prompts)
    weight_bytes, rows = _bytes(params), params.batch_rows
    return Writing(
        prompts, params.max_new_tokens, AT_MOST, 0, nothing, rows, weight_bytes, left_out
    )


def of_answers(
    encoder: Encoder,
    texts: Sequence[str],
    labels: Sequence[str],
    form: TargetForm,
    params: PredictionsParams,
    positions: int,
) -> Writing:
    """The answers of a classifier, and the scores of all labels; answers that vote have none.

    An arm that answers with the label alone has learned to end there, and is taken to do so. The
    model is taken to be one in which each token sees all before it; others read more for scores.

    Args:
        positions: most tokens of a prompt and an answer together.
    """
    slots = Slots(encoder, labels, form.target, form.separator, positions)
    every = encoder.chats(texts) * (params.vote.answers if params.vote else 1)
    prompts = [prompt for prompt in every if slots.room(prompt) >= 0]
    read = np.array([len(prompt) for prompt in prompts], np.int64)
    written, counted, scored, again = params.max_new_tokens, AT_MOST, 0, 0 * read
    if form.target == "head":
        written, counted = 0, EXACTLY
    elif not params.vote:
        if form.target not in EXPLAINED:
            written, counted = max(map(len, slots.endings)), LONGEST_LABEL
        many = min(params.batch_rows, len(prompts)) * len(labels) > MOST_SCORES
        if form.target == "reason_label":
            room = np.array([slots.room(prompt) for prompt in prompts], np.int64)
            again = read + np.minimum(written, room) + len(slots.between)
        elif many or params.backend == "vllm":  # whose cache nobody else reads
            again = read
        scored = sum(len(ending) - 1 for ending in slots.endings)  # the last of each is not read
    weight_bytes = 4 if form.target == "head" else _bytes(params)
    left_out = len(every) - len(prompts)
    return Writing(
        prompts, written, counted, scored, again, params.batch_rows, weight_bytes, left_out
    )


def _bytes(params: WrittenParams | PredictionsParams) -> int:
    """Of a weight: transformers has them in float32, vLLM in the precision of the config."""
    narrow = params.backend == "vllm" and params.compute.dtype == "bfloat16"
    return 2 if narrow else 4


class Flops(NamedTuple):
    """Operations: of prompts, of what is written, and of what scores read."""

    reading: float
    writing: float
    scoring: float


def flops(size: Shape, writing: Writing) -> Flops:
    """Operations of a pass over all that is read and written.

    A token takes 2 for each weight of the layers, and 2 for each of the head where a token is
    written or scored. The last n of l tokens take 2 (l^2 - (l - n)^2) for each unit of the
    attention's width: each sees itself and all before it.
    """
    read, again, count = (
        writing.read.astype(float),
        writing.read_again.astype(float),
        writing.written,
    )
    before = np.where(again > 0, again, read)  # of the scored labels

    def passed(new: Any, length: Any, logits: Any) -> float:
        new, length = np.broadcast_arrays(new, length)
        squares = length**2 - (length - new) ** 2
        products = size.body * new + size.head * logits + size.attention * squares
        return float(2.0 * products.sum())

    steps = max(count - 1, 0)  # the first token comes with the prompt, and the last is not read
    return Flops(
        passed(read, read, min(count, 1)),
        passed(steps, read + steps, steps),
        passed(again + writing.scored, before + writing.scored, writing.scored + (again > 0)),
    )


def memory(size: Shape, writing: Writing) -> float:
    """Bytes of the weights, and of the keys and values of the largest batch."""
    most = max(
        (len(read) * (int(read.max()) + writing.written) for read in writing.batches()), default=0
    )
    kept = size.cache * most if writing.written else 0
    return float(writing.weight_bytes * (size.weights + kept))


def seconds_by_data_sheet(size: Shape, writing: Writing, gpu: GpuModel) -> float:
    """What a GPU takes for all of it, as an estimate.

    Prompts and scores are bound by products. A step of a batch reads all weights once, and the keys
    and values of its rows; it is bound by this or by its products, whichever takes longer (the
    roofline, Williams et al., CACM 52(4), 2009; of decoding, arXiv 2211.05102, 2). The memory's
    bandwidth is taken in full, and 45 % of its products. What prompts share is counted for each of
    them. How long kernels take to start is left out.
    """
    every = flops(size, writing)
    dtype = "bfloat16" if writing.weight_bytes == 2 else "float32"
    products = gpu.products(dtype)
    steps = max(writing.written - 1, 0)
    moved = np.array(
        [
            steps * (size.body + size.head)
            + size.cache * (steps * float(read.sum()) + len(read) * steps * (steps + 1) / 2)
            for read in writing.batches()
        ]
    ) * (writing.weight_bytes / (gpu.bandwidth * 1e9))
    rows = np.array([len(read) for read in writing.batches()])
    computed = every.writing / products * rows / max(rows.sum(), 1)
    scores = every.scoring / gpu.products("float32")  # of transformers, whatever writes
    return every.reading / products + float(np.maximum(moved, computed).sum()) + scores


class Pace(NamedTuple):
    """Seconds for a token, in a full batch.

    Attributes:
        reading: of a prompt, whose batch reads once what all its prompts begin with.
        scoring: that is read for scores; none of these is shared.
        writing: that is written.
    """

    reading: float
    scoring: float
    writing: float

    def seconds(self, writing: Writing) -> float:
        """Of all that is read, scored and written."""
        again = int(np.minimum(writing.read_again, writing.read).sum())
        read = int(writing.read.sum()) + again
        steps = max(writing.written - 1, 0) * len(writing.prompts)
        scored = writing.tokens_for_scores - again
        return self.reading * read + self.scoring * scored + self.writing * steps


def pace(writer: Writer, writing: Writing) -> Pace:
    """Measure it with the batch in the middle: once to the first token, once some steps further."""
    rows = [*chunks(writing.read.tolist(), writing.batch_rows)]
    chosen = rows[len(rows) // 2]
    prompts = [writing.prompts[row] for row in chosen]

    def took(some: int, tokens: int) -> float:
        start = time.monotonic()
        # Without an end token, each row writes as many as it may.
        writer.write(prompts[:some], chosen[:some], (), Decoding(max_new_tokens=tokens))
        return time.monotonic() - start

    took(1, 2)  # warms up
    first = took(len(prompts), 1)
    steps = min(max(writing.written - 1, 0), SAMPLED_STEPS)
    further = took(len(prompts), 1 + steps) - first if steps else 0.0
    tokens = sum(map(len, prompts))
    columns = zip(*(prompt[:-1] for prompt in prompts), strict=False)
    alike = sum(1 for _ in takewhile(lambda column: len({*column}) == 1, columns))
    shared = alike * (len(prompts) - 1)
    for_step = max(further, 0.0) / (max(steps, 1) * len(prompts))
    return Pace(first / tokens, first / (tokens - shared), for_step)


class Paces:
    """How fast transformers writes on the device that is here, measured once for what is alike.

    Args:
        base: the folder of a model like those that will write.
    """

    def __init__(self, base: Path) -> None:
        self._load = cache(partial(TransformersWriter, base))
        self._known: dict[tuple[str, Arithmetic, int, int], Pace | None] = {}

    def seconds(self, stage: str, writing: Writing, compute: Arithmetic) -> float | None:
        """Of all that is read, scored and written; None if a batch does not fit.

        Args:
            stage: whose prompts are alike.
        """
        if not writing.prompts:
            return 0.0
        alike = stage, compute, writing.batch_rows, writing.written
        if alike not in self._known:
            try:
                self._known[alike] = pace(self._load(compute), writing)
            except torch.OutOfMemoryError:
                self._known[alike] = None
        measured = self._known[alike]
        return None if measured is None else measured.seconds(writing)
