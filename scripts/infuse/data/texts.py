"""What a row's text is, and when two texts are one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

# Zero-width characters, marks of direction, soft hyphens, selectors of a glyph's form.
INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff]"
)
# Letters of scripts that put no space between words, for use in a class of a pattern: Thai, Lao,
# Tibetan, Burmese, Khmer, Tai, Balinese, Javanese, Japanese and Chinese.
UNSPACED = (
    "\u0e00-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua980-\ua9df\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff"
)


def folded(text: str) -> str:
    """What is equal of texts that differ only in case, white space (line ends too), characters that
    do not show, and whether a letter and its accent are one code point (Unicode's form NFC) or two.
    """
    shown = text if text.isascii() else INVISIBLE.sub("", unicodedata.normalize("NFC", text))
    return " ".join(shown.split()).casefold()


def joined(row: Mapping[str, Any], columns: Sequence[str]) -> Any:
    """A column's text; of several, those that are not empty, each after its name.

    What is no text comes back as it is, for whoever tells where it stands.
    """
    if len(columns) == 1:
        return row[columns[0]]
    given = {name: row[name] for name in columns if row[name] is not None}
    strange = [name for name, value in given.items() if not isinstance(value, str)]
    if strange:
        return row[strange[0]]
    return "\n".join(f"{name}: {value.strip()}" for name, value in given.items() if value.strip())
