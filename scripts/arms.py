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
from infuse.core.files import read_labels, read_rows, read_task
from infuse.core.manifest import read_provenance
from infuse.core.schemas import REASONINGS
from infuse.evaluation.metrics_files import read_numbers
from infuse.evaluation.reasoning_sources import Worth, worth
from infuse.reporting import arm_tables, plots
from infuse.reporting.cells import write
from infuse.workflow.job import Job, run

VERSION = 7


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
        "sources": arm_tables.sources(_sources(job)),
    }.items():
        write(job.out / name, table)
    plots.save(plots.arms(classifiers, baselines), job.out / "arms")
    plots.save(plots.regimes(classifiers, points), job.out / "regimes")
    return {}


def _sources(job: Job) -> dict[str, tuple[str, Worth]]:
    """The kind of each source of reasonings, and what it is worth on the training texts."""
    task = job.inputs["task"]
    texts = {row["id"]: row for row in read_task(task, "train")}
    labels = read_labels(task)
    sources = {}
    for role, folder in job.inputs.items():
        if role.startswith("reasonings "):
            rows = read_rows(folder / "reasonings.parquet", REASONINGS)
            kind = read_provenance(folder)["params"]["kind"]
            joined = [texts[row["id"]] | row for row in rows if row["split"] == "train"]
            sources[role.partition(" ")[2]] = kind, worth(joined, labels)
    return sources


if __name__ == "__main__":
    run(arms)
