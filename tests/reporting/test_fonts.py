"""Names of any script in figures: drawn where a font has them, else numbered and told once."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib import font_manager, rcParams

from infuse.reporting import fonts, plots

HERE = "\u210aamma"  # matplotlib brings a font with this letter, which is not its own
NOWHERE = "\u751f\u6c14"  # Chinese, for which it brings none


@pytest.fixture(autouse=True)
def _as_new(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(rcParams, "font.family", [fonts.OWN])
    brought = [font for font in font_manager.fontManager.ttflist if "mpl-data" in font.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", brought)
    fonts._shown.cache_clear()
    yield
    fonts._shown.cache_clear()


def test_ordinary_names_stay_and_no_font_is_looked_for() -> None:
    names = ["joy", "Größe", "радость", "هادئ", "a\nb"]
    assert fonts.drawable(names, "table 4") == (names, "")
    assert rcParams["font.family"] == [fonts.OWN]


def test_letters_come_from_another_font_or_a_number_stands_for_the_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = ["joy", HERE, NOWHERE]
    cells = [{"label": name, "predicted": name, "rows": 1} for name in labels]
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING, "infuse"):
        warnings.simplefilter("error")
        for name in ("one", "two"):
            figure = plots.confusion(cells, labels, "Q->A")
            plots.save(figure, tmp_path / name)
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["joy", HERE, "3"]
    assert axes.get_xlabel() == "predicted (numbers: places in table 4)"
    (record,) = caplog.records
    assert f"3 {NOWHERE}" in record.getMessage() and HERE not in record.getMessage()
    assert (tmp_path / "two.pdf").read_bytes()[:4] == b"%PDF"
