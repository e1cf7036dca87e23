"""A classifier answers within its model's positions, and says of which texts it can't."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tiny
from infuse.config.reasonings import Decoding
from infuse.inference.classification import Reader
from infuse.inference.form import Form
from infuse.models.loading import save

LABELS = ["anger", "joy"]
CHAT = {"system": "s", "date_string": "d"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Classifiers that have learned nothing, of two forms."""
    model_folders = {}
    for target, separator in (("label", None), ("reason_label", "\n\nAnswer: ")):
        model_folders[target] = tmp_path_factory.mktemp("models") / target
        save(tiny.model(), tiny.tokenizer(), model_folders[target])
        Form(LABELS, target, separator, CHAT).save(model_folders[target])
    return model_folders


@pytest.mark.parametrize("target", ["label", "reason_label"])
def test_nothing_is_read_beyond_the_last_position(target: str, folders: dict[str, Path]) -> None:
    reader = Reader(folders[target], "transformers", tiny.COMPUTE)
    assert reader.slots.positions == tiny.WINDOW
    texts = ["joy " * count for count in range(1, tiny.WINDOW)]
    prompts = reader.prompts(texts)
    read = reader.read(prompts, range(len(texts)), Decoding(max_new_tokens=tiny.WINDOW))
    outcomes = [reading.answer.outcome for reading in read]
    first = outcomes.index("too_long")
    assert first > 0 and set(outcomes[first:]) == {"too_long"}
    slots = reader.slots
    longest = max(map(len, slots.endings)) + (target == "reason_label") * len(slots.between)
    assert len(prompts[first - 1]) + longest <= slots.positions < len(prompts[first]) + longest
    for prompt, reading in zip(prompts, read[:first], strict=False):
        assert len(prompt) + reading.tokens <= reader.slots.positions
        assert np.isfinite(reading.log_probabilities).all() and reading.closed_set in LABELS
    for reading in read[first:]:
        assert (
            reading.answer.predicted == reading.closed_set == ""
            and len(reading.log_probabilities) == 0
        )
    prefixes, _ = reader.before_labels(prompts[:first], ["so " * 99] * first)
    assert max(map(len, prefixes)) < reader.slots.positions


def test_neighbours_that_are_too_long_change_no_answer(folders: dict[str, Path]) -> None:
    reader = Reader(folders["label"], "transformers", tiny.COMPUTE)
    prompts = reader.prompts(["joy", "so " * 99, "anger"])
    both = reader.read(prompts, [0, 1, 2], Decoding(max_new_tokens=5))
    alone = reader.read([prompts[0], prompts[2]], [0, 2], Decoding(max_new_tokens=5))
    for reading, other in zip((both[0], both[2]), alone, strict=True):
        assert reading.answer == other.answer
        assert reading.log_probabilities == pytest.approx(other.log_probabilities, abs=1e-5)
