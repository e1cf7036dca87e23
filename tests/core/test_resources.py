"""What a run cost is told, or nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest

from infuse.core import resources


def test_energy_goes_on_where_a_counter_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "RAPL", tmp_path)
    assert resources.Meter().read()["energy_joules"] is None
    for zone in ("intel-rapl:0", "intel-rapl:1"):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "max_energy_range_uj").write_text("9999999\n")
        (tmp_path / zone / "energy_uj").write_text("7000000\n")
    meter = resources.Meter()
    for counts, joules in (((8000000, 7500000), 1.5), ((1000000, 7500000), 4.5)):
        for zone, count in zip(("intel-rapl:0", "intel-rapl:1"), counts, strict=True):
            (tmp_path / zone / "energy_uj").write_text(f"{count}\n")
        assert meter.read()["energy_joules"] == joules
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    assert meter.read()["energy_joules"] is None
