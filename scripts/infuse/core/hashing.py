"""Hashes of values, of files and of folders."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import yaml

from infuse.core.errors import UserError
from infuse.core.files import read_json

WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
T = TypeVar("T")
# What transformers reads of a model folder beside weights: config, adapter, tokenizer, template.
_MODEL = (
    "config.json", "generation_config.json", "adapter_config.json", "adapter_model.safetensors",
    "tokenizer*.json", "*.model", "*.tiktoken", "vocab.json", "vocab.txt", "merges.txt",
    "tekken.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json", "additional_chat_templates/*.jinja",
)  # fmt: skip


def fingerprint(value: Any, digits: int = 12) -> str:
    """A hash, of 1 to 64 hexadecimal digits, of a JSON value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def content_hash(path: str, where: str) -> str:
    """The MD5 of a file, or that which a DVC pointer beside it gives; of a model folder's files.

    MD5 because DVC records it: a pointer can stand in for a file that was not pulled. Not for a
    folder: its own lists all files, and only those that are loaded count here.

    Raises:
        UserError: there is neither the file nor a pointer, or the pointer gives no MD5 of a file;
            `where` names the config key.
    """
    target, pointer = Path(path), Path(path + ".dvc")
    if target.is_file():
        with target.open("rb") as stream:
            return hashlib.file_digest(stream, "md5").hexdigest()
    if target.is_dir():
        files = model_files(target)
        return fingerprint([[name, content_hash(str(target / name), where)] for name in files])
    if pointer.is_file():
        try:
            md5 = str(yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"][0]["md5"])
        except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError):
            raise UserError(f"{where}: expected outs[0].md5 in the DVC pointer {pointer}") from None
        if md5.endswith(".dir"):
            raise UserError(f"{where}: the folder has to be here: dvc pull {path}")
        return md5
    raise UserError(f"{where}: no such file or folder: {path}")


def model_files(folder: Path) -> list[str]:
    """The files of a model folder that are loaded, relative to it.

    Weights are those that transformers takes: one file, or those that an index names. Other
    formats, cards, notes of a download and states of a training are no part of the model.

    Raises:
        UserError: its config or index can't be read.
    """
    paths = (path for pattern in _MODEL for path in folder.glob(pattern) if path.is_file())
    files = {path.relative_to(folder).as_posix() for path in paths if path.name[0] != "."}
    named = _entry(folder / "config.json", "transformers_weights", str)
    first = named or (WEIGHTS if (folder / WEIGHTS).is_file() else INDEX)
    if (folder / first).is_file():
        files.add(first)
        if first.endswith(".index.json"):
            files |= set(map(str, (_entry(folder / first, "weight_map", dict) or {}).values()))
    return sorted(files)


def _entry(file: Path, key: str, kind: type[T]) -> T | None:
    """What a mapping in a JSON file has under a key, if the file is there."""
    tree = read_json(file) if file.is_file() else {}
    value = tree.get(key) if isinstance(tree, dict) else tree
    if not isinstance(value, kind | None):
        raise UserError(f"{file}: not what a model folder has there")
    return value
