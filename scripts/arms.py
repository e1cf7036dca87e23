"""Every arm, how arms compare, in which regimes, what they learned from, and whether the controls
come out as they must.

IN   metrics of all arms; metrics of the compared arms in each regime; metrics of each control;
     task; reasonings of each source
OUT  arms, comparisons, regimes, controls, sources: each as .csv, .md and .html; arms and regimes as
     .png and .pdf; copied to results/

Run as: python scripts/arms.py results/specs/arms/NAME-KEY.json
"""

from typing import Any

from infuse.config.report_params import ArmsParams
from infuse.evaluation.metrics_files import read_numbers
from infuse.evaluation.reasoning_sources import of_source
from infuse.reporting import arm_tables, plots
from infuse.reporting.cells import write
from infuse.workflow.job import Job, run

VERSION = 8


def arms(job: Job) -> dict[str, Any]:
    """Write the tables and draw the figures."""
    params = ArmsParams.model_validate(job.params)
    classifiers, means, comparisons, baselines = read_numbers(
        job.inputs["metrics"], "classifiers", "means", "comparisons", "baselines"
    )
    points = [
        arm_tables.Point(
            kind, value,
            *read_numbers(
                job.inputs[f"regime {kind} {value:.15g}"], "classifiers", "means", "comparisons"
            ),
        )
        for kind, value in params.regimes
    ]  # fmt: skip
    plain = [arm_tables.Point("", 1.0, classifiers, means, comparisons)]
    controls = [
        (name, expected, read_numbers(job.inputs[f"control {name}"], "comparisons")[0])
        for name, expected in params.controls
    ]
    for name, table in {
        "arms": arm_tables.all_arms(params.arms, classifiers, means, baselines),
        "comparisons": arm_tables.comparisons(comparisons),
        "regimes": arm_tables.regimes(plain + points),
        "controls": arm_tables.controls(controls),
        "sources": arm_tables.sources(
            {
                role.partition(" ")[2]: of_source(job.inputs["task"], folder)
                for role, folder in job.inputs.items()
                if role.startswith("reasonings ")
            }
        ),
    }.items():
        write(job.out / name, table)
    plots.save(plots.arms(classifiers, baselines), job.out / "arms")
    plots.save(plots.regimes(classifiers, points), job.out / "regimes")
    return {}


if __name__ == "__main__":
    run(arms)
