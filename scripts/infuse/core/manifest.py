"""Folders that say what they hold: sealed when they are whole, checked before they are used."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from infuse.core.errors import UnreadError, UserError
from infuse.core.files import json_text, read_json, write_json
from infuse.core.hashing import fingerprint

log = logging.getLogger("infuse")
SEAL = "provenance.json"
_APART = {SEAL, "README.md"}  # a card is for people, who may mend it
# What file managers, editors and disks leave, beside files with a hidden name; in lower case.
_LEFT = (
    "thumbs.db", "ehthumbs*.db", "desktop.ini", "icon\r", "@eadir", "$recycle.bin", "lost+found",
    "system volume information", "__macosx", "*~", "~$*", "#*#",
)  # fmt: skip


class Added(UserError):
    """A folder is whole, but for a file that is no part of it."""


def seal(folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write `provenance`, with size and SHA-256 of each file, and the SHA-256 of all of that."""
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": _sha(folder / name)}
        for name in names(folder)
    }
    whole = {**provenance, "files": files}
    write_json(folder / SEAL, whole | {"seal": fingerprint(whole, 64)})


def sealed(folder: Path) -> dict[str, Any]:
    """What a folder says of itself.

    Raises:
        UserError: it says nothing, or not what was written.
    """
    file = folder / SEAL
    provenance = read_json(file)
    if isinstance(provenance, dict) and "seal" not in provenance:
        raise UserError(f"{file}: not sealed, an earlier version made it")
    text = file.read_text(encoding="utf-8")
    same = isinstance(provenance, dict) and json_text(provenance) == text
    if not same or provenance.pop("seal", None) != fingerprint(provenance, 64):
        raise UserError(f"{file}: damaged, it does not have its own SHA-256")
    return provenance


def read_provenance(folder: Path) -> dict[str, Any]:
    """The same unchecked, of a folder that was checked before.

    Raises:
        UserError: the file is missing, or not readable as JSON.
    """
    provenance: dict[str, Any] = read_json(folder / SEAL)
    return provenance


def check(folder: Path, contents: bool = True) -> dict[str, Any]:
    """`sealed`, once its files are found to be those that were sealed.

    Args:
        contents: read them; otherwise only their sizes are looked at.

    Raises:
        UserError: a file is missing or has changed.
        Added: else, one was added.
    """
    provenance = sealed(folder)
    for name, expected in provenance["files"].items():
        file = folder / name
        if not file.is_file():
            raise UserError(f"{file}: no such file")
        size = file.stat().st_size
        if size != expected["bytes"]:
            raise UserError(f"{file}: damaged, it has {size} bytes of {expected['bytes']}")
        if contents and _sha(file) != expected["sha256"]:
            raise UserError(f"{file}: damaged, its SHA-256 is not the one in {SEAL}")
    for name in names(folder):
        if name not in provenance["files"]:
            raise Added(f"{folder / name}: no part of what was made; move this file elsewhere")
    return provenance


def anew(folder: Path) -> str:
    """What to do with a damaged folder, and what that costs."""
    try:
        minutes = read_json(folder / SEAL)["cost"]["seconds"] / 60
        cost = f", which takes {minutes:.0f} minutes or more" if minutes >= 1 else ""
    except (UserError, LookupError, TypeError):
        cost = ""
    return f"move {folder} elsewhere, and it is made anew{cost}"


def whole(folder: Path, instead: str = "it is made again") -> bool:
    """Whether a folder of work is there and undamaged; a damaged one is removed.

    Args:
        instead: what happens then, for the log.

    Raises:
        UnreadError: a file can't be read, which the disk may get over.
        Added: a file is no part of it; the rest is whole.
    """
    if not folder.is_dir():
        return False
    try:
        check(folder)
    except (UnreadError, Added):
        raise
    except UserError as damage:
        log.warning("%s; %s", damage, instead)
        shutil.rmtree(folder)
        return False
    return True


def names(folder: Path) -> list[str]:
    """The files that a seal speaks of, relative to the folder.

    Those which a file manager, an editor or a network disk left are no part of it.
    """
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        path.as_posix()
        for path in files
        if path.name not in _APART and not any(map(_is_left, path.parts))
    )


def _is_left(name: str) -> bool:
    return name.startswith(".") or any(fnmatch(name.lower(), left) for left in _LEFT)


def _sha(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as failure:
        raise UnreadError(f"{file}: {failure.strerror}") from None
