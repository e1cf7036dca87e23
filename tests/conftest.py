"""Fixtures that tests of several stages share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from stage_runner import RunStage, runner

pytest_plugins = ("trees", "browsers")

# A busy machine is no failure.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="session", autouse=True)
def _own_compiled_code(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Torch's headers, compiled as for another processor, are not taken from its common cache."""
    from trees import of_all_workers

    folder = of_all_workers(tmp_path_factory) / "compiled"
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)


@pytest.fixture
def run_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> RunStage:
    """`run_stage(stage, params, inputs, settings)` runs a stage and gives its `Outcome`."""
    return runner(tmp_path, monkeypatch, capsys)


@pytest.fixture
def local_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, where `datasets` finds what is written there as it would on the hub."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    (tmp_path / "hub").mkdir()
    monkeypatch.chdir(tmp_path)
    return Path("hub")
