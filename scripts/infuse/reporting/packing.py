"""Values as a text that a page holds and unpacks: JSON, columns of numbers behind it, deflated.

    base64(deflate(length of the JSON, 8 bytes | JSON | columns))

In the JSON a column stands as {"$": its type, "at": where it begins among the columns, "length":
how many numbers it has}. All parts fill multiples of 8 bytes; numbers are little-endian.
`browse/data.js` reads it.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

_TYPES = ("uint8", "uint16", "uint32", "float32")
_UNIT = 8  # bytes


def pack(value: Any) -> str:
    """The text of a value: what JSON holds, and arrays of `_TYPES`; not a number becomes null."""
    columns: list[bytes] = []
    length = 0

    def jsonable(part: Any) -> Any:
        nonlocal length
        if isinstance(part, np.ndarray):
            if part.dtype.name not in _TYPES:
                raise TypeError(f"expected a column of {', '.join(_TYPES)}, found {part.dtype}")
            content = _filled(part.astype(part.dtype.newbyteorder("<")).tobytes())
            columns.append(content)
            place, length = length, length + len(content)
            return {"$": part.dtype.name, "at": place, "length": part.size}
        if isinstance(part, dict):
            return {name: jsonable(item) for name, item in part.items()}
        if isinstance(part, list | tuple):
            return [jsonable(item) for item in part]
        return None if isinstance(part, float) and not math.isfinite(part) else part

    tree = json.dumps(jsonable(value), ensure_ascii=False, separators=(",", ":"))
    head = _filled(tree.encode(), b" ")
    size = len(head).to_bytes(_UNIT, "little")
    packed = zlib.compress(b"".join([size, head, *columns]), 9)
    return base64.b64encode(packed).decode()


def coded(strings: Iterable[str]) -> dict[str, Any]:
    """Strings as the different ones among them, and the place of each there."""
    places: dict[str, int] = {}
    codes = [places.setdefault(string, len(places)) for string in strings]
    return {"values": list(places), "codes": small(codes)}


def small(numbers: Iterable[int]) -> npt.NDArray[Any]:
    """Numbers from 0 on, in as few bytes as the largest takes."""
    column = np.array(list(numbers), np.int64)
    largest = int(column.max(initial=0))
    return column.astype(np.min_scalar_type(largest))


def _filled(content: bytes, by: bytes = b"\0") -> bytes:
    return content + by * (-len(content) % _UNIT)
