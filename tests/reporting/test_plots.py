"""Figures come from numbers alone, and twice the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from infuse.reporting import plots
from infuse.reporting.arm_tables import Point

LABELS = ["joy", "fear"]
ROWS = [
    {"arm": "a", "seed": 1, "label": label, "predicted": predicted, "rows": rows}
    for label, predicted, rows in (("joy", "joy", 3), ("joy", "", 1), ("fear", "joy", 2))
]


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        plots.save(plots.confusion(ROWS, LABELS, "Q->A"), tmp_path / name)
        plots.save(plots.stages(), tmp_path / f"stages {name}")
    for form in ("png", "pdf"):
        assert (tmp_path / f"one.{form}").read_bytes() == (tmp_path / f"two.{form}").read_bytes()
        first, second = (tmp_path / f"stages {name}.{form}" for name in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()


def test_every_count_is_written_in_its_cell() -> None:
    figure = plots.confusion(ROWS, LABELS, "Q->A")
    axes = figure.axes[0]
    said = {text.get_position(): text.get_text() for text in axes.texts}
    assert said == {(0, 0): "3", (1, 0): "0", (2, 0): "1", (0, 1): "2", (1, 1): "0", (2, 1): "0"}


def test_a_label_that_is_called_none_has_a_column_of_its_own() -> None:
    rows = [
        {"arm": "a", "seed": 1, "label": "none", "predicted": said, "rows": count}
        for said, count in (("none", 3), ("", 2))
    ]
    axes = plots.confusion(rows, ["favor", "none"], "Q->A").axes[0]
    said = {text.get_position(): text.get_text() for text in axes.texts}
    assert (said[1, 1], said[2, 1]) == ("3", "2")


def test_many_labels_and_any_label_can_be_drawn(tmp_path: Path) -> None:
    labels = ["$\\frac$", *(f"label {number}" for number in range(199))]
    rows = [{"arm": "a", "seed": 1, "label": n, "predicted": n, "rows": 1} for n in labels]
    plots.save(plots.confusion(rows, labels, "Q->A"), tmp_path / "many")
    assert (tmp_path / "many.png").stat().st_size < 500_000


def test_an_arm_has_one_colour_in_all_regimes_and_its_line_goes_through_its_means() -> None:
    def rows(**reached: float) -> list[dict[str, Any]]:
        return [
            {"arm": arm, "seed": seed, "accuracy": share + 0.02 * seed}
            for arm, share in reached.items()
            for seed in (-1, 1)
        ]

    own = rows(label=0.1, same=0.5, why=0.8)  # in another order, and with an arm of its own
    points = [
        Point("rows", 0.2, rows(why=0.3, same=0.4), [], []),
        Point("label_noise", 0.3, rows(why=0.6, same=0.2), [], []),
    ]
    figure = plots.regimes(own, points)
    curves = [
        {
            line.get_label(): line
            for line in axes.lines
            if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"
        }
        for axes in figure.axes
    ]
    expected = [
        {"why": ([0.2, 1], [30, 80]), "same": ([0.2, 1], [40, 50])},
        {"why": ([0, 0.3], [80, 60]), "same": ([0, 0.3], [50, 20])},
    ]
    for drawn, wanted in zip(curves, expected, strict=True):
        assert drawn.keys() == wanted.keys()
        for arm, (x, y) in wanted.items():
            assert list(drawn[arm].get_xdata()) == x
            assert list(drawn[arm].get_ydata()) == pytest.approx(y)
            assert drawn[arm].get_color() == curves[0][arm].get_color()
    assert curves[0]["why"].get_color() != curves[0]["same"].get_color()


def test_no_model_library_is_needed() -> None:
    import subprocess

    code = "import figures, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    scripts = Path(__file__).parents[2] / "scripts"
    assert subprocess.run([sys.executable, "-c", code], cwd=scripts, check=False).returncode == 0
