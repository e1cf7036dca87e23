"""A task with a scale: every setting, parts that training has not seen, ratings and their judges.

IN   task; predictions of all arms; the splits without a part, and the predictions on that part;
     what judges made of the conversations
OUT  quality, settings, transfer, ratings, judges, dimensions: each as .csv, .md and .html; quality
     as .png and .pdf; copied to results/

Run as: python scripts/quality.py results/specs/quality/NAME-KEY.json
"""

from typing import Any

from infuse.config.arms import Arm
from infuse.config.report_params import QualityParams
from infuse.core.files import read_csv, read_labels, read_rows
from infuse.core.manifest import read_provenance
from infuse.core.schemas import RATED, SPLITS
from infuse.evaluation import judges
from infuse.evaluation import scores as ev
from infuse.reporting import plots, rating_tables
from infuse.reporting.cells import NOT_RUN, Table, plain, write
from infuse.workflow.job import Job, run

VERSION = 6


def quality(job: Job) -> dict[str, Any]:
    """Write the tables and draw the figure."""
    labels = read_labels(job.inputs["task"])
    params = QualityParams.model_validate(job.params)
    arms, seeds, held = params.arms, params.seeds, params.held_out
    splits = {split: read_rows(job.inputs["task"] / f"{split}.parquet", RATED) for split in SPLITS}
    trained = {name: arm for name, arm in arms.items() if isinstance(arm, Arm)}
    written = ev.all_answers(job.inputs, splits["test"], trained, seeds)
    parts = {
        name: _held_out(job, kind, name, [(arm, seed) for arm in held.arms for seed in seeds])
        for kind, name in held.parts
    }
    for name, table in {
        "quality": rating_tables.quality(splits["train"], written, arms),
        "settings": rating_tables.every_setting(splits["train"], written, arms, labels),
        "transfer": rating_tables.transfer(parts, arms, labels) or [{"held out": NOT_RUN}],
        "ratings": rating_tables.spread(splits, labels),
        **_judged(job),
    }.items():
        write(job.out / name, table)
    bare = [name for name, arm in trained.items() if not arm.system]
    floors = rating_tables.floors(splits["train"], splits["test"])
    plots.save(plots.settings(floors, rating_tables.reached(written), bare), job.out / "quality")
    return {}


def _held_out(job: Job, kind: str, name: str, runs: list[tuple[str, int]]) -> rating_tables.HeldOut:
    """What models that were trained without a part answer on it, and those that were not."""
    folder = job.inputs[f"held out {name}"]
    train, texts = (read_rows(folder / f"{split}.parquet", RATED) for split in ("train", "test"))
    prefix = f"without {name}: "
    answers = {
        f"predictions {role.removeprefix(prefix)}": path
        for role, path in job.inputs.items()
        if role.startswith(prefix)
    }
    on_everything = None
    if kind == "source":  # whose test texts they are; a fold is of training texts
        ids = {row["id"] for row in texts}
        on_everything = {
            run: [row for row in ev.read_answers(job.inputs, *run) if row["id"] in ids]
            for run in runs
        }
    without = {run: ev.join_answers(texts, ev.read_answers(answers, *run)) for run in runs}
    return rating_tables.HeldOut(train, without, on_everything)


def _judged(job: Job) -> dict[str, Table]:
    """The tables of judges and dimensions, where judges have rated."""
    if "ratings" not in job.inputs:
        return {
            "judges": [{"judge": NOT_RUN}],
            "dimensions": [{"source": NOT_RUN}],
        }
    of_judges, dimensions = (
        read_csv(job.inputs["ratings"] / f"{name}.csv", schema)
        for name, schema in (("judges", judges.JUDGES), ("dimensions", judges.DIMENSIONS))
    )
    provenance = read_provenance(job.inputs["ratings"])
    spent = {
        part["name"].removeprefix("judgments "): part["facts"]
        for part in [*provenance["lineage"].values(), provenance | {"name": "merger"}]
        if "prompt_tokens" in part["facts"]
    }
    totals = rating_tables.judge_totals(of_judges, spent)
    return {
        "judges": [*totals, *plain(of_judges)],
        "dimensions": plain(dimensions),
    }


if __name__ == "__main__":
    run(quality)
