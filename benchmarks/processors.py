"""Does an experiment say the same on every processor? Its arms, rounded otherwise.

Run as: python benchmarks/processors.py [FILE.yaml] [--seeds 10] [--arms NAME ...] [--out FILE.csv]
                                        [--processors NAME ...] [--cores 2] [--work FOLDER]

Without a file: the default experiment. The processors are those of tests/emulations.py; without
--processors, `DISTINCT`.

Each processor gets a copy of the workflow in a temporary folder, or in --work, where a run that was
stopped goes on. The true workflow trains all arms there with seeds 1, 2, ... FILE.csv gets a line
for each processor, arm and seed; lines of other experiments and of other processors stay. What is
printed at the end: each arm's mean, standard deviation, least and most over all lines, and the
least and most difference of each comparison, seed by seed.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

from emulations import PROCESSORS
from infuse.config import experiment as config
from infuse.evaluation.metrics_files import read_numbers
from infuse.workflow import plan
from infuse.workflow.compared_arms import compared
from trees import PARTS

COLUMNS = ("experiment", "processor", "arm", "seed", "accuracy")
# Of the emulations, those that round in ways of their own where this was tried.
DISTINCT = ("this one", "SSE", "AVX", "AVX2, products as on any")
Row = dict[str, Any]


def main() -> None:
    """Run what is asked for, write the lines, print the summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiment", nargs="?", type=Path, help="an experiment file")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--arms", nargs="+", help="of the experiment; all, where none is named")
    parser.add_argument("--processors", nargs="+", choices=PROCESSORS, default=DISTINCT)
    parser.add_argument("--cores", default="2")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/processors.csv")
    parser.add_argument("--work", type=Path, help="a folder to work in, and to go on in")
    options = parser.parse_args()
    change = config.read_change(options.experiment) if options.experiment else {}
    change |= {"seeds": list(range(1, options.seeds + 1)), "controls": [], "regimes": None}
    if options.arms:
        arms = config.load(change).model_dump(exclude_unset=True)["arms"]
        change |= {"arms": {name: arms[name] for name in options.arms}, "comparisons": None}
    work = options.work or Path(tempfile.mkdtemp())
    for processor in options.processors:
        merge_rows(
            options.out,
            measured(processor, change, work / processor.replace(" ", "-"), options.cores),
        )
    print_summary(config.load(change), read_rows(options.out))


def measured(processor: str, change: Mapping[str, Any], tree: Path, cores: str) -> list[Row]:
    """The accuracies of all arms and seeds on a processor."""
    tree.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, tree / part, dirs_exist_ok=True)
        else:
            shutil.copy(ROOT / part, tree / part)
    (tree / "change.yaml").write_text(yaml.safe_dump(change, sort_keys=False))
    graph = plan.build(config.load(change))
    metrics = graph.arms.inputs["metrics"]
    subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", cores, "--quiet", "all",
         "--configfile", "change.yaml", "--", metrics.path],
        cwd=tree, env=os.environ | PROCESSORS[processor], check=True,
    )  # fmt: skip
    return [
        {"experiment": graph.experiment, "processor": processor}
        | {name: row[name] for name in ("arm", "seed", "accuracy")}
        for row in read_numbers(tree / metrics.path, "classifiers")[0]
    ]


def read_rows(path: Path) -> list[Row]:
    """The lines that are there."""
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return [
            row | {"seed": int(row["seed"]), "accuracy": float(row["accuracy"])}
            for row in csv.DictReader(stream)
        ]


def merge_rows(path: Path, rows: Sequence[Row]) -> None:
    """Put lines in the place of those of the same experiment and processor."""
    new = {(row["experiment"], row["processor"]) for row in rows}
    kept = [row for row in read_rows(path) if (row["experiment"], row["processor"]) not in new]
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept, *rows])


def print_summary(experiment: config.Experiment, rows: Sequence[Row]) -> None:
    """Print the spread of each arm and of each comparison, in points."""
    accuracies = {
        (row["arm"], row["processor"], row["seed"]): 100 * row["accuracy"]
        for row in rows
        if row["experiment"] == experiment.experiment
    }
    by_arm: dict[str, list[float]] = {}
    for (arm, _, _), value in accuracies.items():
        by_arm.setdefault(arm, []).append(value)
    for arm, values in by_arm.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{arm}: {len(values)} runs, mean {statistics.mean(values):.2f}, sd {spread:.2f},"
              f" {min(values):.2f} to {max(values):.2f}")  # fmt: skip
    for arm, other in compared(experiment):
        gains = [
            value - accuracies[other, *run] for (name, *run), value in accuracies.items()
            if name == arm and (other, *run) in accuracies
        ]  # fmt: skip
        if gains:
            print(f"{arm} - {other}: {min(gains):+.2f} to {max(gains):+.2f} in {len(gains)} pairs")


if __name__ == "__main__":
    main()
