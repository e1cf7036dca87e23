"""A stage that computes something else must raise its VERSION: the keys say so to all users."""

from __future__ import annotations

import json

import pytest
import yaml

from golden import FILE, entries
from workflow import ROOT, Tree


def test_what_stages_compute_changes_only_with_their_version(built: Tree) -> None:
    tiny = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text())
    now = dict(entries(built.root, tiny))
    kept = json.loads(FILE.read_text())
    assert now.keys() == kept.keys(), "run `make golden`"
    for name, entry in now.items():
        if entry["key"] != kept[name]["key"]:
            pytest.fail(f"{name}: version, parameters or inputs changed; run `make golden`")
        same = entry["exact"] == kept[name]["exact"] and entry["losses"] == pytest.approx(
            kept[name]["losses"], rel=1e-4
        )
        stage = name.split()[0]
        assert same, f"{name} changed: raise VERSION in scripts/{stage}.py, then run `make golden`"
