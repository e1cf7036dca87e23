"""Attention within packed documents, each blind to the others, in one kernel.

transformers calls what is registered here under the name `PACKED`; a model is told by
`set_attn_implementation`. Where documents begin travels as the keyword arguments of `places`.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from infuse.models.hf import AttentionInterface, AttentionMaskInterface

PACKED = "packed_documents"


def places(lengths: npt.NDArray[np.int64], device: torch.device) -> dict[str, Any]:
    """What a forward pass over documents laid end to end must be told of them.

    The number of documents and the longest length are rounded up to powers of two, by empty
    documents at the end: compiled code is then used again, where each new number would make more.

    Args:
        lengths: int64 [documents], tokens of each.
    """
    edges = np.full(rounded(len(lengths)) + 1, lengths.sum(), np.int32)
    edges[0] = 0
    np.cumsum(lengths, out=edges[1 : len(lengths) + 1])
    return {
        "cu_seq_lens_q": torch.from_numpy(edges).to(device),
        "max_length_q": rounded(int(lengths.max())),
    }


def rounded(count: int) -> int:
    """The smallest power of two that is not less."""
    return 1 << (count - 1).bit_length()


def attend(
    _module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _mask: torch.Tensor | None,
    *,
    cu_seq_lens_q: torch.Tensor,
    max_length_q: int,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of each document to itself.

    Args:
        query: float [1, heads, tokens, width]; key and value may have fewer heads.
        cu_seq_lens_q: int32 [documents + 1], where each begins, and the end.
        max_length_q: at least the tokens of the longest.
        sliding_window: how many tokens a token sees, itself among them; None: all before it.
        softcap: what the size of a score stays below (arXiv 2408.00118); None: there is none.

    Returns:
        float [1, tokens, heads, width], and None for the weights.
    """
    # Under autocast rotary positions leave query and key in the precision of the residual stream,
    # and layers in 4 bits all three.
    kind, dtype = query.device.type, value.dtype
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
    query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if sliding_window is not None and sliding_window >= max_length_q:
        sliding_window = None
    fast = query.is_cuda and query.dtype in (torch.float16, torch.bfloat16)
    if not fast or softcap is not None:
        attended = _one_by_one(query, key, value, cu_seq_lens_q, scaling, sliding_window, softcap)
        return attended, None
    from torch.nn.attention.varlen import varlen_attn

    attended = varlen_attn(
        query[0].transpose(0, 1), key[0].transpose(0, 1), value[0].transpose(0, 1),
        cu_seq_lens_q, cu_seq_lens_q, max_length_q, max_length_q,
        scale=scaling, window_size=((sliding_window or 0) - 1, 0), enable_gqa=True,
    )  # fmt: skip
    assert isinstance(attended, torch.Tensor)
    return attended[None], None


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _one_by_one(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    edges: torch.Tensor,
    scaling: float | None,
    window: int | None,
    cap: float | None,
) -> torch.Tensor:
    """The same where flash attention can't do it: on CPU, in float32, or with a cap."""
    documents = []
    for begin, end in itertools.pairwise(edges.tolist()):
        if begin < end:
            place = slice(begin, end)
            documents.append(
                _attended(
                    query[:, :, place], key[:, :, place], value[:, :, place], scaling, window, cap
                )
            )
    return torch.cat(documents, 2).transpose(1, 2)


def _attended(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    window: int | None,
    cap: float | None,
) -> torch.Tensor:
    """Attention within one document."""
    if cap is None:
        mask = None if window is None else _seen(query, window)
        return functional.scaled_dot_product_attention(
            query, key, value, mask, is_causal=mask is None, scale=scaling, enable_gqa=True
        )
    groups = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(groups, 1) for part in (key, value))
    scores = query @ key.transpose(2, 3) * (scaling or query.shape[-1] ** -0.5)
    scores = cap * torch.tanh(scores / cap)
    scores = scores.masked_fill(~_seen(query, window or query.shape[2]), float("-inf"))
    return torch.softmax(scores.float(), -1).to(value.dtype) @ value


def _seen(query: torch.Tensor, window: int) -> torch.Tensor:
    """Bool [tokens, tokens]: whether a token sees another, of the `window` that end with it."""
    places = torch.arange(query.shape[2], device=query.device)
    behind = places[:, None] - places
    return (behind >= 0) & (behind < window)


AttentionInterface.register(PACKED, attend)
AttentionMaskInterface.register(PACKED, lambda *_, **__: None)
