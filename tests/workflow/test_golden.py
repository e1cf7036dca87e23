"""A stage that computes something else must raise its VERSION: the keys say so to all users."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import goldens
from faults.driver import find
from trees import Tree, tiny

KEPT = json.loads(goldens.FILE.read_text())
Change = Callable[[Any], Any]


def test_what_stages_compute_changes_only_with_their_version(built: Tree) -> None:
    goldens.compare(built.root, tiny())


def _scaled(factor: float) -> Change:
    return lambda real: lambda *arguments: factor * real(*arguments)


def _warmer(real: Any) -> Any:
    return lambda logits, drawn, temperature, top_p: real(logits, drawn, 1.1 * temperature, top_p)


CHANGES: dict[str, tuple[str, str, str, Change]] = {
    "the learning rate, by a hundredth": (
        "classifier", "label-seed1", "infuse.training.loop:learning_rate", _scaled(1.01)
    ),
    "the loss, by a thousandth": (
        "classifier", "label-seed1", "infuse.training.step:Engine.loss_sum", _scaled(1.001)
    ),
    "the schedule": (
        "classifier", "label-seed1", "infuse.training.loop:learning_rate",
        lambda real: lambda step, total, recipe: real(step, total, recipe | {"schedule": "linear"}),
    ),
    "the weight of a label in the loss": (
        "classifier", "label-seed1", "infuse.training.step:Engine.weights",
        lambda real: lambda *_: (1.02, 0.98),
    ),
    "the order of documents": (
        "classifier", "label-seed1", "infuse.training.batching:steps",
        lambda real: lambda lengths, how, epochs, seed: real(lengths, how, epochs, seed + 1),
    ),
    "the temperature": (
        "reasonings", "scratch", "infuse.inference.generation:_sample", _warmer
    ),
    "scores of labels, by a thousandth": (
        "predictions", "label-seed1", "infuse.inference.generation:score_prefilled", _scaled(1.001)
    ),
    "an interval": (
        "metrics", "tiny", "infuse.evaluation.stats:wilson",
        lambda real: lambda correct, n: real(correct, n, 0.949),
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", [None, *CHANGES])
def test_a_change_is_told_from_rounding(
    built: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str | None
) -> None:
    """One artifact, made anew from the same inputs: as before, or with a part that is changed."""
    stage, name, target, of = CHANGES[change or "the learning rate, by a hundredth"]
    [node] = [n for n in goldens.nodes(tiny()) if (n.stage, n.name) == (stage, name)]
    for source in node.inputs.values():
        shutil.copytree(built.root / source.path, tmp_path / source.path, dirs_exist_ok=True)
    if change:
        owner, attribute = find(target)
        monkeypatch.setattr(owner, attribute, of(getattr(owner, attribute)))
    goldens.make(tmp_path, [node])
    changed_files = goldens.differences(
        goldens.entry(tmp_path, node), KEPT[f"{tiny()['experiment']}: {stage} {name}"]
    )
    assert bool(changed_files) == bool(change)
