"""Where the time of a run goes: what each stage's jobs took, and what of it was their own work.

    python benchmarks/first_table.py [FOLDER]

FOLDER is where an experiment has been built from nothing. Seconds are of processors, so that other
work on the machine counts little: those of a job are in Snakemake's benchmark files.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from pathlib import Path


def seconds(folder: Path) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Jobs of each stage, their processor seconds, and their wall seconds."""
    jobs, processor, wall = Counter[str](), Counter[str](), Counter[str]()
    for file in sorted((folder / "results/benchmarks").rglob("*.tsv")):
        stage = file.relative_to(folder / "results/benchmarks").parts[0]
        (row,) = csv.DictReader(file.open(encoding="utf-8"), delimiter="\t")
        jobs[stage] += 1
        processor[stage] += float(row["cpu_time"])
        wall[stage] += float(row["s"])
    return jobs, processor, wall


def main() -> None:
    """Print a table, and the same as JSON."""
    folder = Path(sys.argv[1] if sys.argv[1:] else ".")
    jobs, processor, wall = seconds(folder)
    print("| stage | jobs | processor, s | wall, s |\n|---|---|---|---|")
    for stage in [*jobs, "all"]:
        parts = (
            [part[stage] for part in (jobs, processor, wall)] if stage in jobs
            else [sum(part.values()) for part in (jobs, processor, wall)]
        )  # fmt: skip
        print(f"| {stage} | {parts[0]} | {parts[1]:.1f} | {parts[2]:.1f} |")
    print(json.dumps({stage: [jobs[stage], round(processor[stage], 1)] for stage in jobs}))


if __name__ == "__main__":
    main()
