"""Figures 1-3 and one of all arms, each as PNG and PDF, from numbers alone.

IN   task (its labels); metrics
OUT  figure1 (the two stages), figure2 and figure3 (confusion of Q->A and Q->RA), arms; copied to
     results/
"""

from typing import Any

from infuse import drawing
from infuse import evaluation as ev
from infuse.files import read_csv, read_labels
from infuse.stage import Job, run

VERSION = 2


def figures(job: Job) -> dict[str, Any]:
    """Draw all four."""
    labels = read_labels(job.inputs["task"])
    arms, seeds = job.params["arms"], job.params["seeds"]
    numbers = {
        name: read_csv(job.inputs["metrics"] / f"{name}.csv", schema)
        for name, schema in (
            ("classifiers", ev.CLASSIFIERS),
            ("confusion", ev.CONFUSION),
            ("baselines", ev.BASELINES),
        )
    }
    drawing.save(drawing.stages(), job.out / "figure1")
    parts = ev.roles(arms)
    for name, part in (("figure2", "Q->A"), ("figure3", "Q->RA")):
        rows = [
            row
            for row in numbers["confusion"]
            if (row["arm"], row["seed"]) == (parts[part], seeds[0])
        ]
        drawing.save(drawing.confusion(rows, labels, f"{part}, seed {seeds[0]}"), job.out / name)
    drawing.save(drawing.arms(numbers["classifiers"], numbers["baselines"]), job.out / "arms")
    return {}


if __name__ == "__main__":
    run(figures)
