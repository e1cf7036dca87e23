"""What is told of writing is what models compute, keep and read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

import tiny
from infuse.config.compute import Arithmetic
from infuse.config.model_params import PredictionsParams, TargetForm, WrittenParams
from infuse.config.reasonings import Decoding
from infuse.core.gpu_models import SUSTAINED, GpuModel
from infuse.data.encoder import Encoder, Ids
from infuse.inference import generation, writing_costs
from infuse.inference.generation import Written
from infuse.inference.writing_costs import Paces, Writing
from infuse.models import loading, shapes
from infuse.models.shapes import Shape

ARITHMETIC = {part: getattr(tiny.COMPUTE, part) for part in
              ("device", "dtype", "threads", "deterministic")}  # fmt: skip
GPU = GpuModel("any", 1, 100, 10, 1000, 300)
SIZE = Shape(body=1000, head=100, embedding=0, attention=0, cache=20, trained=0, coarse=0)
CHAT = {"system": "Classify.", "date_string": ""}


@pytest.fixture(scope="module")
def size(tmp_path_factory: pytest.TempPathFactory) -> Shape:
    """Sizes of the tiny model."""
    folder = tmp_path_factory.mktemp("model")
    loading.save(tiny.model(), tiny.tokenizer(), folder)
    return shapes.shape(folder, tiny.FULL)


def writing_of(prompts: Sequence[Ids], written: int, **changed: Any) -> Writing:
    """Prompts whose labels are not scored, in one batch."""
    nothing = np.zeros(len(prompts), np.int64)
    return replace(
        Writing(prompts, written, "at most", 0, nothing, max(len(prompts), 1), 4), **changed
    )


def apart(rows: int, length: int) -> list[Ids]:
    """Prompts of one length that share no beginning."""
    return [[row + 1] * length for row in range(rows)]


def norms(size: Shape) -> int:
    """Weights of norms, which torch does not count as products."""
    return sum(weight.numel() for weight in tiny.model().parameters() if weight.dim() == 1)


@given(rows=st.integers(2, 4), length=st.integers(1, 9), written=st.integers(1, 5))
def test_operations_are_those_that_torch_counts(
    size: Shape, rows: int, length: int, written: int
) -> None:
    """But for norms, and attention on CPU, which torch does not count."""
    model, prompts = tiny.model().eval(), apart(rows, length)
    with FlopCounterMode(display=False) as counter:
        decoding = Decoding(max_new_tokens=written)
        generation.continue_prompts(model, prompts, range(rows), (), decoding)
    told = writing_costs.flops(replace(size, attention=0), writing_of(prompts, written))
    passed = rows * (length + written - 1)
    assert told.scoring == 0
    assert sum(told) - 2 * norms(size) * passed == counter.get_total_flops()


@pytest.mark.parametrize("again", [False, True])
def test_operations_of_scores_are_those_that_torch_counts(size: Shape, again: bool) -> None:
    model, prompts, endings = tiny.model().eval(), apart(3, 5), [[7, 8, 9], [4, 9]]
    read = generation.prefill(model, prompts)
    with FlopCounterMode(display=False) as counter:
        if again:
            generation.score_endings(model, prompts, endings)
        else:
            generation.score_prefilled(model, read, endings)
    writing = writing_of(prompts, 1, scored=3, read_again=np.full(3, 5 if again else 0))
    told = writing_costs.flops(replace(size, attention=0), writing).scoring
    passed = 3 * (3 + (5 if again else 0))
    assert told - 2 * norms(size) * passed == counter.get_total_flops()


def test_attention_of_a_token_is_of_all_before_it() -> None:
    """Summed token by token: 4 for each unit of width and each token that is seen, halved where a
    whole prompt is read at once, as for trainings.
    """
    size = replace(SIZE, body=0, head=0, attention=3)
    writing = writing_of(apart(2, 6), 4, scored=2)
    told = writing_costs.flops(size, writing)
    assert told.reading == 2 * 2 * 3 * 6**2
    assert told.writing == 2 * 2 * 3 * (9**2 - 6**2)
    assert told.scoring == 2 * 2 * 3 * (8**2 - 6**2)


def test_memory_is_that_of_weights_keys_and_values(size: Shape) -> None:
    model, prompts = tiny.model().eval(), apart(3, 5)
    cache = generation.prefill(model, prompts).cache
    kept = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    weights = sum(weight.nbytes for weight in model.parameters())
    told = writing_costs.memory(size, writing_of(prompts, 4))
    assert told == weights + kept * (5 + 4) / 5


def test_a_step_reads_the_weights_once_for_a_batch() -> None:
    """Four rows of 10 tokens, 3 steps after the first token, in float32."""
    writing = writing_of(apart(4, 10), 4)
    slow = replace(GPU, bandwidth=1e-6)  # 1,000 bytes a second
    products = SUSTAINED * 10 * 1e12
    reading = 2 * (1000 * 40 + 100 * 4) / products
    kept = 20 * 4 * (11 + 12 + 13)  # each step sees its own token too
    once = (3 * 1100 + kept) * 4 / 1000
    assert writing_costs.seconds_by_data_sheet(SIZE, writing, slow) == pytest.approx(once + reading)
    pairs = replace(writing, batch_rows=2)
    twice = (2 * 3 * 1100 + kept) * 4 / 1000
    assert writing_costs.seconds_by_data_sheet(SIZE, pairs, slow) == pytest.approx(twice + reading)
    narrow = replace(writing, weight_bytes=2)
    assert writing_costs.seconds_by_data_sheet(SIZE, narrow, slow) == pytest.approx(once / 2)


def test_where_products_take_longer_they_count() -> None:
    writing = writing_of(apart(4, 10), 4, scored=5)
    told = sum(writing_costs.flops(SIZE, writing))
    seconds = writing_costs.seconds_by_data_sheet(SIZE, writing, replace(GPU, bandwidth=1e9))
    assert seconds == pytest.approx(told / (SUSTAINED * 10 * 1e12))


class Clock:
    """A writer that takes 1 s a prompt's token, and 10 s a row of each further step.

    It reads once the tokens with which all prompts begin.
    """

    now, shared = 0.0, 0

    def __call__(self) -> float:
        return self.now

    def write(
        self, prompts: Sequence[Ids], rows: Sequence[int], ends: Any, decoding: Decoding
    ) -> list[Written]:
        """Let the time pass."""
        assert not ends and len(prompts) == len(rows)
        self.now += sum(map(len, prompts)) - self.shared * (len(prompts) - 1)
        self.now += 10 * len(prompts) * (decoding.max_new_tokens - 1)
        return []


@pytest.mark.parametrize("written", [0, 1, 2, 90])
def test_a_measured_pace_is_that_of_the_writer(
    written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(writing_costs.time, "monotonic", clock)
    writing = writing_of(apart(5, 7), written, scored=2, batch_rows=2)
    pace = writing_costs.pace(clock, writing)
    assert pace == (1.0, 1.0, 10.0 if written > 1 else 0.0)
    assert pace.seconds(writing) == 5 * 7 + 5 * 2 + 10 * 5 * max(written - 1, 0)


def test_scores_share_no_beginning_but_that_of_their_prompts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    clock.shared = 5
    monkeypatch.setattr(writing_costs.time, "monotonic", clock)
    prompts = [[1] * 5 + [row + 2] * 2 for row in range(4)]
    writing = writing_of(prompts, 1, scored=3, batch_rows=2)
    pace = writing_costs.pace(clock, writing)
    batch = 5 + 2 * 2
    assert pace.seconds(writing) == pytest.approx(2 * batch + 4 * 3)
    again = replace(writing, read_again=writing.read + 6)  # prompts, and what is written to each
    assert pace.seconds(again) == pytest.approx(2 * 2 * batch + 4 * (3 + 6))


def test_one_model_is_loaded_for_all_that_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, clock = [], Clock()

    def load(*how: Any) -> Clock:
        loaded.append(how)
        return clock

    monkeypatch.setattr(writing_costs, "TransformersWriter", load)
    monkeypatch.setattr(writing_costs.time, "monotonic", clock)
    paces, compute = Paces(Path("base")), Arithmetic.model_validate(ARITHMETIC)
    for written in (1, 2, 3):
        seconds = paces.seconds("predictions", writing_of(apart(4, 5), written), compute)
        assert seconds == 4 * 5 + 10 * 4 * (written - 1)
    assert paces.seconds("predictions", writing_of([], 4), compute) == 0
    assert loaded == [(Path("base"), compute)]


TEXTS = ["i feel so happy", "the day was long, and i felt sad again"]
LABELS = ["joy", "sadness"]


def answers(
    target: str,
    separator: str | None,
    backend: str = "transformers",
    positions: int = sys.maxsize,
    **own: Any,
) -> Writing:
    """What the classifiers of an arm will write."""
    form = TargetForm.model_validate({"chat": CHAT, "target": target, "separator": separator})
    params = PredictionsParams.model_validate(
        {"max_new_tokens": 30, "batch_rows": 8, "backend": backend, "compute": ARITHMETIC} | own
    )
    encoder = Encoder(tiny.tokenizer(), **CHAT)
    return writing_costs.of_answers(encoder, TEXTS, LABELS, form, params, positions)


TARGETS = pytest.mark.parametrize(
    ("target", "separator"),
    [("label", None), ("multi_task", " Why? "), ("reason_label", " So: "),
     ("label_reason", " Why? "), ("head", None)],
)  # fmt: skip


@TARGETS
def test_answers_read_and_score_what_a_reader_does(
    target: str, separator: str | None, tmp_path: Path
) -> None:
    from infuse.inference.classification import Reader
    from infuse.inference.form import Form

    if target == "head":
        writing = answers(target, separator)
        assert (writing.written, writing.counted, writing.tokens_for_scores) == (0, "exactly", 0)
        return
    loading.save(tiny.model(), tiny.tokenizer(), tmp_path)
    Form(LABELS, target, separator, CHAT).save(tmp_path)
    reader = Reader(tmp_path, "transformers", tiny.COMPUTE)
    writing = answers(target, separator)
    prompts = reader.prompts(TEXTS)
    assert [*writing.prompts] == prompts
    assert writing.scored == sum(len(ending) - 1 for ending in reader.slots.endings)
    short = reader._encoder.plain([TEXTS[0]])[0]
    prefixes = reader._prefixes(prompts, [TEXTS[0]] * 2)
    longest = [len(prefix) + writing.written - len(short) for prefix in prefixes]
    assert [*writing.read_again] == (longest if target == "reason_label" else [0, 0])
    if target in ("label", "multi_task"):
        longest = max(len(ending) for ending in reader.slots.endings)
        assert (writing.written, writing.counted) == (longest, "longest label")
    else:
        assert (writing.written, writing.counted) == (30, "at most")


@TARGETS
def test_texts_without_place_for_a_label_are_left_out_as_a_reader_does(
    target: str, separator: str | None, tmp_path: Path
) -> None:
    from infuse.inference.classification import Reader
    from infuse.inference.form import Form

    if target == "head":
        whole = [len(prompt) for prompt in answers(target, separator).prompts]
        assert [answers(target, separator, positions=most).left_out for most in whole] == [
            sum(length > most for length in whole) for most in whole
        ]
        return
    loading.save(tiny.model(), tiny.tokenizer(), tmp_path)
    Form(LABELS, target, separator, CHAT).save(tmp_path)
    reader = Reader(tmp_path, "transformers", tiny.COMPUTE)
    every = reader.prompts(TEXTS)
    found = set()
    for positions in range(min(map(len, every)), max(map(len, every)) + 50):
        reader.slots = replace(reader.slots, positions=positions)
        fit = [prompt for prompt in every if reader.slots.room(prompt) >= 0]
        writing = answers(target, separator, positions=positions)
        assert ([*writing.prompts], writing.left_out) == (fit, len(every) - len(fit))
        found.add(writing.left_out)
        if target == "reason_label" and fit:
            reasons = [" ".join(["so"] * 30)] * len(fit)
            assert len(reader._encoder.plain(reasons[:1])[0]) >= writing.written
            prefixes = map(len, reader._prefixes(fit, reasons))
            most = writing.read + writing.written + len(reader.slots.between)
            assert [*writing.read_again] == [*np.minimum([*prefixes], most)]
        assert writing_costs.seconds_by_data_sheet(SIZE, writing, GPU) >= 0
        assert writing_costs.memory(SIZE, writing) >= 4 * SIZE.weights
    assert found == {0, 1, 2}


def test_what_vllm_writes_transformers_scores() -> None:
    assert not answers("label", None).read_again.any()
    assert [*answers("label", None, "vllm").read_again] == [*answers("label", None).read]
    again = answers("reason_label", " So: ")
    assert (again.read_again > again.read + again.written).all()


def test_answers_that_vote_are_written_and_not_scored() -> None:
    once, voted = (
        answers("reason_label", " So: ", **own) for own in ({}, {"vote": {"answers": 3}})
    )
    assert voted.prompts == list(once.prompts) * 3 and voted.written == once.written
    assert voted.scored == 0 and not voted.read_again.any()


def test_reasonings_are_asked_for_as_their_stage_does() -> None:
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
    encoder = Encoder(tiny.tokenizer(), date_string="")
    params = {
        "kind": "base", "prompt": None, "temperature": 0.0, "top_p": 1.0, "batch_rows": 8,
        "max_new_tokens": 20, "seed": 0, "backend": "vllm", "compute": ARITHMETIC,
    }  # fmt: skip

    def cost(rows: list[dict[str, Any]], **own: Any) -> writing_costs.Writing:
        written = WrittenParams.model_validate(params | own)
        return writing_costs.of_reasonings(encoder, rows, written, tiny.WINDOW)

    plain, chat = cost(rows), cost(rows, prompt="{text}? {label}!")
    assert [*chat.prompts] == encoder.chats(
        [f"{t}? {n}!" for t, n in zip(TEXTS, LABELS, strict=True)]
    )
    assert plain.prompts != chat.prompts and plain.tokens == sum(map(len, plain.prompts)) + 2 * 20
    assert plain.weight_bytes == 4  # vLLM in float32, as the config says
    long = [*rows, {"text": "so " * 9_999, "label": "joy"}]  # past the positions of the tiny model
    every = cost(long)
    assert (every.prompts, every.left_out) == (plain.prompts, 1)
    assert cost(rows, compute=ARITHMETIC | {"dtype": "bfloat16"}).weight_bytes == 2
