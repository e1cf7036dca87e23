"""The hash of a model folder: what is loaded counts, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infuse.core.errors import UserError
from infuse.core.hashing import content_hash, model_files

LOADED = [
    "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
    "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "vocab.json",
    "merges.txt", "chat_template.jinja", "additional_chat_templates/tool_use.jinja",
    "adapter_config.json", "adapter_model.safetensors",
]  # fmt: skip
BESIDE = [
    "README.md", ".gitattributes", "LICENSE.txt", "pytorch_model.bin", "training_args.bin",
    "consolidated.safetensors", "model-00001-of-00002.safetensors", "onnx/model.onnx",
    "trainer_state.json", "provenance.json", "history.json", "._tokenizer.json", ".DS_Store",
    ".cache/huggingface/download/model.safetensors.metadata", "tokenizer.json.lock",
    ".cache/huggingface/download/0123.incomplete", "tokenizer.json~", "._spiece.model",
]  # fmt: skip


def folder(root: Path) -> Path:
    """A model folder as far as its hash is concerned."""
    for name in LOADED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")
    return root


@settings(max_examples=30)
@given(name=st.sampled_from(LOADED + BESIDE), text=st.sampled_from(["{} ", '{"a": 1}']))
def test_a_changed_file_changes_the_hash_if_it_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, name: str, text: str
) -> None:
    root = folder(tmp_path_factory.mktemp("model"))
    before = content_hash(str(root), "base.path")
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)
    assert (content_hash(str(root), "base.path") != before) == (name in LOADED)


def test_weights_in_parts_are_those_that_the_index_names(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "model.safetensors").unlink()
    index = {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}
    (root / "model.safetensors.index.json").write_text(json.dumps(index))
    assert {"part-1.safetensors", "part-2.safetensors"} < set(model_files(root))
    with pytest.raises(UserError, match=r"no such file or folder: .*part-1\.safetensors$"):
        content_hash(str(root), "base.path")
    (root / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(UserError, match="not what a model folder has there"):
        model_files(root)
    (root / "config.json").write_text('{"transformers_weights": "own.safetensors"}')
    (root / "own.safetensors").write_bytes(b"")
    assert "own.safetensors" in model_files(root)


def test_a_pointer_stands_for_a_file_and_for_no_folder(tmp_path: Path) -> None:
    pointer = tmp_path / "data.dvc"
    pointer.write_text("outs: [{md5: 0123ab}]")
    assert content_hash(str(tmp_path / "data"), "base.path") == "0123ab"
    pointer.write_text("outs: [{md5: 0123ab.dir}]")
    with pytest.raises(UserError, match=r"^base\.path: the folder has to be here: dvc pull "):
        content_hash(str(tmp_path / "data"), "base.path")
