"""The table of `make faults`: for each fault, cases, survived, lost."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import pytest

from faults.harness import LONG, Work, contents, generation, run, training
from trees import Tree


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not LONG:
        return
    table: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            if outcome == "passed" and report.when != "call":
                continue
            name = re.sub(r"\[.*", "", report.nodeid.split("::")[1]).removeprefix("test_")
            table[name.replace("_", " ")][outcome != "passed"] += 1
    write = terminalreporter.write_line
    write("")
    write("| fault | cases | survived | lost |")
    write("|---|---|---|---|")
    for name, (survived, lost) in table.items():
        write(f"| {name} | {survived + lost} | {survived} | {lost} |")
    cases, lost = sum(map(sum, table.values())), sum(lost for _, lost in table.values())
    write(f"{cases} cases in {len(table)} families: {cases - lost} survived, {lost} lost")


@pytest.fixture(scope="session")
def undisturbed(built: Tree) -> dict[Work, Any]:
    """What the two runs end in when nothing disturbs them."""
    outputs = {}
    for work in (training, generation):
        said = run(built, work(built, f"{work.__name__}-undisturbed"))
        assert said.returncode == 0, said.stderr
        outputs[work] = contents(built.root / f"results/{work.__name__}-undisturbed")
    return outputs
