"""Every arm, how arms compare, in which regimes, and whether the controls come out as they must.

IN   metrics of all arms; metrics of the compared arms in each regime; metrics of each control
OUT  arms, comparisons, regimes, controls: each as .csv, .md and .html; arms and regimes as .png and
     .pdf; copied to results/

Run as: python scripts/arms.py results/specs/arms/NAME-KEY.json
"""

from typing import Any

import pyarrow as pa

from infuse.config.report_params import ArmsParams
from infuse.core.files import read_csv
from infuse.evaluation import comparisons as pairs
from infuse.evaluation import scores as ev
from infuse.reporting import arm_tables, plots
from infuse.reporting.cells import write
from infuse.workflow.job import Job, run

VERSION = 3


def arms(job: Job) -> dict[str, Any]:
    """Write the tables and draw the figures."""

    def numbers(role: str, name: str, schema: pa.Schema) -> list[ev.Row]:
        return read_csv(job.inputs[role] / f"{name}.csv", schema)

    params = ArmsParams.model_validate(job.params)
    classifiers = numbers("metrics", "classifiers", ev.CLASSIFIERS)
    baselines = numbers("metrics", "baselines", ev.BASELINES)
    means = numbers("metrics", "means", pairs.MEANS)
    comparisons = numbers("metrics", "comparisons", pairs.COMPARISONS)
    points = [
        arm_tables.Point(
            kind,
            value,
            *(numbers(f"regime {kind} {value:g}", *part) for part in arm_tables.OF_A_POINT),
        )
        for kind, value in params.regimes
    ]
    plain = [arm_tables.Point("", 1.0, classifiers, means, comparisons)]
    controls = [
        (name, expected, numbers(f"control {name}", "comparisons", pairs.COMPARISONS))
        for name, expected in params.controls
    ]
    for name, table in {
        "arms": arm_tables.all_arms(params.arms, classifiers, means, baselines),
        "comparisons": arm_tables.comparisons(comparisons),
        "regimes": arm_tables.regimes(plain + points),
        "controls": arm_tables.controls(controls),
    }.items():
        write(job.out / name, table)
    plots.save(plots.arms(classifiers, baselines), job.out / "arms")
    plots.save(plots.regimes(classifiers, points), job.out / "regimes")
    return {}


if __name__ == "__main__":
    run(arms)
