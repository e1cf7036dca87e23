"""Writing and scoring with a trained model, in chunks that survive a kill.

A row's random numbers come from (seed, row), so what it draws does not depend on its neighbours;
chunks are fixed by the rows and their prompts, so a resumed run writes the same bytes.
"""

from __future__ import annotations

import itertools
import shutil
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from infuse.config.reasonings import Decoding
from infuse.core.files import read_rows, settle, write_rows
from infuse.core.manifest import seal, whole
from infuse.core.progress import Progress
from infuse.data.encoder import Ids
from infuse.models.hf import (
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    PreTrainedModel,
)
from infuse.models.loading import backbone, positions

MOST_SCORES = 768  # prefix and ending pairs whose logits are in memory at once


class Written(NamedTuple):
    """One continuation: its tokens without the end token, and why it stopped."""

    tokens: Ids
    finish: Literal["stop", "length"]


def in_chunks(
    work: Path,
    prompts: Sequence[Ids],
    chunk_rows: int,
    schema: pa.Schema,
    write: Callable[[list[int]], list[dict[str, Any]]],
    shard: Sequence[int] = (1, 1),
) -> list[dict[str, Any]]:
    """`write` applied to the rows in chunks of like prompt length; results in the order of rows.

    Args:
        write: row numbers -> one dictionary of `schema` for each.
        shard: [i, n], where n jobs share the chunks: the i-th chunk and each n-th after it.
    """
    number, jobs = shard
    ours = chunks([len(prompt) for prompt in prompts], chunk_rows)[number - 1 :: jobs]
    folders = [work / f"chunk-{index:06d}" for index in range(len(ours))]
    missing = [not whole(folder) for folder in folders]
    rest = sum(map(len, itertools.compress(ours, missing)))
    total = sum(map(len, ours))
    progress = Progress(total, "rows", total - rest)
    for chunk, folder in itertools.compress(zip(ours, folders, strict=True), missing):
        unfinished = work / "chunk.part"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        write_rows(unfinished / "rows.parquet", write(chunk), schema)
        seal(unfinished, {"rows": len(chunk)})
        settle(unfinished, folder)
        progress.advance(len(chunk))
    rows: dict[int, dict[str, Any]] = {}
    for chunk, folder in zip(ours, folders, strict=True):
        rows |= zip(chunk, read_rows(folder / "rows.parquet", schema), strict=True)
    return [rows[row] for row in sorted(rows)]


def chunks(lengths: Sequence[int], chunk_rows: int) -> list[list[int]]:
    """Rows in chunks of like prompt length, the shortest first."""
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    return [order[at : at + chunk_rows] for at in range(0, len(order), chunk_rows)]


class Prefilled(NamedTuple):
    """Prompts that a model has read.

    Attributes:
        logits: float [prompts, vocabulary], of the token after each prompt.
        mask: int64 [prompts, places], 1 where the cache holds a token and 0 where it is padded.
        cache: keys and values.
    """

    logits: torch.Tensor
    mask: torch.Tensor
    cache: DynamicCache


@torch.inference_mode()
def prefill(
    model: PreTrainedModel, prompts: Sequence[Ids], cache: DynamicCache | None = None
) -> Prefilled:
    """Read prompts; what all of them begin with, as a chat's system message, is read once.

    Args:
        cache: an empty one; None: one that keeps no more than the model's windows.
    """
    cache = DynamicCache(config=model.config) if cache is None else cache
    alike = 0
    if len(prompts) > 1 and _sees_all(model, max(map(len, prompts))):
        columns = zip(*(prompt[:-1] for prompt in prompts), strict=False)
        alike = sum(1 for _ in itertools.takewhile(lambda column: len({*column}) == 1, columns))
    tokens, mask = _left_padded([prompt[alike:] for prompt in prompts], model.device)
    if alike:
        first = torch.tensor([prompts[0][:alike]], device=model.device)
        _forward(model, first, torch.ones_like(first), cache)
        cache.batch_repeat_interleave(len(prompts))
        mask = torch.cat([mask.new_ones(len(prompts), alike), mask], 1)
    return Prefilled(_forward(model, tokens, mask, cache), mask, cache)


def continue_prompts(
    model: PreTrainedModel,
    prompts: Sequence[Ids],
    rows: Sequence[int],
    ends: Collection[int],
    decoding: Decoding,
) -> list[Written]:
    """Continue each prompt until one of the tokens `ends`, `max_new_tokens`, or the model's last
    position.

    Args:
        prompts: each shorter than the model's positions.
        rows: the row of each prompt, for its random numbers.
        decoding: how tokens are chosen, and how many at most.
    """
    return continue_prefilled(model, prefill(model, prompts), rows, ends, decoding)


@torch.inference_mode()
def continue_prefilled(
    model: PreTrainedModel,
    read: Prefilled,
    rows: Sequence[int],
    ends: Collection[int],
    decoding: Decoding,
) -> list[Written]:
    """The same for prompts that are read already; what is written goes into their cache."""
    logits, mask, cache = read
    drawn = _uniform(rows, decoding.max_new_tokens, decoding) if decoding.temperature else None
    left = positions(model) - mask.sum(1)
    most = left.clamp(max=decoding.max_new_tokens).tolist()
    written: list[Ids] = [[] for _ in rows]
    stopped = [False] * len(rows)
    live = list(range(len(rows)))  # the rows still in the batch
    for place in range(max(most)):
        logits = logits.float()
        chosen = (
            logits.argmax(-1) if drawn is None
            else _sample(logits, drawn[live, place], decoding.temperature, decoding.top_p)
        )  # fmt: skip
        for row, token in zip(live, chosen.tolist(), strict=True):
            if stopped[row] or place >= most[row]:
                continue
            if token in ends:
                stopped[row] = True
            else:
                written[row].append(token)
        going = [
            index for index, row in enumerate(live) if not stopped[row] and place + 1 < most[row]
        ]
        if not going:
            break
        tokens = chosen[:, None]
        if len(going) <= 0.75 * len(live):
            keep = torch.tensor(going, device=model.device)
            live = [live[index] for index in going]
            tokens, mask = tokens[keep], mask[keep]
            cache.batch_select_indices(keep)
        mask = torch.cat([mask, mask.new_ones(len(live), 1)], 1)
        logits = _forward(model, tokens, mask, cache)
    return [
        Written(ids, "stop" if ended else "length")
        for ids, ended in zip(written, stopped, strict=True)
    ]


def continue_and_score(
    model: PreTrainedModel,
    prompts: Sequence[Ids],
    rows: Sequence[int],
    ends: Collection[int],
    decoding: Decoding,
    endings: Sequence[Ids],
) -> tuple[list[Written], npt.NDArray[np.float64]]:
    """`continue_prompts`, and `score_endings` after the same prompts, which are read once."""
    if not _sees_all(model, sys.maxsize) or len(prompts) * len(endings) > MOST_SCORES:
        written = continue_prompts(model, prompts, rows, ends, decoding)
        return written, score_endings(model, prompts, endings)
    read = prefill(model, prompts)
    scores = score_prefilled(model, read, endings)
    return continue_prefilled(model, read, rows, ends, decoding), scores


@torch.inference_mode()
def score_classes(model: PreTrainedModel, prompts: Sequence[Ids]) -> npt.NDArray[np.float64]:
    """Log-probability, in nats, that a linear head gives each label after each prompt.

    Returns:
        float64 [prompts, labels].
    """
    decoder, head = backbone(model)
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
    tokens = _right_padded(prompts, model.device)
    states = decoder(input_ids=tokens, use_cache=False).last_hidden_state
    last = states[torch.arange(len(prompts), device=model.device), lengths - 1]
    result: npt.NDArray[np.float64] = torch.log_softmax(head(last).double(), -1).cpu().numpy()
    return result


@torch.inference_mode()
def score_endings(
    model: PreTrainedModel, prefixes: Sequence[Ids], endings: Sequence[Ids]
) -> npt.NDArray[np.float64]:
    """Log-probability, in nats, of each ending after each prefix.

    Each prefix is computed once; where attention has a window, or is of another kind, once for
    each ending.

    Returns:
        float64 [prefixes, endings].
    """
    longest = max(map(len, prefixes)) + max(map(len, endings))
    score = _score if _sees_all(model, longest) else _score_apart
    at_once = max(1, MOST_SCORES // len(endings))
    parts = [prefixes[at : at + at_once] for at in range(0, len(prefixes), at_once)]
    return np.concatenate([score(model, part, endings) for part in parts])


def _sees_all(model: PreTrainedModel, length: int) -> bool:
    """Whether each of so many tokens sees all that stand before it, in every layer, and a mask of
    our own may say so.
    """
    return model.config._attn_implementation == "sdpa" and all(
        type(layer) is DynamicLayer
        or (type(layer) is DynamicSlidingWindowLayer and layer.sliding_window >= length)
        for layer in DynamicCache(config=model.config).layers
    )


def _score_apart(
    model: PreTrainedModel, prefixes: Sequence[Ids], endings: Sequence[Ids]
) -> npt.NDArray[np.float64]:
    """The scores by one sequence for each pair, under whatever mask the model itself makes."""
    decoder, head = backbone(model)
    result = np.zeros((len(prefixes), len(endings)))
    for index, ending in enumerate(endings):
        whole = [prefix + ending for prefix in prefixes]
        states = decoder(input_ids=_right_padded(whole, model.device), use_cache=False)
        for line, prefix in enumerate(prefixes):
            before = states.last_hidden_state[line, len(prefix) - 1 : len(whole[line]) - 1]
            chances = torch.log_softmax(head(before).double(), -1)
            result[line, index] = chances[range(len(ending)), ending].sum().item()
    return result


def _score(
    model: PreTrainedModel, prefixes: Sequence[Ids], endings: Sequence[Ids]
) -> npt.NDArray[np.float64]:
    """The scores by one sequence for each prefix, which all endings follow."""
    # A shorter cache, of a window, would not have the length of the mask.
    return score_prefilled(model, prefill(model, prefixes, DynamicCache()), endings)


@torch.inference_mode()
def score_prefilled(
    model: PreTrainedModel, read: Prefilled, endings: Sequence[Ids]
) -> npt.NDArray[np.float64]:
    """The same for prefixes that are read already, whose cache is left as it was.

    The model must be one in which each token sees all before it.
    """
    logits, mask, cache = read
    first = torch.log_softmax(logits.double(), -1)
    total = first[:, [ending[0] for ending in endings]]
    steps = [
        (index, place, *pair)
        for index, ending in enumerate(endings)
        for place, pair in enumerate(itertools.pairwise(ending))
    ]
    if steps:
        # All endings follow the prefix in one sequence; each sees the prefix and itself.
        owner, place, given, wanted = torch.tensor(steps, device=model.device).T
        own = (owner[:, None] == owner) & (place[:, None] >= place)
        every, count = torch.arange(len(steps), device=model.device), len(mask)
        attended = torch.cat(
            [mask.bool()[:, None].expand(-1, len(steps), -1), own.expand(count, -1, -1)], -1
        )
        logits = model(
            input_ids=given.expand(count, -1), attention_mask=attended[:, None],
            position_ids=mask.sum(1, keepdim=True) + place, past_key_values=cache, use_cache=True,
        ).logits  # fmt: skip
        chances = torch.log_softmax(logits.double(), -1)
        total.index_add_(1, owner, chances[:, every, wanted])
        cache.crop(mask.shape[1] - cache.get_seq_length())
    result: npt.NDArray[np.float64] = total.cpu().numpy()
    return result


def _forward(
    model: PreTrainedModel, tokens: torch.Tensor, mask: torch.Tensor, cache: DynamicCache
) -> torch.Tensor:
    """Logits [rows, vocabulary] of the token after the last place."""
    places = (mask.cumsum(1) - 1)[:, -tokens.shape[1] :]
    # A row that has ended may stay in the batch, beyond the last position.
    places = places.clamp(0, positions(model) - 1)
    return model(
        input_ids=tokens, attention_mask=mask, position_ids=places, past_key_values=cache,
        use_cache=True, logits_to_keep=1,
    ).logits[:, -1]  # fmt: skip


def _right_padded(texts: Sequence[Ids], device: torch.device) -> torch.Tensor:
    """Causal attention never looks right, so padding there needs no mask."""
    width = max(map(len, texts))
    return torch.tensor([text + [0] * (width - len(text)) for text in texts], device=device)


def _left_padded(prompts: Sequence[Ids], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(prompt) for prompt in prompts)
    tokens = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return tokens.to(device), mask.to(device)


def _uniform(rows: Sequence[int], limit: int, decoding: Decoding) -> npt.NDArray[np.float64]:
    """Random numbers in [0, 1), float64 [rows, limit]."""
    return np.stack([np.random.default_rng([decoding.seed, row]).random(limit) for row in rows])


def _sample(
    logits: torch.Tensor, drawn: npt.NDArray[np.float64], temperature: float, top_p: float
) -> torch.Tensor:
    """One token a row, by inverting the distribution of the likeliest tokens that reach `top_p`."""
    every = torch.softmax(logits / temperature, -1)
    considered = 64
    while True:  # sorting the whole vocabulary costs more than the model
        chances, order = every.topk(min(considered, every.shape[-1]))
        if considered >= every.shape[-1] or (chances.sum(-1) > top_p).all():
            break
        considered *= 8
    chances = chances.cpu()  # a GPU has no deterministic running sum
    total = chances.double().cumsum(-1)
    kept = total - chances < top_p
    reach = (chances * kept).double().cumsum(-1)
    point = torch.from_numpy(drawn)[:, None] * reach[:, -1:]
    place = torch.searchsorted(reach, point, right=True).clamp(max=kept.sum(-1, keepdim=True) - 1)
    chosen: torch.Tensor = order.gather(1, place.to(order.device))[:, 0]
    return chosen
