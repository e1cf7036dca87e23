"""Gather what the classifiers of experiments/answer.yaml made of the test texts; compare the arms.

Run as: python benchmarks/answer.py [TREE]

TREE is a copy of this project in which the experiment ran, or some of its arms and seeds. What they
answered goes to docs/answer, in place of older answers of the same arm and seed. So a study that
takes days can run in parts, on several machines. Without a TREE, the tables are made again.

Measured: readings.parquet, classifiers.csv, baselines.csv, and sources.csv, which tells what each
source of reasonings wrote. From the first three follow arms.csv, comparisons.csv and
arms.png, and afterwards.csv, which nobody planned. Two arms are compared by the seeds that both
have.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from infuse.config import experiment
from infuse.core.files import (
    read_csv,
    read_labels,
    read_rows,
    read_task,
    write_csv,
    write_rows,
    write_text,
)
from infuse.core.manifest import SEAL, read_provenance
from infuse.core.schemas import PREDICTIONS, TASK
from infuse.evaluation import comparisons, reasoning_sources, scores, stats
from infuse.evaluation.scores import Row
from infuse.reporting import arm_tables, cells, plots
from infuse.workflow import plan

FOLDER = ROOT / "docs/answer"
EXPERIMENT = Path("experiments/answer.yaml")
ANSWER = [PREDICTIONS.field(name) for name in ("id", "label", "predicted", "outcome", "closed_set")]
DRAWS = 2000
LABELS = experiment.read_change(ROOT / EXPERIMENT)["task"]["labels"]
AFTERWARDS = (  # two arms, and which texts: looked at when the answers were there, not planned
    ("bag_label", "label", "all"),
    ("reason_label", "label_prompt_loss", "all"),
    ("keywords_label", "reason_label", "all"),
    ("reason_label_weighted", "reason_label", "all"),
    ("label_smoothed", "label", "all"),
    ("head", "label", "all"),
    ("reason_label", "bag_label", "all"),
    ("reason_label", "bag_label", "three rarest labels"),
    ("reason_label", "bag_label", "three most frequent labels"),
    ("reason_label", "shuffled_label", "the other arm's answer ended"),
    ("reason_label", "other_label", "the other arm's answer ended"),
    *(("reason_label", "label", label) for label in LABELS),
)
READINGS = pa.schema([("arm", pa.string()), ("seed", pa.int64()), *ANSWER])


def main() -> None:
    """Take what a tree has, and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tree", nargs="?", type=Path, help="a copy of the project, with results/")
    tree = parser.parse_args().tree
    if tree is not None:
        take(tree)
    classifiers, baselines = read_classifiers(), read_baselines()
    for name, table in tables(classifiers, baselines).items():
        write_table(name, table)
    plots.arms(classifiers, baselines).savefig(FOLDER / "arms.png", dpi=130)


def take(tree: Path) -> None:
    """Put into `FOLDER` what was measured in a tree."""
    os.chdir(tree)  # the experiment's paths begin there
    config = experiment.load(experiment.read_change(EXPERIMENT))
    planned = plan.build(config).arms.inputs
    made = planned["metrics"].inputs
    task = Path(made["task"].path)
    labels, test = read_labels(task), read_task(task, "test")
    readings, classifiers = [], []
    for arm, seed in scores.runs(config.arms, config.seeds):
        folder = Path(made[f"predictions {arm}-seed{seed}"].path)
        if (folder / SEAL).exists():
            answers = read_rows(folder / "predictions.parquet", PREDICTIONS)
            readings += [{"arm": arm, "seed": seed, **answer} for answer in answers]
            facts = read_provenance(Path(made[f"classifier {arm}-seed{seed}"].path))["facts"]
            classifiers.append(scores.classifier_row(arm, seed, answers, facts, labels))
    baselines = scores.baseline_rows(read_rows(task / "train.parquet", TASK), test, labels)
    write_csv(FOLDER / "baselines.csv", baselines, scores.BASELINES)
    order = list(config.arms)
    kept = merged(read_classifiers(), classifiers, order)
    write_csv(FOLDER / "classifiers.csv", kept, scores.CLASSIFIERS)
    write_rows(FOLDER / "readings.parquet", merged(read_readings(), readings, order), READINGS)
    folders = {
        role.partition(" ")[2]: Path(node.path)
        for role, node in planned.items()
        if role.startswith("reasonings ")
    }
    take_sources(task, folders)


def take_sources(task: Path, folders: Mapping[str, Path]) -> None:
    """Put into `FOLDER` what those of some sources wrote that have written."""
    found = {
        source: reasoning_sources.of_source(task, folder)
        for source, folder in folders.items()
        if (folder / SEAL).exists()
    }
    if found:
        rows = [row for row in read_sources() if row["source"] not in found]
        rows += arm_tables.sources(found)
        write_table("sources", sorted(rows, key=lambda row: [*folders].index(row["source"])))


def merged(old: Sequence[Row], new: Sequence[Row], order: Sequence[str]) -> list[Row]:
    """Rows of both, by arm and seed; where both have a run, the new ones."""
    again = {(row["arm"], row["seed"]) for row in new}
    rows = [row for row in old if (row["arm"], row["seed"]) not in again] + [*new]
    return sorted(rows, key=lambda row: (order.index(row["arm"]), row["seed"]))


def read_classifiers() -> list[Row]:
    """The numbers of each classifier so far."""
    path = FOLDER / "classifiers.csv"
    return read_csv(path, scores.CLASSIFIERS) if path.exists() else []


def read_baselines() -> list[Row]:
    """The numbers of the models without a language model."""
    return read_csv(FOLDER / "baselines.csv", scores.BASELINES)


def read_readings() -> list[Row]:
    """Each classifier's answers so far."""
    path = FOLDER / "readings.parquet"
    return read_rows(path, READINGS) if path.exists() else []


def read_sources() -> cells.Table:
    """What each source of reasonings wrote, so far."""
    path = FOLDER / "sources.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_table(name: str, table: cells.Table) -> None:
    """Put a table into `FOLDER`."""
    write_text(FOLDER / f"{name}.csv", cells.csv_text(table))


def tables(classifiers: Sequence[Row], baselines: Sequence[Row]) -> dict[str, cells.Table]:
    """The arms, and how they compare, from what was measured."""
    written: dict[tuple[str, int], list[Row]] = {}
    for row in read_readings():
        written.setdefault((row["arm"], row["seed"]), []).append(row)
    means = comparisons.mean_rows([], written)
    arms = list(dict.fromkeys(arm for arm, _ in written))
    planned = experiment.read_change(ROOT / EXPERIMENT)["comparisons"]
    return {
        "arms": arm_tables.all_arms(arms, classifiers, means, baselines),
        "comparisons": arm_tables.comparisons(compared(planned, written)),
        "afterwards": afterwards(written),
    }


def afterwards(written: comparisons.Runs) -> cells.Table:
    """Each of `AFTERWARDS` with its 95 % interval, by the seeds that both arms have, if any."""
    table = []
    for arm, other, texts in AFTERWARDS:
        if not (runs := common((arm, other), written)):
            continue
        ours, theirs = (
            [rows for (name, _), rows in runs.items() if name == side] for side in (arm, other)
        )
        kept = chosen(texts, theirs)
        some = {run: [row for row in rows if row["id"] in kept] for run, rows in runs.items()}
        ends = ("difference", "low", "high")
        found = {
            row["measure"]: [row[end] for end in ends]
            for row in comparisons.comparison_rows([(arm, other)], some)
        }
        if texts == "all":
            found["macro F1"] = macro_f1(ours, theirs)
        table += [
            {"arm": arm, "against": other, "texts": texts, "measure": measure}
            | dict(zip(ends, map(cells.points, values), strict=True))
            | {"seeds": str(len(ours)), "n": str(len(kept))}
            for measure, values in found.items()
        ]
    return table


def chosen(texts: str, runs: Sequence[Sequence[Row]]) -> set[int]:
    """The ids that a line of `AFTERWARDS` is about, by the answers of its second arm."""
    if texts == "the other arm's answer ended":
        answers = zip(*runs, strict=True)
        return {
            rows[0]["id"] for rows in answers if all(row["outcome"] != "truncated" for row in rows)
        }
    order = [label for label, _ in Counter(row["label"] for row in runs[0]).most_common()]
    labels = {label: [label] for label in order} | {
        "all": order, "three rarest labels": order[-3:], "three most frequent labels": order[:3]
    }  # fmt: skip
    return {row["id"] for row in runs[0] if row["label"] in labels[texts]}


def macro_f1(ours: Sequence[Sequence[Row]], theirs: Sequence[Sequence[Row]]) -> list[float]:
    """The difference in macro F1, mean of the seeds; and the ends of its bootstrap over texts."""
    names = np.array(sorted({row["label"] for row in ours[0]}))
    count = len(ours[0])
    texts = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), DRAWS)
    times = np.concatenate([np.ones((1, count)), texts])  # first each text once, then the draws

    def f1(rows: Sequence[Row]) -> npt.NDArray[np.float64]:
        gold, read = (
            np.array([[row[part]] for row in rows]) == names for part in ("label", "predicted")
        )
        both = times @ (gold & read)
        return np.asarray(2 * both / np.maximum(times @ gold + times @ read, 1)).mean(1)

    gaps = np.mean([f1(one) - f1(other) for one, other in zip(ours, theirs, strict=True)], 0)
    return [float(gaps[0]), *map(float, np.quantile(gaps[1:], [0.025, 0.975]))]


def compared(planned: Sequence[Sequence[str]], written: comparisons.Runs) -> list[Row]:
    """`comparisons.comparison_rows`, each by the seeds that both arms have, if there are any.

    Holm's correction is over all that is planned: a pair that has not run counts as one with p = 1.
    """
    rows = [
        row
        for pair in planned
        if (runs := common(pair, written))
        for row in comparisons.comparison_rows([pair], runs)
    ]
    adjusted = []
    for measure in comparisons.MEASURES:
        family = [row for row in rows if row["measure"] == measure]
        to_come = [1.0] * (len(planned) - len(family))
        holm = stats.holm([row["p"] for row in family] + to_come)
        adjusted += [row | {"holm_p": p} for row, p in zip(family, holm, strict=False)]
    return adjusted


def common(pair: Sequence[str], written: comparisons.Runs) -> comparisons.Runs:
    """The runs of two arms with the seeds of both; none where they share no seed."""
    seeds = set.intersection(*({seed for arm, seed in written if arm == name} for name in pair))
    return {run: rows for run, rows in written.items() if run[0] in pair and run[1] in seeds}


if __name__ == "__main__":
    main()
