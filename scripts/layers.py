"""What the layers of all arms say, held against the label-only arms.

IN   task (sources or gold labels of the test texts); the logit lens of each classifier
OUT  layers (by layer), confidence (of the output): each as .csv, .md and .html; entropy and
     rankings as .png and .pdf; copied to results/

Run as: python scripts/layers.py results/specs/layers/NAME-KEY.json
"""

from typing import Any

from infuse.config.report_params import ArmsOfSeeds
from infuse.core.files import read_labels
from infuse.evaluation import layers as ev
from infuse.reporting import layer_plots, layer_tables, plots
from infuse.reporting.cells import write
from infuse.workflow.job import Job, run

VERSION = 5


def layers(job: Job) -> dict[str, Any]:
    """Write the tables and draw the figures."""
    params, task = ArmsOfSeeds.model_validate(job.params), job.inputs["task"]
    labels = read_labels(task)
    files = {
        arm: [
            job.inputs[f"logit_lens {arm}-seed{seed}"] / "logit_lens.parquet"
            for seed in params.seeds
        ]
        for arm in params.arms
    }
    ids, readings = ev.read(files, labels)
    within = ev.groups(task / "test.parquet", ids, labels)
    rows = ev.layer_rows(params.arms, readings, within)
    write(job.out / "layers", layer_tables.layer_table(rows))
    output = ev.output_rows(params.arms, readings, within)
    write(job.out / "confidence", layer_tables.output_table(output))
    shown = ev.largest(within, layer_plots.MOST_GROUPS)
    plots.save(layer_plots.entropy(rows, shown), job.out / "entropy")
    maps = ev.rank_maps(readings, within)
    plots.save(layer_plots.rankings(maps, labels, shown), job.out / "rankings")
    return {"texts": len(ids)}


if __name__ == "__main__":
    run(layers)
