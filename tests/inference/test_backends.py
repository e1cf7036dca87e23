"""vLLM writes what transformers writes, whatever the batch, and through kills.

`make test-vllm` runs these where vLLM is; elsewhere those that need it are skipped.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest
import torch
from openai import APIConnectionError, OpenAI
from transformers.modeling_utils import PreTrainedModel

import tiny
from infuse.config.reasonings import Decoding
from infuse.config.recipe import RowBatching
from infuse.core.errors import UserError
from infuse.data.chat_template import standalone
from infuse.data.encoder import Encoder, Ids
from infuse.data.examples import Piece, classifier_pieces, collect
from infuse.inference import generation
from infuse.inference.backends import TransformersWriter, VllmWriter, Writer, load_writer
from infuse.inference.generation import continue_prompts
from infuse.models import loading
from infuse.training import batching, loop
from infuse.training.step import Engine
from patience import wait_until

needs_vllm = pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None and "WITH_VLLM" not in os.environ,
    reason="vLLM is not installed; `make test-vllm` runs this",
)
ENCODER = Encoder(tiny.tokenizer(), "name it")
SHAPE = tiny.architecture(
    hidden_size=64, intermediate_size=96, heads=2, key_value_heads=1, positions=96, seed=1
)
SYMBOLS = range(100, 120)
GREEDY = Decoding(max_new_tokens=12)
SAMPLED = Decoding(max_new_tokens=12, temperature=1.3, top_p=0.9, seed=4)
ROOT = Path(__file__).parents[2]
LABELS = ["joy", "fear", "anger"]
BETWEEN = "\n\nEmotion: "
WORDS = ["day", "trip", "long", "happy", "sad", "word"]


def puzzles(count: int, seed: int, longest: int = 40) -> list[Ids]:
    """Prompts of 1 to `longest` symbols."""
    drawn = np.random.default_rng([1, seed])
    lengths = drawn.integers(1, longest + 1, count)
    return [[*ENCODER.begin, *drawn.choice(SYMBOLS, length).tolist()] for length in lengths]


def answer(prompt: Ids, drawn: np.random.Generator) -> Ids:
    """From the prompt's last symbol up to the highest, by ones or, in one of four, by twos."""
    return list(range(prompt[-1], SYMBOLS.stop, 1 + (drawn.random() < 0.25)))


def chats(count: int, seed: int, shift: int = 0) -> tuple[list[str], list[str], list[str]]:
    """Texts, their labels (told by the last word, and `shift`), and reasons that name the word."""
    drawn = np.random.default_rng([2, seed])
    words = [drawn.choice(WORDS, drawn.integers(1, 9)).tolist() for _ in range(count)]
    labels = [LABELS[(WORDS.index(text[-1]) + shift) % 3] for text in words]
    return [" ".join(text) for text in words], labels, [f"because of {text[-1]}" for text in words]


def explained(*those: Any) -> list[Piece]:
    """Documents of a classifier that gives its reason first."""
    return classifier_pieces(ENCODER, *those, "reason_label", BETWEEN)


def teach(model: PreTrainedModel, pieces: list[Piece], epochs: int, folder: Path) -> None:
    """Train the model on these, and save it."""
    documents, _ = collect(pieces, SHAPE.positions)
    steps = batching.steps(documents.lengths, RowBatching(kind="rows", rows=32), epochs, 0)
    engine = Engine(model, tiny.COMPUTE | {"micro_tokens": 4096})
    recipe = tiny.RECIPE | {"learning_rate": 0.01, "warmup_steps": 20}
    loop.train(engine, documents, None, steps, recipe, 0, folder / "work", len(steps))
    loading.save(model, tiny.tokenizer(), folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows puzzles and chats; its generation config wants what nobody asked for."""
    loading.set_threads(tiny.COMPUTE)
    folder, drawn = tmp_path_factory.mktemp("model"), np.random.default_rng(0)
    pieces = [
        Piece(row, prompt, [*answer(prompt, drawn), ENCODER.end_of_text])
        for row, prompt in enumerate(puzzles(3000, 0))
    ]
    model = loading.scratch_model(SHAPE, tiny.tokenizer())
    teach(model, pieces + explained(*chats(600, 0)), 4, folder)
    unwanted = {
        "do_sample": True, "temperature": 1.9, "top_k": 3, "repetition_penalty": 3.0,
        "max_new_tokens": 2, "eos_token_id": [ENCODER.end_of_turn, *SYMBOLS],
    }  # fmt: skip
    (folder / "generation_config.json").write_text(json.dumps(unwanted))
    return folder


@pytest.fixture(scope="module")
def slow(folder: Path) -> Writer:
    return load_writer("transformers", folder, tiny.COMPUTE)


@pytest.fixture(scope="module")
def fast(folder: Path) -> Writer:
    return load_writer("vllm", folder, tiny.COMPUTE)


def elsewhere(work: Callable[..., Any], *arguments: object) -> Any:
    """What `work` gives or raises in a process of its own, since one holds one vLLM."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("forkserver")) as pool:
        return pool.submit(work, *arguments).result(120)


def write(writer: Writer, asked: Sequence[Ids], sampling: Decoding, **other: int) -> Any:
    end = other.get("end", ENCODER.end_of_text)
    return writer.write(asked, range(len(asked)), {end}, sampling)


# --- without vLLM


def test_the_transformers_writer_is_continue_prompts(tmp_path: Path) -> None:
    loading.save(tiny.model(1), tiny.tokenizer(), tmp_path)
    writer, asked = load_writer("transformers", tmp_path, tiny.COMPUTE), puzzles(60, 1)
    assert isinstance(writer, TransformersWriter)
    for sampling in (GREEDY, SAMPLED):
        for end in (ENCODER.end_of_text, write(writer, asked, GREEDY)[0].tokens[3]):
            expected = continue_prompts(writer.model, asked, range(60), {end}, sampling)
            assert write(writer, asked, sampling, end=end) == expected


def test_without_vllm_one_line_tells_where_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(
        UserError, match=r"backend: vllm .*make \.venv-vllm/ready.*vllm\.txt"
    ) as refusal:
        load_writer("vllm", tmp_path, tiny.COMPUTE)
    assert "\n" not in str(refusal.value)


# --- the same as transformers


@needs_vllm
def test_greedy_equals_transformers(slow: Writer, fast: Writer) -> None:
    asked = puzzles(300, 2)
    written = write(fast, asked, GREEDY)
    assert written == write(slow, asked, GREEDY)
    # It has learned its puzzles, so it knows what it writes and stops by itself.
    right = [list(range(prompt[-1], SYMBOLS.stop)) for prompt in asked]
    hits = [
        continuation == (ids[:12], "stop" if len(ids) < 12 else "length")
        for continuation, ids in zip(written, right, strict=True)
    ]
    assert sum(hits) > 150
    assert {continuation.finish for continuation in written} == {"stop", "length"}


@needs_vllm
def test_only_the_end_tokens_that_are_told_stop(slow: Writer, fast: Writer) -> None:
    """Neither the model's own end of turn nor what its generation config names, unless told."""
    asked = [*puzzles(40, 3), [*ENCODER.begin, SYMBOLS[5], ENCODER.end_of_turn]]
    for end in (SYMBOLS[10], SYMBOLS[-1], ENCODER.end_of_turn):
        written = write(fast, asked, GREEDY, end=end)
        assert written == write(slow, asked, GREEDY, end=end)
        assert not any(end in continuation.tokens for continuation in written)
    assert any(ENCODER.end_of_text in continuation.tokens for continuation in written)
    both = {SYMBOLS[10], ENCODER.end_of_text}
    several = fast.write(asked, range(len(asked)), both, GREEDY)
    assert several == slow.write(asked, range(len(asked)), both, GREEDY)
    assert not any(both & set(continuation.tokens) for continuation in several)
    first = write(slow, asked[:1], GREEDY)[0].tokens[0]
    assert write(fast, asked[:1], GREEDY, end=first) == [([], "stop")]


@needs_vllm
def test_temperature_and_top_p_are_those_of_transformers(slow: Writer, fast: Writer) -> None:
    count, prompt = 4000, [*ENCODER.begin, SYMBOLS[3], SYMBOLS[8]]
    sampling = SAMPLED | {"max_new_tokens": 1, "temperature": 2.0, "top_p": 0.97}

    def shares(writer: Writer, **other: float) -> Counter[int]:
        written = write(writer, [prompt] * count, sampling | other)
        return Counter(token for continuation in written for token in continuation.tokens)

    def apart(left: Counter[int], right: Counter[int]) -> float:
        return sum(abs(left[token] - right[token]) for token in left | right) / 2 / count

    wanted = shares(slow)
    assert len(wanted) > 3
    assert apart(wanted, shares(fast)) < 0.05
    assert apart(wanted, shares(fast, temperature=1.0)) > 0.1
    assert apart(wanted, shares(fast, top_p=0.5)) > 0.1


def in_silence(folder: Path, asked: list[Ids], end: int, said: Path) -> tuple[Any, int]:
    """vLLM's greedy answers, and how many processes it started; what it says goes to a file."""
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa
    written = write(
        load_writer("vllm", folder, tiny.COMPUTE), asked, Decoding(max_new_tokens=30), end=end
    )
    return written, len(psutil.Process().children(recursive=True))


@needs_vllm
def test_a_merged_classifier_in_a_process_of_its_own(folder: Path, tmp_path: Path) -> None:
    loading.set_threads(tiny.COMPUTE)
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    tuning = {"kind": "lora", "rank": 8, "alpha": 16, "dropout": 0.0, "modules": modules}
    model = loading.tune(loading.load_model(folder), tiny.tuned(tuning), 0)
    teach(model, explained(*chats(1000, 1, 1)), 2, tmp_path)
    texts, labels, reasons = chats(200, 2, 1)
    asked, end, said = ENCODER.chats(texts), ENCODER.end_of_turn, tmp_path / "said"
    written, started = elsewhere(in_silence, tmp_path, asked, end, said)
    slow = load_writer("transformers", tmp_path, tiny.COMPUTE)
    assert written == write(slow, asked, Decoding(max_new_tokens=30), end=end)
    right = [f"{reason}{BETWEEN}{label}" for reason, label in zip(reasons, labels, strict=True)]
    hits = [
        ENCODER.text(continuation.tokens) == text
        for continuation, text in zip(written, right, strict=True)
    ]
    assert sum(hits) > 150
    assert started == 0
    assert said.read_text() == ""  # the terminal is the user's


# --- neighbours


@needs_vllm
@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_neighbours_change_nothing(fast: Writer, sampling: Decoding) -> None:
    """Nor does it matter that these are more prompt tokens than vLLM takes in one step."""
    asked, end = puzzles(300, 5), ENCODER.end_of_text
    assert sum(map(len, asked)) > 5000
    rows = list(range(100, 400))
    together = fast.write(asked, rows, {end}, sampling)
    assert {continuation.finish for continuation in together} == {"stop", "length"}
    order = np.random.default_rng(0).permutation(300).tolist()
    shuffled = fast.write([asked[at] for at in order], [rows[at] for at in order], {end}, sampling)
    assert shuffled == [together[at] for at in order]
    alone = [
        fast.write([ids], [row], {end}, sampling)[0]
        for ids, row in zip(asked[::4], rows[::4], strict=True)
    ]
    assert alone == together[::4]


@needs_vllm
def test_a_shared_beginning_is_computed_once_in_each_chunk(
    slow: Writer, fast: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not taken from the chunk before, or a resumed run would write in other batches."""
    kept, generate = [], fast._model.generate

    def seen(*arguments: Any, **named: Any) -> Any:
        outputs = generate(*arguments, **named)
        kept.append([output.num_cached_tokens for output in outputs])
        return outputs

    monkeypatch.setattr(fast._model, "generate", seen)
    beginning = [*ENCODER.begin, *(SYMBOLS[place % 7] for place in range(64))]
    asked = [beginning + prompt[1:] for prompt in puzzles(8, 9, longest=10)]
    first, second = (write(fast, asked, GREEDY) for _ in range(2))
    assert first == second == write(slow, asked, GREEDY)
    assert kept == [[0, *[64] * 7]] * 2


@needs_vllm
def test_rows_and_seeds_draw_differently(fast: Writer) -> None:
    same, end = [[*ENCODER.begin, SYMBOLS[0]]] * 8, ENCODER.end_of_text
    hot = SAMPLED | {"temperature": 2.0, "top_p": 1.0}
    written = fast.write(same, range(8), {end}, hot)
    assert len({tuple(continuation.tokens) for continuation in written}) == 8
    assert fast.write(same, [3] * 8, {end}, hot) == [written[3]] * 8
    assert fast.write(same, range(8), {end}, hot | {"seed": 5}) != written


# --- limits


@needs_vllm
def test_what_does_not_fit_is_told(slow: Writer, fast: Writer) -> None:
    assert isinstance(fast, VllmWriter)
    assert fast.positions == SHAPE.positions
    message = "^row 7: more tokens than the 96 of vLLM$"
    full = ENCODER.begin + [SYMBOLS[15]] * (fast.positions - 1)
    with pytest.raises(UserError, match=message):
        fast.write([full], [7], {ENCODER.end_of_text}, GREEDY)
    asked = [puzzle for puzzle in puzzles(1000, 9, 95) if 80 < len(puzzle) < fast.positions]
    fitting = 0
    for prompt, continuation in zip(asked, write(slow, asked, GREEDY), strict=True):
        # A limit that is beyond is no mistake: the model stops before, or ends there.
        assert write(fast, [prompt], GREEDY) == [continuation]
        room = fast.positions - len(prompt)
        fitting += continuation.finish == "stop" and room < GREEDY.max_new_tokens
    assert 5 < fitting < len(asked) - 5
    with pytest.raises(UserError, match="temperature"):
        write(fast, [full[:9]], SAMPLED | {"temperature": 2.5})


@needs_vllm
def test_a_model_that_vllm_cannot_run_is_refused(tmp_path: Path) -> None:
    narrow = loading.scratch_model(SHAPE | {"heads": 8}, tiny.tokenizer())
    loading.save(narrow, tiny.tokenizer(), tmp_path)
    with pytest.raises(UserError, match=r"vLLM can't run it \(.*head_dim=8"):
        elsewhere(load_writer, "vllm", tmp_path, tiny.COMPUTE)


@needs_vllm
def test_another_device_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(UserError, match=r"device: cuda, but .* this vLLM is cpu"):
        load_writer("vllm", folder, tiny.COMPUTE | {"device": "cuda"})


# --- kills

SCHEMA = pa.schema(
    [
        pa.field("tokens", pa.list_(pa.int64()), nullable=False),
        pa.field("finish", pa.string(), nullable=False),
    ]
)


def written_rows(writer: Writer, work: Path) -> list[dict[str, Any]]:
    """Sample 60 puzzles in chunks of 12."""
    asked = puzzles(60, 8)

    def of(chunk: list[int]) -> list[dict[str, Any]]:
        outputs = writer.write([asked[row] for row in chunk], chunk, {ENCODER.end_of_text}, SAMPLED)
        return [output._asdict() for output in outputs]

    return generation.in_chunks(work, asked, 12, SCHEMA, of)


def killed_rows(folder: Path, work: Path, between: bool) -> None:
    """Die when the third chunk is to be put in its place, or while vLLM writes it."""
    writer: Any = load_writer("vllm", folder, tiny.COMPUTE)
    if between:
        tiny.die_at("os.rename", "chunk-000002", 1)
    else:
        engine, write, steps = writer._model.llm_engine, writer.write, itertools.count()
        advance, chunks = engine.step, itertools.count()

        def step() -> Any:
            if next(steps) == 4:
                tiny.die()
            return advance()

        def counted(*arguments: Any) -> Any:
            if next(chunks) == 2:
                engine.step = step
            return write(*arguments)

        writer.write = counted
    written_rows(writer, work)


@needs_vllm
@pytest.mark.parametrize("between", [True, False], ids=["between chunks", "in a chunk"])
def test_killed_and_resumed_the_rows_are_the_same(
    folder: Path, fast: Writer, tmp_path: Path, between: bool
) -> None:
    work = tmp_path / "killed"
    work.mkdir()
    tiny.killed(killed_rows, folder, work, between)
    chunks = sorted(work.glob("chunk-*/rows.parquet"))
    assert len(chunks) == 2
    before = [chunk.stat().st_mtime_ns for chunk in chunks]
    rows = written_rows(fast, work)
    assert [chunk.stat().st_mtime_ns for chunk in chunks] == before
    (tmp_path / "undisturbed").mkdir()
    assert rows == written_rows(fast, tmp_path / "undisturbed")
    for file in (tmp_path / "undisturbed").rglob("*.parquet"):
        same = work / file.relative_to(tmp_path / "undisturbed")
        assert same.read_bytes() == file.read_bytes()


# --- as an endpoint


@needs_vllm
def test_a_served_classifier_answers_as_it_was_trained(folder: Path, tmp_path: Path) -> None:
    """The command of docs/real-model.md, and a client that sends the text alone."""
    tokenizer = loading.load_tokenizer(folder)
    tokenizer.chat_template = standalone(tokenizer, "name it", "")
    served = shutil.copytree(folder, tmp_path / "classifier")
    tokenizer.save_pretrained(served)
    (served / "generation_config.json").unlink()
    texts, _, _ = chats(4, 7)
    writer = load_writer("transformers", folder, tiny.COMPUTE)
    written = writer.write(
        ENCODER.chats(texts), range(len(texts)), {ENCODER.end_of_turn}, Decoding(max_new_tokens=24)
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(served),
         "--served-model-name", "classifier", "--host", "127.0.0.1", "--port", str(port),
         "--dtype", "float32", "--enforce-eager"],
        env=os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    client = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)

    def listens() -> bool:
        with contextlib.suppress(APIConnectionError):
            return bool(client.models.list().data)
        return False

    try:
        wait_until(listens, server)
        replies = [
            client.chat.completions.create(
                model="classifier", temperature=0, max_tokens=24,
                messages=[{"role": "user", "content": text}],
            )
            for text in texts
        ]  # fmt: skip
    finally:
        server.terminate()
        server.wait(60)
    said = [(reply.choices[0].message.content or "").strip() for reply in replies]
    assert said == [ENCODER.text(continuation.tokens).strip() for continuation in written]
