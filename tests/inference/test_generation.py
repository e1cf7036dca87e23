"""Writing and scoring: as without batches and caches, and unmoved by neighbours and kills."""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)
from transformers.modeling_utils import PreTrainedModel

import tiny
from infuse.config.reasonings import Decoding
from infuse.core.files import write_rows
from infuse.data.encoder import Encoder, Ids
from infuse.data.examples import Piece, classifier_pieces, collect
from infuse.inference import generation
from infuse.inference.generation import (
    Written,
    continue_and_score,
    continue_prompts,
    score_endings,
)
from infuse.training.step import Engine

NEVER = -1  # a token that no model writes
GREEDY = Decoding(max_new_tokens=16)
SAMPLING = Decoding(max_new_tokens=16, temperature=0.9, top_p=0.9, seed=4)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny.model(1)


def prompts(count: int, seed: int, longest: int = 30) -> list[Ids]:
    """Prompts of random tokens and mixed lengths, the shortest possible one among them."""
    generator = np.random.default_rng(seed)
    lengths = [1, *generator.integers(1, longest + 1, count - 1)]
    return [generator.integers(5, len(tiny.tokenizer()), length).tolist() for length in lengths]


def common_token(written: Sequence[Written], least: int) -> int:
    """A token that ends at least so many of these, though not at once, and not all."""
    seen = collections.Counter(
        token
        for continuation in written
        for token in set(continuation.tokens)
        if token not in continuation.tokens[:1]
    )
    token, count = seen.most_common(1)[0]
    assert least <= count < len(written)
    return token


def cut(continuation: Written, end: int) -> Written:
    """What is left when `end` ends it."""
    if end in continuation.tokens:
        return Written(continuation.tokens[: continuation.tokens.index(end)], "stop")
    return continuation


# --- greedy


@pytest.mark.parametrize("seed", [1, 2])
def test_greedy_equals_transformers(model: PreTrainedModel, seed: int) -> None:
    asked = prompts(16, seed)
    greedy = Decoding(max_new_tokens=20)
    free = continue_prompts(model, asked, range(16), {NEVER}, greedy)
    for end in (NEVER, common_token(free, 3)):
        written = continue_prompts(model, asked, range(16), {end}, greedy)
        assert written == [cut(continuation, end) for continuation in free]
        for prompt, continuation in zip(asked, written, strict=True):
            expected = model.generate(
                torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)),
                do_sample=False, max_new_tokens=20, eos_token_id=end, pad_token_id=1,
            )[0, len(prompt) :].tolist()  # fmt: skip
            assert continuation.tokens + [end] * (continuation.finish == "stop") == expected
            assert (continuation.finish == "stop") == (expected[-1] == end)


def test_rows_that_end_one_after_another(model: PreTrainedModel) -> None:
    """A row that has ended leaves the batch; its neighbours must keep their own caches."""
    starts, greedy = prompts(60, 4), Decoding(max_new_tokens=16)
    chains = [
        row.tokens[: max(map(row.tokens.index, row.tokens)) + 1]  # the last token is a new one
        for row in continue_prompts(model, starts, range(60), {NEVER}, greedy)
    ]
    start, chain = max(zip(starts, chains, strict=True), key=lambda pair: len(pair[1]))
    places = np.random.default_rng(0).permutation(len(chain)).tolist()
    assert len(places) > 8
    asked = [start + chain[:place] for place in places]
    written = continue_prompts(model, asked, places, {chain[-1]}, greedy)
    assert written == [(chain[place:-1], "stop") for place in places]


def test_temperature_zero_is_greedy(model: PreTrainedModel) -> None:
    asked = prompts(4, 3)
    greedy = continue_prompts(model, asked, range(4), {NEVER}, Decoding(max_new_tokens=8))
    cold = SAMPLING | {"temperature": 0, "max_new_tokens": 8}
    assert continue_prompts(model, asked, range(4), {NEVER}, cold) == greedy
    tepid = SAMPLING | {"temperature": 1e-4, "max_new_tokens": 8}
    assert continue_prompts(model, asked, range(4), {NEVER}, tepid) == greedy


# --- neighbours


@pytest.mark.parametrize(
    "sampling",
    [GREEDY, SAMPLING | {"temperature": 0.4}],
    ids=["greedy", "sampled"],
)
def test_neighbours_change_nothing(model: PreTrainedModel, sampling: Decoding) -> None:
    asked = prompts(4, 5) * 8
    rows = list(range(100, 132))
    free = continue_prompts(model, asked, rows, {NEVER}, sampling)
    end = common_token(free, 8)  # a quarter: then the others move up in the batch
    together = continue_prompts(model, asked, rows, {end}, sampling)
    assert {continuation.finish for continuation in together} == {"stop", "length"}
    alone = [
        continue_prompts(model, [prompt], [row], {end}, sampling)[0]
        for prompt, row in zip(asked, rows, strict=True)
    ]
    assert together == alone
    order = np.random.default_rng(0).permutation(32).tolist()
    shuffled = continue_prompts(
        model, [asked[at] for at in order], [rows[at] for at in order], {end}, sampling
    )
    assert shuffled == [together[at] for at in order]


def test_rows_and_seeds_draw_differently(model: PreTrainedModel) -> None:
    same = [prompts(2, 6)[1]] * 8
    written = continue_prompts(model, same, range(8), {NEVER}, SAMPLING)
    assert len({tuple(continuation.tokens) for continuation in written}) == 8
    assert continue_prompts(model, same, [3] * 8, {NEVER}, SAMPLING) == [written[3]] * 8
    others = continue_prompts(model, same, range(8), {NEVER}, SAMPLING | {"seed": 5})
    assert all(continuation != other for continuation, other in zip(written, others, strict=True))


def test_without_a_mask_a_padded_prompt_would_be_another(model: PreTrainedModel) -> None:
    asked = prompts(8, 7)
    alone = score_endings(model, asked, [[9]])
    tokens, mask = generation._left_padded(asked, model.device)
    with torch.inference_mode():
        seen = model(tokens).logits[:, -1].double().log_softmax(-1)[:, 9].numpy()
        hidden = model(
            tokens, attention_mask=mask, position_ids=(mask.cumsum(1) - 1).clamp(min=0)
        ).logits[:, -1].double().log_softmax(-1)[:, 9].numpy()  # fmt: skip
    assert np.abs(hidden - alone[:, 0]).max() < 1e-4
    assert np.abs(seen - alone[:, 0]).max() > 0.1


# --- limits


@settings(max_examples=15)
@given(limit=st.integers(1, 12), seed=st.integers(0, 99), end=st.integers(0, 349))
def test_a_continuation_stops_at_its_end_or_at_the_limit(
    model: PreTrainedModel, limit: int, seed: int, end: int
) -> None:
    sampling = SAMPLING | {"max_new_tokens": limit, "temperature": 3.0, "top_p": 1.0}
    written = continue_prompts(model, prompts(6, seed), range(6), {end}, sampling)
    for continuation in written:
        assert end not in continuation.tokens
        assert (
            len(continuation.tokens) == limit
            if continuation.finish == "length"
            else len(continuation.tokens) < limit
        )


@pytest.mark.parametrize("kind", ["GPT2", "OPT", "Llama"])
def test_a_row_ends_at_the_last_position_and_its_neighbours_go_on(kind: str) -> None:
    """Learned positions have no more; rotary ones would go on, to where none was trained."""
    positions = 40
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AutoConfig.for_model(
        kind.lower(), **sizes, max_position_embeddings=positions, vocab_size=350,
        intermediate_size=16, ffn_dim=16, word_embed_proj_dim=16,
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    asked = [[7] * length for length in (positions - 1, 5, positions - 8, 9, positions - 3)]
    free = continue_prompts(model, asked, range(5), {NEVER}, SAMPLING)
    assert [len(row.tokens) for row in free] == [1, 16, 8, 16, 3]
    assert {row.finish for row in free} == {"length"}
    for end in {row.tokens[-1] for row in free}:
        expected = [cut(row, end) for row in free]
        assert continue_prompts(model, asked, range(5), {end}, SAMPLING) == expected


def test_an_end_at_the_first_and_at_the_last_place(model: PreTrainedModel) -> None:
    asked = prompts(3, 8)
    free = continue_prompts(model, asked, range(3), {NEVER}, SAMPLING)
    first, last = free[1].tokens[0], free[1].tokens[-1]
    assert last not in free[1].tokens[:-1]
    assert continue_prompts(model, asked, range(3), {first}, SAMPLING)[1] == ([], "stop")
    assert continue_prompts(model, asked, range(3), {last}, SAMPLING)[1] == (
        free[1].tokens[:-1], "stop",
    )  # fmt: skip


# --- sampling

LOGITS = st.lists(st.integers(-800, 800), min_size=2, max_size=150, unique=True).map(
    lambda hundredths: torch.tensor(hundredths) / 100  # no two alike, so that the order is certain
)


def nucleus(logits: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """The distribution that transformers would sample from, float64 [vocabulary]."""
    tokens: Any = None  # which neither warper looks at
    scores = TemperatureLogitsWarper(temperature)(tokens, logits[None].double())
    return TopPLogitsWarper(top_p)(tokens, scores).softmax(-1)[0]


def shares(logits: torch.Tensor, drawn: np.ndarray, temperature: float, top_p: float) -> Any:
    """How often each token is drawn, with these random numbers of one row each."""
    many = logits.expand(len(drawn), -1)
    chosen = generation._sample(many, drawn, temperature, top_p)
    return torch.bincount(chosen, minlength=len(logits)) / len(drawn)


@settings(max_examples=60)
@given(
    logits=LOGITS, temperature=st.sampled_from([0.5, 0.7, 1.0, 2.0]), top_p=st.floats(0.05, 0.999)
)
def test_sampling_inverts_the_nucleus(
    logits: torch.Tensor, temperature: float, top_p: float
) -> None:
    reached = (logits.double() / temperature).softmax(-1).sort(descending=True).values.cumsum(-1)
    assume((reached - top_p).abs().min() > 1e-5)  # there, rounding decides
    even = (np.arange(2000) + 0.5) / 2000
    observed = shares(logits, even, temperature, top_p)
    expected = nucleus(logits, temperature, top_p)
    assert (observed[expected == 0] == 0).all()
    assert (observed - expected).abs().max() < 1.01 / 2000


@pytest.mark.parametrize("top_p", [0.3, 0.9, 1.0])
def test_thousands_of_draws_follow_the_distribution(top_p: float) -> None:
    logits = torch.randn(60, generator=torch.Generator().manual_seed(3)) * 2
    count = 20_000
    drawn = np.random.default_rng(1).random(count)
    expected = nucleus(logits, 0.7, top_p)
    observed = shares(logits, drawn, 0.7, top_p)
    assert (observed[expected == 0] == 0).all()
    inside = expected > 0
    chi_square = count * float(((observed - expected)[inside].square() / expected[inside]).sum())
    freedom = int(inside.sum()) - 1
    assert abs(chi_square - freedom) < 4 * math.sqrt(2 * freedom) + 1
    other = nucleus(logits, 1.0, top_p)  # the inverse: another temperature is told apart
    assert 0.5 * (observed - expected).abs().sum() < 0.02
    assert 0.5 * (observed - other).abs().sum() > 0.05 or freedom < 3


def test_a_flat_distribution_is_drawn_from_all_over() -> None:
    """With more tokens than are considered at first."""
    logits = torch.zeros(1000)
    even = (np.arange(9000) + 0.5) / 9000
    counts = shares(logits, even, 1.0, 0.9 - 1e-6) * 9000
    assert int((counts > 0).sum()) == 900
    assert counts[counts > 0].min() >= 9
    assert counts.max() <= 11
    edges = shares(torch.zeros(4), np.array([0, 0.25, 0.5, 0.75]), 1.0, 1.0)
    assert edges.tolist() == [0.25] * 4
    every = shares(logits, even, 1.0, 1.0)
    assert int((every > 0).sum()) == 1000
    assert int((shares(logits, even, 1.0, 0.03) > 0).sum()) == 30


def test_a_flat_neighbour_does_not_change_a_draw() -> None:
    logits = torch.randn(5, 1000, generator=torch.Generator().manual_seed(0)) * 4
    logits[0] = 0
    drawn = np.random.default_rng(2).random(5)
    together = generation._sample(logits, drawn, 1.0, 0.95)
    alone = [
        int(generation._sample(logits[at : at + 1], drawn[at : at + 1], 1.0, 0.95))
        for at in range(5)
    ]
    assert together.tolist() == alone


def test_the_first_token_follows_the_model(model: PreTrainedModel) -> None:
    prompt = prompts(2, 9)[1]
    count = 4000
    sampling = SAMPLING | {"max_new_tokens": 1, "temperature": 0.5, "top_p": 0.8}
    written = continue_prompts(model, [prompt] * count, range(count), {NEVER}, sampling)
    with torch.inference_mode():
        expected = nucleus(model(torch.tensor([prompt])).logits[0, -1], 0.5, 0.8)
    counts = torch.bincount(
        torch.tensor([continuation.tokens[0] for continuation in written]), minlength=len(expected)
    )
    assert (counts[expected == 0] == 0).all()
    inside = expected > 0
    assert inside.sum() > 3
    assert 0.5 * (counts / count - expected).abs().sum() < 0.5 * math.sqrt(
        int(inside.sum()) / count
    )


# --- scores


@pytest.mark.parametrize("widths", [(1,), (3,), (1, 2, 5, 3)])
def test_scores_equal_full_forward_passes(model: PreTrainedModel, widths: tuple[int, ...]) -> None:
    prefixes = prompts(6, 10)
    generator = np.random.default_rng(0)
    endings = [generator.integers(0, 350, width).tolist() for width in widths]
    scores = score_endings(model, prefixes, endings)
    assert scores.shape == (6, len(widths))
    assert scores.dtype == np.float64
    for (row, prefix), (column, ending) in itertools.product(
        enumerate(prefixes), enumerate(endings)
    ):
        with torch.inference_mode():
            chances = model(torch.tensor([prefix + ending])).logits[0].double().log_softmax(-1)
        direct = sum(
            float(chances[len(prefix) - 1 + place, token]) for place, token in enumerate(ending)
        )
        assert scores[row, column] == pytest.approx(direct, abs=1e-4)


@pytest.mark.parametrize("alike", [0, 1, 9])
@pytest.mark.parametrize("make", [tiny.model, tiny.mistral])
def test_prompts_that_begin_alike_are_read_once_and_nothing_changes(
    make: Callable[[int], PreTrainedModel], alike: int
) -> None:
    model, begin = make(1).eval(), list(range(40, 40 + alike))
    asked = [begin + prompt for prompt in prompts(8, 5, longest=12)]
    endings = [[7], [7, 8, 9], [11, 12]]
    alone = [continue_prompts(model, [prompt], [0], {NEVER}, GREEDY)[0] for prompt in asked]
    scores = np.concatenate([score_endings(model, [prompt], endings) for prompt in asked])
    rows = range(len(asked))
    assert continue_prompts(model, asked, rows, {NEVER}, GREEDY) == alone
    written, together = continue_and_score(model, asked, rows, {NEVER}, GREEDY, endings)
    assert written == alone
    assert together == pytest.approx(scores, abs=1e-4)


def test_scores_of_all_tokens_are_a_distribution(model: PreTrainedModel) -> None:
    scores = score_endings(model, prompts(3, 12), [[token] for token in range(350)])
    assert np.exp(scores).sum(1) == pytest.approx(np.ones(3), abs=1e-9)


def test_closed_set_scores_are_the_losses_of_training(model: PreTrainedModel) -> None:
    encoder = Encoder(tiny.tokenizer(), "find it")
    labels = ["joy", "sadness", "a"]
    between = "\n\nEmotion: "
    pieces = classifier_pieces(encoder, ["i feel"] * 3, labels, ["so"] * 3, "reason_label", between)
    prefix = encoder.chats(["i feel"])[0] + encoder.plain(["so"])[0] + encoder.plain([between])[0]
    whole = [piece.prompt + piece.target for piece in pieces]
    assert all(ids[: len(prefix)] == prefix for ids in whole)
    documents, _ = collect(
        [Piece(row, prefix, ids[len(prefix) :]) for row, ids in enumerate(whole)], tiny.WINDOW
    )
    engine = Engine(model, tiny.COMPUTE)
    losses = [engine.loss_sum(documents, np.array([row])).item() for row in range(3)]
    scores = score_endings(model, [prefix], [ids[len(prefix) :] for ids in whole])
    assert scores[0] == pytest.approx([-loss for loss in losses], abs=1e-4)


# --- chunks

SCHEMA = pa.schema(
    [pa.field("row", pa.int64(), nullable=False), pa.field("tokens", pa.list_(pa.int64()))]
)
CHUNK = 4


def numbered(chunk: list[int]) -> list[dict[str, Any]]:
    return [{"row": row, "tokens": [row] * (row % 3)} for row in chunk]


@settings(max_examples=30)
@given(
    lengths=st.lists(st.integers(0, 9), max_size=20), size=st.integers(1, 6),
    broken=st.integers(0, 20), number=st.integers(0, 10**9),
)  # fmt: skip
def test_chunks_are_of_like_length_and_survive_an_exception(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    size: int,
    broken: int,
    number: int,
) -> None:
    work = tmp_path_factory.mktemp(f"chunks-{number}")
    asked = [[0] * length for length in lengths]
    seen: list[list[int]] = []

    def write(chunk: list[int]) -> list[dict[str, Any]]:
        seen.append(chunk)
        if len(seen) == broken:
            raise RuntimeError("broken")
        return numbered(chunk)

    chunks = math.ceil(len(lengths) / size)
    if 1 <= broken <= chunks:
        with pytest.raises(RuntimeError, match="broken"):
            generation.in_chunks(work, asked, size, SCHEMA, write)
        seen.pop()  # the broken chunk is asked for again, the finished ones are not
        broken = 0
    rows = generation.in_chunks(work, asked, size, SCHEMA, write)
    assert rows == numbered(list(range(len(lengths))))
    assert len(seen) == chunks
    assert sorted(itertools.chain(*seen)) == list(range(len(lengths)))
    assert all(len(chunk) <= size for chunk in seen)
    in_order = [lengths[row] for row in itertools.chain(*seen)]
    assert in_order == sorted(in_order)


def written_rows(work: Path, dies_in: int | None = None) -> Path:
    """Sample in chunks and write all rows; or be killed in the midst of a chunk."""
    model, asked = tiny.model(1), prompts(18, 13)
    started = itertools.count()

    def write(chunk: list[int]) -> list[dict[str, Any]]:
        written = continue_prompts(model, [asked[row] for row in chunk], chunk, {9}, SAMPLING)
        if next(started) == dies_in:
            tiny.die()
        return [
            {"row": row, "tokens": continuation.tokens}
            for row, continuation in zip(chunk, written, strict=True)
        ]

    rows = generation.in_chunks(work, asked, CHUNK, SCHEMA, write)
    write_rows(work / "all.parquet", rows, SCHEMA)
    return work / "all.parquet"


def killed_rows(work: Path, dies_in: int | None, event: tuple[str, str, int] | None) -> None:
    if event:
        tiny.die_at(*event)
    written_rows(work, dies_in)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_rows(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize(
    ("dies_in", "event", "finished"),
    [
        (0, None, 0),
        (2, None, 2),
        (None, ("os.rename", "chunk-000003", 1), 3),
        (4, None, 4),
        (None, ("os.rename", "all.parquet", 1), 5),
    ],
)
def test_killed_and_resumed_the_bytes_are_the_same(
    undisturbed: Path,
    tmp_path: Path,
    dies_in: int | None,
    event: tuple[str, str, int] | None,
    finished: int,
) -> None:
    tiny.killed(killed_rows, tmp_path, dies_in, event)
    chunks = sorted(tmp_path.glob("chunk-*/rows.parquet"))
    assert len(chunks) == finished
    before = [(chunk.stat().st_ino, chunk.stat().st_mtime_ns) for chunk in chunks]
    assert written_rows(tmp_path).read_bytes() == undisturbed.read_bytes()
    assert [(chunk.stat().st_ino, chunk.stat().st_mtime_ns) for chunk in chunks] == before
    for file in sorted(undisturbed.parent.rglob("*.parquet")):
        assert (tmp_path / file.relative_to(undisturbed.parent)).read_bytes() == file.read_bytes()
