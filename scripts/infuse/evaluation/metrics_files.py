"""The files that the stage `metrics` writes, for it and for all that read them."""

from __future__ import annotations

from pathlib import Path

from infuse.core.files import read_csv
from infuse.evaluation import comparisons, scores
from infuse.evaluation.scores import Row

SCHEMAS = {  # of NAME.csv
    "classifiers": scores.CLASSIFIERS,
    "classes": scores.CLASSES,
    "confusion": scores.CONFUSION,
    "means": comparisons.MEANS,
    "contrasts": comparisons.CONTRASTS,
    "comparisons": comparisons.COMPARISONS,
    "baselines": scores.BASELINES,
    "costs": scores.COSTS,
}


def read_numbers(folder: Path, *names: str) -> list[list[Row]]:
    """The rows of these files of a folder of `metrics`, in this order.

    Raises:
        UserError: a file is missing, or has another schema.
    """
    return [read_csv(folder / f"{name}.csv", SCHEMAS[name]) for name in names]
