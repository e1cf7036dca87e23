"""Every answer of an experiment as one page, which a browser opens from the disk.

IN   task; metrics of all arms; bases, reasoners and classifiers (how their losses went);
     predictions; training sets and the reasonings in them
OUT  browse.html, copied to results/

Run as: python scripts/browse.py results/specs/browse/NAME-KEY.json
"""

import itertools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infuse.config.arms import AnyArm, Arm
from infuse.config.report_params import MetricsParams
from infuse.core.files import (
    read_candidates,
    read_json,
    read_labels,
    read_rows,
    read_task,
    write_text,
)
from infuse.core.manifest import read_provenance
from infuse.core.resources import commit
from infuse.core.schemas import TASK, TEXT_LABEL, TEXT_REASONING_LABEL
from infuse.data.answers import OUTCOMES
from infuse.evaluation import scores as ev
from infuse.evaluation.comparisons import Runs
from infuse.evaluation.metrics_files import read_numbers
from infuse.reporting import arm_tables, rating_tables
from infuse.reporting import browse_data as shown
from infuse.reporting.packing import pack
from infuse.reporting.page import page
from infuse.workflow.job import Job, run

VERSION = 5
log = logging.getLogger("infuse")
Row = dict[str, Any]


def browse(job: Job) -> dict[str, Any]:
    """Write the page."""
    params = MetricsParams.model_validate(job.params)
    task, arms = job.inputs["task"], params.arms
    labels, test = read_labels(task), read_task(task, "test")
    train = read_rows(task / "train.parquet", TASK)
    written = ev.all_answers(job.inputs, test, arms, params.seeds)
    sets = _training_sets(job, arms)
    read = shown.readings(sets, written)
    texts, held = shown.texts(test, train, labels)
    names = list(arms)
    experiment = job.name.removeprefix("browse ")
    tree = {
        "experiment": experiment,
        "key": job.key,
        "commit": commit(Path(__file__).parents[1]),
        "labels": labels,
        "outcomes": list(OUTCOMES),
        "arms": shown.described_arms(arms, read),
        "runs": [[names.index(arm), seed] for arm, seed in written],
        "texts": texts,
        "answers": shown.answers(written, read, labels),
        "train": shown.known([train[place] for place in held], labels),
        "sets": shown.training(sets, train, held, names),
        "earlier": _earlier(job),
        "curves": _curves(job, list(written)),
        "tables": _tables(job, arms, written, labels),
        "made": shown.origins(
            {str(path): read_provenance(path) for path in dict.fromkeys(job.inputs.values())}
        ),
    }
    text = page(f"{experiment}: every answer", pack(tree))
    write_text(job.out / "browse.html", text)
    facts = {"answers": len(test) * len(written), "bytes": len(text.encode())}
    log.info("%d answers in %.1f MB", facts["answers"], facts["bytes"] / 1e6)
    return facts


def _training_sets(job: Job, arms: Mapping[str, AnyArm]) -> list[shown.TrainingSet]:
    """Each set that arms learned from, once."""
    learners: dict[Path, list[str]] = {}
    trained = {name: arm for name, arm in arms.items() if isinstance(arm, Arm)}
    for name in trained:
        learners.setdefault(job.inputs[f"training_set {name}"], []).append(name)
    sets = []
    for folder, names in learners.items():
        arm = trained[names[0]]
        schema = TEXT_REASONING_LABEL if arm.reasoned else TEXT_LABEL
        train, validation = (
            read_rows(folder / f"{split}.parquet", schema) for split in ("train", "validation")
        )
        written = {}
        if arm.reasoned and not arm.perturb:
            drawn = itertools.chain(*read_candidates(job.inputs[f"reasonings {names[0]}"]))
            rows = [row for row in drawn if row["split"] == "train"][::-1]
            used = {(row["id"], row["reasoning"]) for row in train}
            written = {row["id"]: row for row in rows}  # the first
            written |= {row["id"]: row for row in rows if (row["id"], row["reasoning"]) in used}
        name = _source(arm, job.inputs.get(f"reasonings {names[0]}"))
        sets.append(shown.TrainingSet(name, names, train, validation, written))
    return sets


def _source(arm: Arm, folder: Path | None) -> str:
    """Where an arm's reasonings come from: their section, its kind, and what was done to them."""
    section = arm.reasons or "reasonings"
    kind = read_provenance(folder)["params"]["kind"] if folder else "none"
    words = [section if kind == section else f"{section} ({kind})"]
    words += [f"kept: {' '.join(arm.keep)}"] if arm.keep else []
    words += [f"perturbed: {arm.perturb}"] if arm.perturb else []
    return ", ".join(words)


def _earlier(job: Job) -> list[Row]:
    """The losses of each base and reasoner that was trained here."""
    return [
        {"name": role, **shown.curve(read_json(folder / "history.json"))}
        for role, folder in job.inputs.items()
        if role.startswith(("base ", "reasoner ")) and (folder / "history.json").exists()
    ]


def _curves(job: Job, runs: list[shown.Run]) -> list[Row]:
    """The losses of each run that was trained here."""
    curves = []
    for place, (arm, seed) in enumerate(runs):
        folder = job.inputs.get(f"classifier {arm}-seed{seed}")
        if folder is not None:
            curves.append({"run": place, **shown.curve(read_json(folder / "history.json"))})
    return curves


def _tables(job: Job, arms: Mapping[str, AnyArm], written: Runs, labels: list[str]) -> Row:
    """The tables of arms and comparisons, and of settings where the task has a scale."""
    classifiers, means, baselines, comparisons = read_numbers(
        job.inputs["metrics"], "classifiers", "means", "baselines", "comparisons"
    )
    tables = {
        "arms": arm_tables.all_arms(arms, classifiers, means, baselines),
        "comparisons": arm_tables.comparisons(comparisons),
    }
    train = read_task(job.inputs["task"], "train")
    if "rating" in train[0]:
        rated = {
            (arm, seed): rows for (arm, seed), rows in written.items() if isinstance(arms[arm], Arm)
        }
        tables["settings"] = rating_tables.every_setting(train, rated, arms, labels)
    return tables


if __name__ == "__main__":
    run(browse)
