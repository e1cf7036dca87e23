"""Tables 1-5, and the comparison with what the paper published.

IN   metrics; task; training set with reasonings, predictions of the reasoning arm (for table 2)
OUT  table1 ... table5, fidelity: each as .csv, .md and .html; copied to results/

Run as: python scripts/tables.py results/specs/tables/NAME-KEY.json
"""

from typing import Any

from infuse.config.arms import roles
from infuse.config.report_params import TablesParams
from infuse.core.files import read_labels, read_rows
from infuse.core.schemas import SPLITS, TASK, TEXT_REASONING_LABEL
from infuse.evaluation import fidelity
from infuse.evaluation import scores as ev
from infuse.evaluation.metrics_files import read_numbers
from infuse.reporting import paper_tables
from infuse.reporting.cells import write
from infuse.workflow.job import Job, run

VERSION = 6


def tables(job: Job) -> dict[str, Any]:
    """Write each table in three forms."""
    labels = read_labels(job.inputs["task"])
    params = TablesParams.model_validate(job.params)
    arms, seeds = params.arms, params.seeds
    classifiers, classes, means, contrasts = read_numbers(
        job.inputs["metrics"], "classifiers", "classes", "means", "contrasts"
    )
    splits = {split: read_rows(job.inputs["task"] / f"{split}.parquet", TASK) for split in SPLITS}
    parts = {
        "table1": paper_tables.table1(splits, labels),
        "table2": paper_tables.table2(*_reasoned(job, roles(arms)["Q->RA"], seeds[0])),
        "table3": paper_tables.table3(arms, classifiers, means, contrasts),
        "table4": paper_tables.table4(arms, classes, labels),
        "table5": paper_tables.table5(arms, classifiers),
    }
    setting = params.setting | {"recipe": fidelity.recipe_name(params.recipes.model_dump())}
    setting["task_data"] = fidelity.task_data(splits.values(), setting["task_data"])
    ours = paper_tables.quantities(arms, splits["test"], classifiers, classes)
    parts["fidelity"] = paper_tables.comparison(fidelity.fidelity(ours, setting))
    for name, table in parts.items():
        write(job.out / name, table)
    return {}


def _reasoned(job: Job, arm: str | None, seed: int) -> tuple[list[ev.Row], list[ev.Row] | None]:
    """Training reasonings, and what the reasoning arm's first seed wrote."""
    if arm is None:
        return [], None
    return (
        read_rows(job.inputs["training_set"] / "train.parquet", TEXT_REASONING_LABEL),
        ev.read_answers(job.inputs, arm, seed),
    )


if __name__ == "__main__":
    run(tables)
