"""A sealed folder is found whole, or what is wrong with it is told; nothing in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infuse.core.errors import UserError
from infuse.core.manifest import SEAL, check, seal

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
