"""A stage that computes something else must raise its VERSION: the keys say so to all users."""

from __future__ import annotations

from goldens import compare
from trees import Tree, tiny


def test_what_stages_compute_changes_only_with_their_version(built: Tree) -> None:
    compare(built.root, tiny())
