"""Imports between the rooms of `scripts/infuse` run one way."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from trees import ROOT

PACKAGE = ROOT / "scripts/infuse"
ROOMS = sorted(folder.parent.name for folder in PACKAGE.glob("*/__init__.py"))


def allowed(room: str) -> set[str]:
    """The rooms that a room's docstring lets it import."""
    docstring = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())) or ""
    names = re.search(r"^May import: (.*)\.$", docstring, re.MULTILINE)
    assert names, f"{room}/__init__.py: expected a line 'May import: ROOM, ROOM.'"
    return {room, *ROOMS} & {room, *names[1].split(", ")}


def imported(file: Path) -> set[str]:
    """The rooms that a module imports, anywhere in it."""
    tree = ast.walk(ast.parse(file.read_text()))
    modules = [node.module or "" for node in tree if isinstance(node, ast.ImportFrom)]
    return {module.split(".")[1] for module in modules if module.startswith("infuse.")}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_its_docstring_allows(room: str) -> None:
    for file in (PACKAGE / room).glob("*.py"):
        assert imported(file) <= allowed(room), file


def test_rooms_stand_in_an_order() -> None:
    open_rooms = {room: allowed(room) - {room} for room in ROOMS}
    while open_rooms:
        free = {room for room, needs in open_rooms.items() if not needs & open_rooms.keys()}
        assert free, f"a circle among {sorted(open_rooms)}"
        open_rooms = {room: needs for room, needs in open_rooms.items() if room not in free}


def test_no_file_is_long() -> None:
    files = [*(ROOT / "scripts").rglob("*.py"), *(ROOT / "rules").glob("*.smk")]
    assert {
        str(file): lines for file in files if (lines := len(file.read_text().splitlines())) > 400
    } == {}
