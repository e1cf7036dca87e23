"""All numbers of an experiment, from its predictions.

IN   task; classifiers (for their budgets); predictions
OUT  classifiers.csv, classes.csv, confusion.csv, baselines.csv, means.csv, contrasts.csv,
     comparisons.csv; costs.csv, the one file that differs from run to run; their schemas are in
     infuse/evaluation/metrics_files.py

Run as: python scripts/metrics.py results/specs/metrics/NAME-KEY.json
"""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infuse.config.arms import AnyArm, roles
from infuse.config.report_params import MetricsParams
from infuse.core.files import read_labels, read_rows, read_task, write_csv
from infuse.core.manifest import read_provenance
from infuse.core.schemas import TASK
from infuse.data.targets import REASONED
from infuse.evaluation import comparisons as pairs
from infuse.evaluation import scores as ev
from infuse.evaluation.metrics_files import SCHEMAS
from infuse.workflow.job import Job, run

VERSION = 8
NAMED = 8  # of labels, in a message
log = logging.getLogger("infuse")


def metrics(job: Job) -> dict[str, Any]:
    """Write the eight files."""
    labels = read_labels(job.inputs["task"])
    params = MetricsParams.model_validate(job.params)
    arms, seeds = params.arms, params.seeds
    test = read_task(job.inputs["task"], "test")
    written = ev.all_answers(job.inputs, test, arms, seeds)
    facts = {
        (arm, seed): _facts(job.inputs.get(f"classifier {arm}-seed{seed}"), arms[arm])
        for arm, seed in written
    }
    contrasted = _contrasted(arms)
    learned = job.inputs.get("training texts", job.inputs["task"])
    train = read_rows(learned / "train.parquet", TASK)
    for split, texts in (("training", train), ("test", test)):
        _tell(split, Counter(row["label"] for row in texts), labels)
    tables = {
        "classifiers": [
            ev.classifier_row(*run, rows, facts[run], labels) for run, rows in written.items()
        ],
        "classes": [
            line for run, rows in written.items() for line in ev.class_rows(*run, rows, labels)
        ],
        "confusion": [
            line for run, rows in written.items() for line in ev.confusion_rows(*run, rows, labels)
        ],
        "means": pairs.mean_rows(contrasted, written),
        "contrasts": [
            pairs.contrast_row(
                ours,
                other,
                seed,
                written[ours, seed],
                written.get((other, seed)) or written[other, 0],
            )
            for ours, other in contrasted
            for seed in seeds
        ],
        "comparisons": pairs.comparison_rows(params.comparisons, written),
        "baselines": ev.baseline_rows(train, test, labels),
        "costs": _costs(list(job.inputs.values())),
    }
    for name, rows in tables.items():
        write_csv(job.out / f"{name}.csv", rows, SCHEMAS[name])
    return {}


def _tell(split: str, rows: Counter[str], labels: list[str]) -> None:
    """Say which labels a split has never, or once: their scores are empty, or rest on one text."""
    for count, what in ((0, "without a"), (1, "with a single")):
        few = [label for label in labels if rows[label] == count]
        if few:
            more = f", and {len(few) - NAMED} more" if len(few) > NAMED else ""
            log.warning("labels %s %s text: %s%s", what, split, ", ".join(few[:NAMED]), more)


def _contrasted(arms: Mapping[str, AnyArm]) -> list[tuple[str, str]]:
    """The paper's reasoning arm with each other arm of table 3."""
    parts = roles(arms)
    ours = parts.pop("Q->RA")
    return [(ours, other) for other in parts.values() if ours and other]


def _facts(classifier: Path | None, arm: AnyArm) -> dict[str, Any]:
    """What a training recorded of its budget, and how often the teacher of its reasonings is right;
    nothing where there was none.
    """
    if classifier is None:
        return {}
    provenance = read_provenance(classifier)
    facts: dict[str, Any] = provenance["facts"]
    if arm.target in REASONED:
        training_set = provenance["lineage"][provenance["inputs"]["training_set"]]
        recorded = training_set["facts"]["train"]
        facts |= {k: v for k, v in recorded.items() if k == "teacher_accuracy"}
    return facts


def _costs(folders: list[Path]) -> list[dict[str, Any]]:
    """What each artifact cost that these were made from, themselves included."""
    rows: dict[str, dict[str, Any]] = {}
    for folder in folders:
        provenance = read_provenance(folder)
        for path, part in (provenance["lineage"] | {str(folder): provenance}).items():
            name = part["name"].removeprefix(f"{part['stage']} ")
            rows.setdefault(path, {"stage": part["stage"], "name": name} | part["cost"])
    return list(rows.values())


if __name__ == "__main__":
    run(metrics)
