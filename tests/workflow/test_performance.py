"""The page on speed shows what was measured."""

import json
import re

from trees import ROOT


def test_the_page_shows_the_first_table_as_measured() -> None:
    page = (ROOT / "docs/performance.md").read_text()
    rows = json.loads((ROOT / "benchmarks/first_table.json").read_text())
    assert rows
    for row in rows:
        before, after = row["before"], row["after"]
        assert f"| {row['what']} | {before:g} | {after:g} | {after / before:.2f} |" in page


def test_the_page_shows_the_real_model_as_measured() -> None:
    page = (ROOT / "docs/performance.md").read_text()
    rows = json.loads((ROOT / "benchmarks/real_model.json").read_text())["rows"]
    assert rows
    for row in rows:
        what = re.sub(r"SmolLM2-135M[^,]*", "SmolLM2-135M", row["what"])
        numbers = [f"{row[side]:.3g}" if row[side] else "" for side in ("ours", "theirs")]
        ratio = f"{row['ratio']:.3g}" if row["ratio"] else ""
        assert f"| {what} | {' | '.join(numbers)} | {row['unit']} | {ratio} |" in page


def test_the_page_shows_what_the_commands_took() -> None:
    page = (ROOT / "docs/performance.md").read_text()
    for row in json.loads((ROOT / "benchmarks/commands.json").read_text()):
        tests = row["tests"] or ""
        assert f"| {row['command']} | {row['seconds']:,} | {tests} |\n" in page


def test_the_page_counts_the_packages_that_are_installed() -> None:
    page = (ROOT / "docs/performance.md").read_text()
    first, more = (
        len(re.findall("^[^#\n]+==", (ROOT / f"envs/{name}.txt").read_text(), re.MULTILINE))
        for name in ("requirements", "everything")
    )
    assert f"needs: {first} packages. `make test` adds {more} more\n" in page
