"""Made-up studies of any size, as the stage `browse` reads them, and the page it makes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from browse import browse
from infuse.config.settings import Settings
from infuse.core import schemas
from infuse.core.files import write_json, write_rows
from infuse.core.schemas import (
    PREDICTIONS,
    RATED,
    REASONINGS,
    TASK,
    TEXT_LABEL,
    TEXT_REASONING_LABEL,
)
from infuse.data.targets import REASONED, ZERO_SHOT
from infuse.workflow.job import Job
from metrics import metrics

Row = dict[str, Any]

PLAIN: Row = {
    "reasons": None, "keep": [], "perturb": None, "label_weight": None, "system": True,
    "match": None,
}  # fmt: skip
LABEL = PLAIN | {"target": "label"}
WHY = PLAIN | {"target": "reason_label"}
FIRST_ID = 2**53 + 1  # a double holds no odd number from there on
EMOTIONS = ["sadness", "joy", "love", "anger", "fear", "surprise"]
SCRIPT = "<script>window.hostile = 1</script>"
IMAGE = "<img src=x onerror='window.hostile = 2'>"
HOSTILE = (
    f'{SCRIPT}{IMAGE}</style></textarea>--> & &lt;b&gt; "quoted" \\u2028 \u2028 \u202e \U0001f600'
)


@dataclass(frozen=True)
class Study:
    """What is made up.

    Attributes:
        rates: how often an arm is right, by its name; the others are right half of the time.
        first: texts and reasonings that come first in every split.
        asked: whether an endpoint was asked too.
        too_long: how many of the last test texts are too long for the classifiers.
        unread: the outcome of the answers that have no label.
    """

    arms: Mapping[str, Row] = field(default_factory=lambda: {"label": LABEL, "why": WHY})
    seeds: Sequence[int] = (1, 2)
    labels: Sequence[str] = tuple(EMOTIONS)
    train: int = 60
    test: int = 40
    words: int = 12  # of a text
    reasons: int = 10  # words of a reasoning
    rated: bool = False
    rates: Mapping[str, float] = field(default_factory=dict)
    first: Sequence[str] = ()
    asked: bool = False
    too_long: int = 0
    unread: str = "no_answer"


def page(root: Path, study: Study) -> Path:
    """The page of a made-up study; its inputs lie in folders beside it, by their roles."""
    draw = np.random.default_rng(7)
    vocabulary = np.array(["".join(draw.choice(list("aeioumnrstlkd"), 6)) for _ in range(3000)])
    chances = 1 / np.arange(1, len(vocabulary) + 1)

    def words(count: int, length: int) -> list[str]:
        drawn = draw.choice(vocabulary, (count, length), p=chances / chances.sum())
        return [*study.first, *(" ".join(line) for line in drawn)][:count]

    splits = {
        name: _rows(study, words(count, study.words), draw)
        for name, count in (("train", study.train), ("validation", 10), ("test", study.test))
    }
    inputs = {"task": root / "task"}
    inputs["task"].mkdir(parents=True)
    _tell(inputs["task"], "task made-up")
    for name, rows in splits.items():
        write_rows(inputs["task"] / f"{name}.parquet", rows, RATED if study.rated else TASK)
    write_json(inputs["task"] / "labels.json", list(study.labels))
    inputs |= _training_sets(root, study, splits, words)
    for arm, options in study.arms.items():
        for seed in study.seeds:
            said = words(study.test, study.reasons) if options["target"] in REASONED else None
            name = f"{arm}-seed{seed}"
            inputs[f"predictions {name}"] = folder = root / f"predictions {name}"
            folder.mkdir()
            rows = _answers(study, splits["test"], study.rates.get(arm, 0.5), said, draw)
            write_rows(folder / "predictions.parquet", rows, PREDICTIONS)
            _tell(folder, f"predictions {name}")
            inputs[f"classifier {name}"] = _classifier(root / f"classifier {name}", draw)
    inputs["base scratch"] = _base(root / "base scratch", draw)
    arms = dict(study.arms)
    if study.asked:
        arms[ZERO_SHOT] = {"target": ZERO_SHOT}
        inputs[ZERO_SHOT] = folder = root / ZERO_SHOT
        folder.mkdir()
        rows = _answers(study, splits["test"], 0.6, None, draw)
        rows = [row | {"prompt_tokens": None, "tokens": None} for row in rows]
        write_rows(folder / "predictions.parquet", rows, schemas.ZERO_SHOT)
        _tell(folder, "zero_shot api")
    params = {"arms": arms, "seeds": list(study.seeds), "comparisons": _pairs(study)}
    for stage in (metrics, browse):
        name, out = f"{stage.__name__} made-up", root / stage.__name__
        out.mkdir()
        stage(Job(name, params, Settings(), dict(inputs), root, out, {}, "0" * 12))
        _tell(out, name)
        inputs[stage.__name__] = out
    return root / "browse/browse.html"


def _pairs(study: Study) -> list[list[str]]:
    first, *others = list(study.arms)[::-1]
    return [[first, other] for other in others[:1]]


def _rows(study: Study, texts: Sequence[str], draw: Any) -> list[Row]:
    rows = []
    for at, text in enumerate(texts):
        label = study.labels[int(draw.integers(len(study.labels)))] if at else study.labels[0]
        row = {"id": FIRST_ID + at, "text": text, "label": label}
        if study.rated:
            row |= {
                "rating": min(5.0, float(label) + float(draw.random()) / 2),
                "cluster": str(at // 2), "source": ("shop", "bank")[at // 2 % 2],
                "dimension": ("calm", "clear")[at % 2],
            }  # fmt: skip
        rows.append(row)
    return rows


def _training_sets(
    root: Path, study: Study, splits: Mapping[str, Sequence[Row]], words: Any
) -> dict[str, Path]:
    """A set for the labels alone; and one with reasonings, of which the last one is empty, for each
    way to make them.
    """
    inputs, plain = {}, root / "text_label"
    plain.mkdir()
    _tell(plain, "training_set text_label")
    for split in ("train", "validation"):
        write_rows(plain / f"{split}.parquet", splits[split], TEXT_LABEL)
    set_folders: dict[Any, Path] = {}
    for arm, options in study.arms.items():
        inputs[f"training_set {arm}"] = plain
        if options["target"] not in REASONED:
            continue
        form = options["reasons"], options["perturb"]
        folder, reasons = root / f"set {arm}", root / f"reasonings {arm}"
        if form not in set_folders:
            set_folders[form] = folder
            folder.mkdir()
            reasons.mkdir()
            _tell(folder, f"training_set {arm}")
            written: list[Row] = []
            for split in ("train", "validation"):
                rows = splits[split]
                said = [*words(len(rows) - 1, study.reasons), ""]
                written += [
                    {"split": split, "id": row["id"], "reasoning": reasoning,
                     "finish": "length" if row["id"] % 9 == 0 else "stop",
                     "tokens": len(reasoning.split()) + row["id"] % 5}
                    for row, reasoning in zip(rows, said, strict=True)
                ]  # fmt: skip
                kept = [
                    row | {"reasoning": reasoning}
                    for row, reasoning in zip(rows, said, strict=True)
                    if reasoning
                ]
                write_rows(folder / f"{split}.parquet", kept, TEXT_REASONING_LABEL)
            write_rows(reasons / "reasonings.parquet", written, REASONINGS)
            _tell(reasons, "reasonings scratch", params={"kind": "reasoner"})
        inputs[f"training_set {arm}"] = set_folders[form]
        inputs[f"reasonings {arm}"] = set_folders[form].with_name(
            set_folders[form].name.replace("set ", "reasonings ")
        )
    return inputs


def _answers(
    study: Study, test: Sequence[Row], rate: float, said: Sequence[str] | None, draw: Any
) -> list[Row]:
    """One in twenty has no label; scores are those of an arm that is sure of what it says."""
    rows = []
    for at, row in enumerate(test):
        right = bool(draw.random() < rate)
        others = [label for label in study.labels if label != row["label"]]
        label = row["label"] if right else others[int(draw.integers(len(others)))]
        scores = draw.normal(-4, 1.5, len(study.labels))
        scores[study.labels.index(label)] = -0.2
        none = at % 20 == 19 and not study.rated
        reasoning = said[at] if said else ""
        rows.append(
            {
                **{part: row[part] for part in ("id", "text", "label")},
                "generated": f"{reasoning} so {label}?", "reasoning": reasoning,
                "predicted": "" if none else label,
                "outcome": study.unread if none else "right" if right else "wrong",
                "tokens": 3 + len(reasoning.split()), "closed_set": label,
                "log_probabilities": scores.tolist(),
            }
        )  # fmt: skip
    for row in rows[len(rows) - study.too_long :]:
        row.update(dict.fromkeys(("generated", "reasoning", "predicted", "closed_set"), ""))
        row.update({"outcome": "too_long", "tokens": 0, "log_probabilities": []})
    return rows


def _history(folder: Path, draw: Any) -> None:
    losses = np.exp(-np.arange(400) / 100) + 0.05 + 0.02 * draw.random(400)
    steps = [{"step": at + 1, "loss": float(loss)} for at, loss in enumerate(losses)]
    checks = [{"step": at, "loss": float(losses[at - 1] + 0.1)} for at in (100, 200, 300, 400)]
    write_json(folder / "history.json", {"steps": steps, "evaluations": checks})


def _base(folder: Path, draw: Any) -> Path:
    folder.mkdir()
    _history(folder, draw)
    _tell(folder, folder.name)
    return folder


def _classifier(folder: Path, draw: Any) -> Path:
    folder.mkdir()
    _history(folder, draw)
    facts = {"documents": 60, "steps": 400, "tokens": 9000, "supervised_tokens": 600}
    facts |= {"sum_of_learning_rates": 0.2, "label_share_of_loss": 0.5}
    _tell(
        folder, f"classifier {folder.name.removeprefix('classifier ')}", facts=facts,
        inputs={"training_set": "results/artifacts/training_set/a-0"},
        lineage={
            "results/artifacts/training_set/a-0": {
                "stage": "training_set", "name": "training_set a", "facts": {"train": {}},
                "cost": {"seconds": 1.0, "peak_memory_mb": 1.0, "energy_joules": None},
            }
        },
        commit="0" * 40, versions={"torch": "2.13.0"},
    )  # fmt: skip
    return folder


def _tell(folder: Path, name: str, **overrides: Any) -> None:
    """What a folder says of itself; the test's runner seals it."""
    none: Row = {"facts": {}, "cost": {}, "lineage": {}, "params": {}}
    none["cost"] = {"seconds": 1.0, "peak_memory_mb": 1.0, "energy_joules": None}
    own = {"stage": name.partition(" ")[0], "name": name, "key": folder.name}
    (folder / "provenance.json").write_text(json.dumps(none | own | overrides))
