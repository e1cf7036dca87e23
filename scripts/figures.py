"""Figures 1-3, each as PNG and PDF, from numbers alone.

IN   task (its labels); metrics
OUT  figure1 (the two stages), figure2 and figure3 (confusion of Q->A and Q->RA); copied to results/

Run as: python scripts/figures.py results/specs/figures/NAME-KEY.json
"""

from typing import Any

from infuse.config.arms import roles
from infuse.config.report_params import MetricsParams
from infuse.core.files import read_labels
from infuse.evaluation.metrics_files import read_numbers
from infuse.reporting import plots
from infuse.workflow.job import Job, run

VERSION = 4


def figures(job: Job) -> dict[str, Any]:
    """Draw all three."""
    labels = read_labels(job.inputs["task"])
    params = MetricsParams.model_validate(job.params)
    parts, seed = roles(params.arms), params.seeds[0]
    [cells] = read_numbers(job.inputs["metrics"], "confusion")
    plots.save(plots.stages(), job.out / "figure1")
    for name, part in (("figure2", "Q->A"), ("figure3", "Q->RA")):
        rows = [row for row in cells if (row["arm"], row["seed"]) == (parts[part], seed)]
        plots.save(plots.confusion(rows, labels, f"{part}, seed {seed}"), job.out / name)
    return {}


if __name__ == "__main__":
    run(figures)
