"""Figures come from numbers alone, and twice the same."""

from __future__ import annotations

import sys
from pathlib import Path

from infuse import drawing

LABELS = ["joy", "fear"]
ROWS = [
    {"arm": "a", "seed": 1, "label": label, "predicted": predicted, "rows": rows}
    for label, predicted, rows in (("joy", "joy", 3), ("joy", "", 1), ("fear", "joy", 2))
]


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        drawing.save(drawing.confusion(ROWS, LABELS, "Q->A"), tmp_path / name)
        drawing.save(drawing.stages(), tmp_path / f"stages {name}")
    for form in ("png", "pdf"):
        assert (tmp_path / f"one.{form}").read_bytes() == (tmp_path / f"two.{form}").read_bytes()
        one, two = (tmp_path / f"stages {name}.{form}" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_every_count_is_written_in_its_cell() -> None:
    figure = drawing.confusion(ROWS, LABELS, "Q->A")
    axes = figure.axes[0]
    said = {text.get_position(): text.get_text() for text in axes.texts}
    assert said == {(0, 0): "3", (1, 0): "0", (2, 0): "1", (0, 1): "2", (1, 1): "0", (2, 1): "0"}


def test_a_label_that_is_called_none_has_a_column_of_its_own() -> None:
    rows = [
        {"arm": "a", "seed": 1, "label": "none", "predicted": said, "rows": count}
        for said, count in (("none", 3), ("", 2))
    ]
    axes = drawing.confusion(rows, ["favor", "none"], "Q->A").axes[0]
    said = {text.get_position(): text.get_text() for text in axes.texts}
    assert (said[1, 1], said[2, 1]) == ("3", "2")


def test_many_labels_and_any_label_can_be_drawn(tmp_path: Path) -> None:
    labels = ["$\\frac$", *(f"label {number}" for number in range(199))]
    rows = [{"arm": "a", "seed": 1, "label": n, "predicted": n, "rows": 1} for n in labels]
    drawing.save(drawing.confusion(rows, labels, "Q->A"), tmp_path / "many")
    assert (tmp_path / "many.png").stat().st_size < 500_000


def test_no_model_library_is_needed() -> None:
    import subprocess

    code = "import figures, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    scripts = Path(__file__).parents[1] / "scripts"
    assert subprocess.run([sys.executable, "-c", code], cwd=scripts, check=False).returncode == 0
