"""What is packed is what a reader of the form unpacks."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infuse.reporting import browse_data
from infuse.reporting.packing import coded, pack, small

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def unpacked(text: str) -> Any:
    """The value, read as the docstring of `packing` tells the form."""
    content = zlib.decompress(base64.b64decode(text))
    length = int.from_bytes(content[:8], "little")
    columns = content[8 + length :]
    assert length % 8 == len(columns) % 8 == 0

    def filled(part: Any) -> Any:
        if isinstance(part, dict) and "$" in part:
            kind = np.dtype(part["$"]).newbyteorder("<")
            return np.frombuffer(columns, kind, part["length"], part["at"]).tolist()
        if isinstance(part, dict):
            return {name: filled(value) for name, value in part.items()}
        return [filled(value) for value in part] if isinstance(part, list) else part

    return filled(json.loads(content[8 : 8 + length]))


@given(st.lists(st.integers(0, 2**32 - 1)), st.lists(st.floats(width=32, allow_nan=False)), words)
def test_columns_and_texts_come_back(numbers: list[int], floats: list[float], text: str) -> None:
    value = {"a": small(numbers), "b": [np.array(floats, np.float32), text], "c": None}
    assert unpacked(pack(value)) == {"a": numbers, "b": [floats, text], "c": None}


@given(st.lists(words))
def test_strings_are_kept_once(strings: list[str]) -> None:
    column = unpacked(pack(coded(strings)))
    assert [column["values"][code] for code in column["codes"]] == strings
    assert len(column["values"]) == len(set(strings))


def test_what_json_does_not_hold() -> None:
    assert unpacked(pack([float("nan"), float("inf"), 1.5])) == [None, None, 1.5]
    with pytest.raises(TypeError, match="found int64"):
        pack(np.array([1, 2]))


@given(st.integers(1, 3000))
def test_a_curve_keeps_its_mean_and_its_end(steps: int) -> None:
    losses = np.random.default_rng(steps).random(steps)
    history = {"steps": [{"step": 1 + at, "loss": loss} for at, loss in enumerate(losses)]}
    points = browse_data.curve(history | {"evaluations": []})["steps"]
    assert len(points) <= browse_data.MOST_STEPS and points[-1][0] == steps
    widths = np.diff([0, *(step for step, _ in points)])
    mean = (widths * [loss for _, loss in points]).sum() / steps
    assert mean == pytest.approx(losses.mean())


@given(st.integers(1, 9000), st.integers(0, 2**32))
def test_a_page_holds_the_nearest_texts_and_others(count: int, seed: int) -> None:
    near = set(np.random.default_rng(seed).integers(0, count, 50).tolist())
    held = browse_data._held(count, near)
    assert near <= set(held) and held == sorted(set(held)) and held[-1] < count
    assert len(held) == min(count, browse_data.MOST_KNOWN)
