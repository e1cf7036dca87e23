"""What all rules share: the plan, and how a rule finds its node in it.

A rule's wildcard {id} is a node's name and key. Inputs are ancient: since the key stands in the
path, an input that exists is the right one, whatever its time stamp says.
"""

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, f"{workflow.basedir}/scripts")

from infuse.config import load
from infuse.errors import UserError
from infuse.plan import build

TABLES = [
    f"{name}.{form}"
    for name in ("table1", "table2", "table3", "table4", "table5", "arms", "fidelity")
    for form in ("csv", "md")
]
FIGURES = [
    f"{name}.{form}"
    for name in ("figure1", "figure2", "figure3", "arms")
    for form in ("png", "pdf")
]

try:
    experiment = load(config)
    plan = build(experiment)
except UserError as mistake:
    raise WorkflowError(str(mistake)) from None

gpus = int(experiment.compute.device == "cuda")


wildcard_constraints:
    id=r"[^/]+",


def sources(stage):
    """The input function of a stage: a node's inputs, by role."""

    def of(wildcards):
        node = plan.nodes.get((stage, wildcards.id))
        if node is None:
            raise WorkflowError(f"{stage} {wildcards.id} is not part of this experiment")
        return [ancient(source.path) for source in node.inputs.values()]

    return of


def artifact(stage):
    """The path of a stage's artifacts, with the wildcard {id}."""
    return f"results/artifacts/{stage}/{{id}}"


def stale(kind):
    """A stamp newer than the tables or figures in results/, if those are another experiment's.

    It is made here and not by a rule, since Snakemake does not miss an intermediate file.
    """
    owner = Path(f"results/.{kind}")
    if not owner.exists() or owner.read_text().strip() == getattr(plan, kind).path:
        return []
    stamp = Path(f"results/.{kind}.stale")
    stamp.touch()
    return str(stamp)


def show_results():
    """Print table 3 if this run made it, and where everything is."""
    table = Path("results/table3.md")
    if table.exists():
        print(f"\n{table.read_text()}\nAll tables and figures: results/ and {plan.tables.path}\n")
