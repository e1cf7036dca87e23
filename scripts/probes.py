"""What the layers of all arms say, held against the label-only arms.

IN   task (sources or gold labels of the test texts); lens of each classifier
OUT  probes (by layer), sharpness (of the output): each as .csv, .md and .html; entropy and rankings
     as .png and .pdf; copied to results/
"""

from typing import Any

from infuse import drawing, layer_figures, probing, tables
from infuse.files import read_labels
from infuse.stage import Job, run

VERSION = 1


def probes(job: Job) -> dict[str, Any]:
    """Write the tables and draw the figures."""
    task, arms, seeds = job.inputs["task"], job.params["arms"], job.params["seeds"]
    labels = read_labels(task)
    files = {
        arm: [job.inputs[f"lens {arm}-seed{seed}"] / "lens.parquet" for seed in seeds]
        for arm in arms
    }
    ids, seen = probing.read(files, labels)
    within = probing.groups(task / "test.parquet", ids, labels)
    layers = probing.layer_rows(arms, seen, within)
    tables.write(job.out / "probes", probing.layer_table(layers))
    output = probing.output_rows(arms, seen, within)
    tables.write(job.out / "sharpness", probing.output_table(output))
    shown = probing.largest(within, layer_figures.MOST_GROUPS)
    drawing.save(layer_figures.entropy(layers, shown), job.out / "entropy")
    maps = probing.rank_maps(seen, within)
    drawing.save(layer_figures.rankings(maps, labels, shown), job.out / "rankings")
    return {"texts": len(ids)}


if __name__ == "__main__":
    run(probes)
