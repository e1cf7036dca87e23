"""A sealed folder is found whole, or what is wrong with it is told; nothing in between."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infuse.core import manifest
from infuse.core.errors import UnreadError, UserError
from infuse.core.manifest import SEAL, Added, anew, check, names, seal, whole

NAMES = st.text("abc", min_size=1, max_size=3)
TOLD = {"key": "0123456789ab", "facts": {"loss": 0.1, "name": "\u00e9"}}


def folder(root: Path, files: dict[str, bytes]) -> Path:
    """A sealed folder, with a card that is no part of the seal."""
    (root / "sub").mkdir(parents=True)
    for at, (name, content) in enumerate(files.items()):
        (root / ("sub" if at % 2 else ".") / name).write_bytes(content)
    (root / "README.md").write_text("a card")
    seal(root, TOLD)
    return root


@settings(max_examples=40)
@given(files=st.dictionaries(NAMES, st.binary(min_size=1, max_size=50), min_size=1), data=st.data())
def test_any_flipped_byte_is_found_and_its_file_named(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], data: st.DataObject
) -> None:
    root = folder(tmp_path_factory.mktemp("sealed") / "a", files)
    assert {part: check(root)[part] for part in TOLD} == TOLD
    (root / "README.md").write_text("a better card")
    assert check(root)["key"] == TOLD["key"]
    paths = sorted(p for p in root.rglob("*") if p.is_file() and p.name != "README.md")
    path = data.draw(st.sampled_from(paths))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path}: "):
        check(root)


@pytest.mark.parametrize("contents", [True, False])
def test_a_missing_or_cut_file_is_found_without_reading(tmp_path: Path, contents: bool) -> None:
    root = folder(tmp_path / "a", {"x": b"1234", "y": b"12"})
    (root / "x").write_bytes(b"123")
    with pytest.raises(UserError, match=f"^{root}/x: damaged, it has 3 bytes of 4$"):
        check(root, contents)
    (root / "x").unlink()
    with pytest.raises(UserError, match=f"^{root}/x: no such file$"):
        check(root, contents)
    (root / SEAL).unlink()
    with pytest.raises(UserError, match=f"^{root}/{SEAL}: no such file$"):
        check(root, contents)


LEFT = [
    ".DS_Store", "._x", "Thumbs.db", "desktop.ini", ".nfs000000000160c011", ".directory",
    ".~lock.x#", "@eaDir/x/SYNOFILE", ".Trash-0/files/x", "x~", ".x.swp", "sub/.fuse_hidden0001",
    "#x#", "lost+found/x", ".ipynb_checkpoints/x", "$RECYCLE.BIN/x",
]  # fmt: skip


@pytest.mark.parametrize("name", LEFT)
def test_what_file_managers_and_disks_leave_is_passed_over(tmp_path: Path, name: str) -> None:
    root = folder(tmp_path / "a", {"x": b"1234", "y": b"12"})
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(b"?")
    assert check(root)["key"] == TOLD["key"] and names(root) == ["sub/y", "x"]


def test_any_other_file_is_named_as_the_one_to_move(tmp_path: Path) -> None:
    """And what was made is not called damaged, unless it is."""
    root = folder(tmp_path / "a", {"x": b"1234"})
    (root / "notes.txt").write_bytes(b"?")
    with pytest.raises(Added, match=f"^{root}/notes.txt: no part of .*; move this file elsewhere$"):
        check(root)
    (root / "x").write_bytes(b"123")
    with pytest.raises(UserError, match=f"^{root}/x: damaged"):
        check(root)


def test_of_work_only_what_is_damaged_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what a disk would not read now, nor what someone put a file into."""
    root = folder(tmp_path / "a", {"x": b"1234"})
    (root / "notes.txt").write_bytes(b"?")
    with pytest.raises(Added):
        whole(root)
    (root / "notes.txt").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(manifest.hashlib, "file_digest", fails)
        with pytest.raises(UnreadError, match=f"^{root}/x: Input/output error$"):
            whole(root)
    assert whole(root)
    (root / "x").write_bytes(b"1235")
    assert not whole(root) and not root.exists()


def fails(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_advice_on_a_damaged_folder_says_what_it_costs(tmp_path: Path) -> None:
    root = tmp_path / "a"
    root.mkdir()
    seal(root, TOLD | {"cost": {"seconds": 7260.0}})
    assert anew(root) == (
        f"move {root} elsewhere, and it is made anew, which takes 121 minutes or more"
    )
    (root / SEAL).write_text("{")
    assert anew(root) == f"move {root} elsewhere, and it is made anew"
