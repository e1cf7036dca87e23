"""What a run cost is told, or nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest

from infuse.core import locks, resources
from infuse.core.files import read_json, write_json
from patience import wait_until


def test_attempts_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a process that was killed: it has kept what it had spent."""
    kept = tmp_path / "spent.json"
    with resources.Meter(kept) as first:
        before = first.read()
    spent = read_json(kept)
    assert spent["seconds"] >= before["seconds"]
    write_json(kept, spent | {"seconds": 1000.0, "peak_memory_mb": 1e6})
    monkeypatch.setattr(resources, "OFTEN", 0.01)
    with resources.Meter(kept) as second:
        written = kept.stat().st_mtime_ns
        wait_until(lambda: kept.stat().st_mtime_ns != written)  # where a kill may come
        assert read_json(kept)["seconds"] >= 1000
    cost = second.read()
    assert cost["seconds"] >= 1000 and cost["peak_memory_mb"] == 1e6


def test_memory_that_was_freed_before_does_not_count(tmp_path: Path) -> None:
    size = 300
    with resources.Meter(tmp_path / "a") as first:
        large = bytearray(size << 20)
        had = first.read()["peak_memory_mb"]
    del large
    with resources.Meter(tmp_path / "b") as second:
        assert second.read()["peak_memory_mb"] < had - size / 2


def test_a_lock_is_shared_though_what_was_left_can_not_be_removed(tmp_path: Path) -> None:
    (tmp_path / "locks/a folder").mkdir(parents=True)
    (tmp_path / "locks/a file").touch()
    assert locks.join(tmp_path / "lock", tmp_path / "locks")
    assert [left.name for left in (tmp_path / "locks").iterdir()] == ["a folder"]
    with locks.lock(tmp_path / "lock", False) as shared:  # another file: of whoever comes next
        assert shared


def test_energy_goes_on_where_a_counter_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "RAPL", tmp_path)
    assert resources.Meter(tmp_path / "none").read()["energy_joules"] is None
    for zone in ("intel-rapl:0", "intel-rapl:1"):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "max_energy_range_uj").write_text("9999999\n")
        (tmp_path / zone / "energy_uj").write_text("7000000\n")
    meter = resources.Meter(tmp_path / "none")
    for counts, joules in (((8000000, 7500000), 1.5), ((1000000, 7500000), 4.5)):
        for zone, count in zip(("intel-rapl:0", "intel-rapl:1"), counts, strict=True):
            (tmp_path / zone / "energy_uj").write_text(f"{count}\n")
        assert meter.read()["energy_joules"] == joules
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    assert meter.read()["energy_joules"] is None
