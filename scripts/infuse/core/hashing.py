"""Hashes of values, of files and of folders."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from infuse.core.errors import UserError


def fingerprint(value: Any, digits: int = 12) -> str:
    """A hash, of 1 to 64 hexadecimal digits, of a JSON value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def content_hash(path: str, where: str) -> str:
    """The MD5 of a file or of a folder's files, or that which a DVC pointer beside it gives.

    MD5 because DVC records it: a pointer can stand in for a file that was not pulled.

    Raises:
        UserError: there is neither the file nor a pointer, or the pointer gives no MD5; `where`
            names the config key.
    """
    target, pointer = Path(path), Path(path + ".dvc")
    if target.is_file():
        with target.open("rb") as stream:
            return hashlib.file_digest(stream, "md5").hexdigest()
    if target.is_dir():
        files = sorted(file for file in target.rglob("*") if file.is_file())
        return fingerprint(
            [[str(f.relative_to(target)), content_hash(str(f), where)] for f in files]
        )
    if pointer.is_file():
        try:
            return str(yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"][0]["md5"])
        except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError):
            raise UserError(f"{where}: expected outs[0].md5 in the DVC pointer {pointer}") from None
    raise UserError(f"{where}: no such file or folder: {path}")
