"""Stage 2: each arm takes the steps it states; a killed run ends in the same bytes; LoRA runs."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from faults.harness import STEP, fault, run
from trees import Tree, again, nodes


def _facts(folder: Path) -> dict[str, float]:
    facts: dict[str, float] = json.loads((folder / "provenance.json").read_text())["facts"]
    assert facts["steps"] == len(json.loads((folder / "history.json").read_text())["steps"])
    return facts


def test_a_matched_arm_takes_the_other_arms_steps(built: Tree) -> None:
    arms = {name: _facts(folder) for name, folder in nodes(built, "classifier").items()}
    plain, same, reason = (
        arms[f"{arm}-seed1"] for arm in ("label", "label_same_steps", "reason_label")
    )
    assert plain["steps"] < same["steps"] == reason["steps"]
    assert same["sum_of_learning_rates"] == pytest.approx(reason["sum_of_learning_rates"])
    assert plain["supervised_tokens"] == same["supervised_tokens"] < reason["supervised_tokens"]
    ends = 2 * plain["documents"]  # one for each document in each of the two epochs
    assert plain["label_share_of_loss"] == pytest.approx(1 - ends / plain["supervised_tokens"])
    assert reason["label_share_of_loss"] < plain["label_share_of_loss"]


def test_killed_in_the_second_epoch_it_ends_in_the_same_bytes(built: Tree) -> None:
    folder = nodes(built, "classifier")["label-seed1"]
    recipe = json.loads((folder / "provenance.json").read_text())["params"]["recipe"]
    longer = {"recipe": recipe | {"epochs": 12}}
    undisturbed = again(built, folder, "undisturbed", **longer)
    subprocess.run(undisturbed, cwd=built.root, check=True, capture_output=True)
    epoch = int(_facts(built.root / "results/undisturbed")["steps"]) // 12
    command = again(built, folder, "killed", **longer)
    said = run(built, command, fault(STEP, "kill", epoch + 5))
    assert said.returncode == -signal.SIGKILL
    assert not (built.root / "results/killed").exists()
    said = subprocess.run(command, cwd=built.root, check=True, capture_output=True, text=True)
    assert "resumed after step" in said.stderr
    for name in ("model.safetensors", "history.json", "tokenizer.json"):
        expected, resumed = (
            built.root / "results" / run / name for run in ("undisturbed", "killed")
        )
        assert expected.read_bytes() == resumed.read_bytes()


def test_adapters_are_merged_into_a_folder_like_any_other(built: Tree) -> None:
    folder = nodes(built, "classifier")["label-seed1"]
    recipe = json.loads((folder / "provenance.json").read_text())["params"]["recipe"]
    lora = {
        "kind": "lora",
        "rank": 4,
        "alpha": 8.0,
        "dropout": 0.0,
        "modules": ["q_proj", "v_proj"],
    }
    command = again(built, folder, "lora", recipe=recipe | {"tuning": lora})
    subprocess.run(command, cwd=built.root, check=True, capture_output=True)
    tuned = AutoModelForCausalLM.from_pretrained(built.root / "results/lora").state_dict()
    base = AutoModelForCausalLM.from_pretrained(nodes(built, "base")["scratch"]).state_dict()
    changed = {name.split(".")[-2] for name in tuned if not tuned[name].equal(base[name])}
    assert changed == {"q_proj", "v_proj"}


@pytest.mark.parametrize(
    ("target", "separator", "label"),
    [
        ("reason_label", "ad", "sadness"),  # in it
        ("label_reason", "yy", "joy"),  # across its end
    ],
)
def test_a_separator_that_hides_a_label_is_refused(
    built: Tree, target: str, separator: str, label: str
) -> None:
    folder = nodes(built, "classifier")["reason_label-seed1"]
    command = again(built, folder, "separated", target=target, separator=separator)
    said = subprocess.run(command, cwd=built.root, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert said.stderr.splitlines()[-1].endswith(
        f"error: classifier.separators.{target}: beside {separator!r}, the label {label!r} can't"
        " be read"
    )


@pytest.mark.parametrize(("target", "told"), [("reason_label", True), ("label_reason", False)])
def test_answers_that_would_be_cut_are_told_where_all_of_it_is_needed(
    built: Tree, target: str, told: bool
) -> None:
    folder = nodes(built, "classifier")["reason_label-seed1"]
    spec = json.loads((built.root / f"results/specs/classifier/{folder.name}.json").read_text())
    needed = spec["settings"]["requirements"] | {"max_new_tokens": 12}
    command = again(built, folder, target, {"requirements": needed}, target=target)
    said = run(built, command, fault(STEP, "kill"))
    assert said.returncode == -signal.SIGKILL
    assert ("answers to learn are longer than 12 tokens" in said.stderr) == told
