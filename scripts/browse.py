"""Every answer of an experiment as one page, which a browser opens from the disk.

IN   task; metrics of all arms; classifiers (how their losses went); predictions; training sets and
     the reasonings in them
OUT  browse.html, copied to results/
"""

import logging
from pathlib import Path
from typing import Any

from infuse.core.files import read_csv, read_json, read_labels, read_rows, read_task, write_text
from infuse.core.manifest import SEAL
from infuse.core.resources import commit
from infuse.core.schemas import REASONINGS, TASK, TEXT_LABEL, TEXT_REASONING_LABEL
from infuse.data.targets import REASONED, ZERO_SHOT
from infuse.evaluation import comparisons as pairs
from infuse.evaluation import scores as ev
from infuse.reporting import arm_tables, rating_tables
from infuse.reporting import browse_data as shown
from infuse.reporting.packing import pack
from infuse.reporting.page import page
from infuse.workflow.job import Job, run

VERSION = 1
log = logging.getLogger("infuse")
Row = dict[str, Any]


def browse(job: Job) -> dict[str, Any]:
    """Write the page."""
    task, arms, seeds = job.inputs["task"], job.params["arms"], job.params["seeds"]
    labels, test = read_labels(task), read_task(task, "test")
    train = read_rows(task / "train.parquet", TASK)
    written = {
        one: ev.beside(test, ev.read_answers(job.inputs, *one)) for one in ev.runs(arms, seeds)
    }
    sets = _training_sets(job)
    read = shown.readings(sets, written)
    texts, held = shown.texts(test, train, labels)
    names = list(arms)
    experiment = job.name.removeprefix("browse ")
    tree = {
        "experiment": experiment,
        "key": job.key,
        "commit": commit(Path(__file__).parents[1]),
        "labels": labels,
        "outcomes": list(shown.OUTCOMES),
        "arms": shown.arms_told(arms, read),
        "runs": [[names.index(arm), seed] for arm, seed in written],
        "texts": texts,
        "answers": shown.answers(written, read, labels),
        "train": shown.known([train[place] for place in held], labels),
        "sets": shown.training(sets, train, held, names),
        "curves": _curves(job, list(written)),
        "tables": _tables(job, written, labels),
        "made": shown.made(
            {str(path): read_json(path / SEAL) for path in dict.fromkeys(job.inputs.values())}
        ),
    }
    text = page(f"{experiment}: every answer", pack(tree))
    write_text(job.out / "browse.html", text)
    facts = {"answers": len(test) * len(written), "bytes": len(text.encode())}
    log.info("%d answers in %.1f MB", facts["answers"], facts["bytes"] / 1e6)
    return facts


def _training_sets(job: Job) -> list[shown.TrainingSet]:
    """Each set that arms learned from, once."""
    arms: dict[Path, list[str]] = {}
    for role, folder in job.inputs.items():
        if role.startswith("training_set "):
            arms.setdefault(folder, []).append(role.removeprefix("training_set "))
    found = []
    for folder, names in arms.items():
        arm = job.params["arms"][names[0]]
        schema = TEXT_REASONING_LABEL if arm["target"] in REASONED else TEXT_LABEL
        train, validation = (
            read_rows(folder / f"{split}.parquet", schema) for split in ("train", "validation")
        )
        told = {}
        if arm["target"] in REASONED and not arm["perturb"]:
            rows = read_rows(
                job.inputs[f"reasonings {names[0]}"] / "reasonings.parquet", REASONINGS
            )
            told = {row["id"]: row for row in rows if row["split"] == "train"}
        found.append(shown.TrainingSet(_source(job, names[0]), names, train, validation, told))
    return found


def _source(job: Job, name: str) -> str:
    """Where an arm's reasonings come from: their section, its kind, and what was done to them."""
    arm, folder = job.params["arms"][name], job.inputs.get(f"reasonings {name}")
    section = arm["reasons"] or "reasonings"
    kind = read_json(folder / SEAL)["params"]["kind"] if folder else "none"
    words = section if kind == section else f"{section} ({kind})"
    return f"{words}, perturbed: {arm['perturb']}" if arm["perturb"] else words


def _curves(job: Job, runs: list[shown.Run]) -> list[Row]:
    """The losses of each run that was trained here."""
    found = []
    for place, (arm, seed) in enumerate(runs):
        folder = job.inputs.get(f"classifier {arm}-seed{seed}")
        if folder is not None:
            found.append({"run": place, **shown.curve(read_json(folder / "history.json"))})
    return found


def _tables(job: Job, written: pairs.Runs, labels: list[str]) -> Row:
    """The tables of arms and comparisons, and of settings where the task has a scale."""
    arms = job.params["arms"]
    numbers = {
        name: read_csv(job.inputs["metrics"] / f"{name}.csv", schema)
        for name, schema in (
            ("classifiers", ev.CLASSIFIERS),
            ("means", pairs.MEANS),
            ("baselines", ev.BASELINES),
            ("comparisons", pairs.COMPARISONS),
        )
    }
    tables = {
        "arms": arm_tables.all_arms(
            arms, *(numbers[name] for name in ("classifiers", "means", "baselines"))
        ),
        "comparisons": arm_tables.comparisons(numbers["comparisons"]),
    }
    train = read_task(job.inputs["task"], "train")
    if "rating" in train[0]:
        rated = {one: rows for one, rows in written.items() if arms[one[0]]["target"] != ZERO_SHOT}
        tables["settings"] = rating_tables.every_setting(train, rated, arms, labels)
    return tables


if __name__ == "__main__":
    run(browse)
