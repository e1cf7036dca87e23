"""Cards say what provenance.json says, in a form that the hub reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard, ModelCard

from infuse.core.files import read_rows
from infuse.core.schemas import TEXT_REASONING_LABEL
from infuse.workflow import cards
from trees import Tree, nodes


@pytest.mark.parametrize("stage", ["base", "reasoner", "classifier"])
def test_each_model_has_a_card(built: Tree, stage: str) -> None:
    for folder in nodes(built, stage).values():
        card = ModelCard((folder / "README.md").read_text())
        assert card.data.tags == ["reasoning-infused", stage]
        provenance = json.loads((folder / "provenance.json").read_text())
        assert provenance["key"] in card.text and provenance["versions"]["torch"] in card.text
        if stage != "base":
            assert f"| {provenance['facts']['steps']} " in card.text
        explains = stage == "reasoner" or "reason_label-" in folder.name
        assert (cards.GOLD in card.text) == explains == (cards.MANNER in card.text)


def test_datasets_loads_a_training_set_by_its_card(
    built: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    original = nodes(built, "training_set")["text_reasoning_label"]
    folder = shutil.copytree(original, tmp_path / "set")  # its library expands variables in a path
    card = DatasetCard((folder / "README.md").read_text())
    assert card.data.task_categories == ["text-classification"] and cards.GOLD in card.text
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path))
    for split in ("train", "validation"):
        assert list(loaded[split]) == read_rows(folder / f"{split}.parquet", TEXT_REASONING_LABEL)


def test_a_model_from_the_hub_names_its_base(tmp_path: Path) -> None:
    """The parts of a card that the tiny experiment does not have."""
    base = {
        "params": {"kind": "hub", "id": "meta-llama/Llama-3.2-1B-Instruct", "revision": "0" * 40}
    }
    (tmp_path / "provenance.json").write_text(json.dumps(base))
    provenance = {
        "stage": "reasoner", "name": "reasoner r", "key": "0123456789ab", "commit": None,
        "params": {
            "recipe": {"epochs": 1, "tuning": {"kind": "lora", "rank": 8}},
            "label_weight": None, "label_smoothing": 0.25,
        },
        "facts": {"steps": 7, "dropped": {"longer than 9 tokens": {"rows": 1234, "first": [1]}}},
        "inputs": {"base": "results/artifacts/base/b-1"}, "versions": {"torch": "2"},
    }  # fmt: skip
    text = cards.card(provenance, {"base": tmp_path})
    assert text is not None and ModelCard(text).data.base_model == base["params"]["id"]
    assert "0.25" in text and "label_weight" not in text and "label weight" not in text
    assert "lora, rank 8" in text and "1,234 rows" in text and "not known" in text
