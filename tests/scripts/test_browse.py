"""The page comes out of the true workflow, and says what the tables say."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

from browse import _source
from browsers import go, looked_at
from infuse.config.arms import Arm
from infuse.core.files import read_json
from trees import Tree, tiny_plan


def test_the_workflow_makes_the_page_and_it_says_what_the_tables_say(
    browser: Any, built: Tree
) -> None:
    said = built.run("results/browse.html", "results/arms.csv")
    assert said.returncode == 0, said.stdout + said.stderr
    file = built.root / "results/browse.html"
    with (built.root / "results/arms.csv").open() as stream:
        lines = {line["arm"]: line for line in csv.DictReader(stream)}
    with looked_at(browser) as page:
        go(page, file)
        table = page.get_by_role("region", name="Arms")
        rows = table.locator("tbody tr")
        assert rows.count() == len(lines)
        for row in rows.all():
            arm = row.locator("th a, th .floor").inner_text()
            assert row.locator("strong").inner_text() == f"{float(lines[arm]['accuracy %']):.1f}"
        go(page, file, "about")
        node = tiny_plan().browse
        provenance = read_json(built.root / node.path / "provenance.json")
        description = page.locator("dl").inner_text()
        assert (
            node.key in description
            and provenance["versions"]["torch"] in description
            and "tiny" in description
        )
        for source in provenance["inputs"].values():
            assert Path(source).name.rpartition("-")[2] in page.inner_text("table")
    assert file.read_bytes() == (built.root / node.path / "browse.html").read_bytes()
    again = built.run("--dry-run", "--quiet", "host", "--", "results/browse.html")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_no_model_library_is_needed() -> None:
    code = "import browse, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    scripts = Path(__file__).parents[2] / "scripts"
    assert subprocess.run([sys.executable, "-c", code], cwd=scripts, check=False).returncode == 0


def test_sets_that_differ_in_what_is_kept_differ_in_name() -> None:
    plain = {"target": "reason_label"}
    arms = [plain, plain | {"keep": ["ended"]}, plain | {"keep": ["read"], "perturb": "shuffle"}]
    names = [_source(Arm.model_validate(arm), None) for arm in arms]
    assert names == [
        "reasonings (none)",
        "reasonings (none), kept: ended",
        "reasonings (none), kept: read, perturbed: shuffle",
    ]
