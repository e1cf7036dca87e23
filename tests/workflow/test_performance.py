"""The page on speed shows what was measured."""

import json

from trees import ROOT


def test_the_page_shows_the_first_table_as_measured() -> None:
    page = (ROOT / "docs/performance.md").read_text()
    rows = json.loads((ROOT / "benchmarks/first_table.json").read_text())
    assert rows
    for row in rows:
        before, after = row["before"], row["after"]
        assert f"| {row['what']} | {before:g} | {after:g} | {after / before:.2f} |" in page
