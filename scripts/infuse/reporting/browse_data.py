"""What the page of an experiment shows, as columns that `packing` packs.

Labels, arms, runs and texts are told by their places. A place behind the last label stands for no
label. What is told of each answer lies in the order of texts, and of runs within a text: answers to
one text have words in common, and so take less room.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from infuse.config.arms import AnyArm, Arm
from infuse.core.files import json_text
from infuse.data.answers import OUTCOMES
from infuse.data.linear_text import nearest
from infuse.evaluation.arguments import Heard, heard
from infuse.evaluation.scores import Row, chances
from infuse.reporting.packing import coded, small

Run = tuple[str, int]  # arm and seed
Tree = dict[str, Any]

MOST_KNOWN = 4000  # training texts of a page; more, where more are the nearest to a test text
MOST_STEPS = 150  # points of a learning curve
CERTAIN = 65535  # a probability of 1
TARGETS = {
    "label": "the label alone",
    "reason_label": "reasoning, then label",
    "label_reason": "label, then reasoning",
    "multi_task": "the label; asked further, the reasoning",
    "head": "a linear head",
    "zero_shot": "a model that was not trained",
}


class TrainingSet(NamedTuple):
    """What one or several arms learned from.

    Attributes:
        train: rows with id, text, label and, where arms learned from reasonings, reasoning; as
            `validation`.
        written: reasoning, finish and tokens of training texts by id, as they were written; empty
            where others stand in their place.
    """

    name: str
    arms: list[str]
    train: Sequence[Row]
    validation: Sequence[Row]
    written: Mapping[int, Row]

    @property
    def reasoned(self) -> bool:
        """Whether it has reasonings."""
        return bool(self.train) and "reasoning" in self.train[0]


def described_arms(arms: Mapping[str, AnyArm], read: Mapping[Run, Heard]) -> list[Tree]:
    """Each arm with its form in words, and how well its reasonings can be read."""
    known = {name: reading.known for (name, _), reading in read.items()}
    trees = []
    for name, arm in arms.items():
        words = [TARGETS[arm.target], *(_own(arm) if isinstance(arm, Arm) else [])]
        reasoned = isinstance(arm, Arm) and arm.explained
        trees.append(
            {
                "name": name, "told": ", ".join(words), "reasoned": reasoned,
                "heard": known.get(name),
            }
        )  # fmt: skip
    return trees


def _own(arm: Arm) -> Iterator[str]:
    """What an arm has of its own beside its target."""
    if arm.reasons:
        yield f"reasonings: {arm.reasons}"
    if arm.keep:
        yield f"kept if {', '.join(arm.keep)}"
    if arm.perturb:
        yield f"perturbed: {arm.perturb}"
    if arm.label_weight is not None:
        yield f"label's weight: {arm.label_weight:g}"
    if arm.label_smoothing is not None:
        yield f"label smoothing: {arm.label_smoothing:g}"
    if arm.match and arm.match.steps:
        yield f"steps of {arm.match.steps}"
    if arm.match and arm.match.supervised_tokens:
        yield f"supervised tokens of {arm.match.supervised_tokens}"
    if arm.vote:
        yield f"{arm.vote.answers} answers vote"
    if not arm.system:
        yield "no system message"


def texts(
    test: Sequence[Row], train: Sequence[Row], labels: Sequence[str]
) -> tuple[Tree, list[int]]:
    """The test texts, each with the nearest training text; and which training texts the page holds.

    Returns:
        the columns, where `nearest` is a place among the held ones; and the places of those.
    """
    neighbours = nearest([row["text"] for row in train], [row["text"] for row in test])
    held = _held(len(train), set(neighbours.place.tolist()))
    place = {whole: own for own, whole in enumerate(held)}
    tree = known(test, labels) | {
        "nearest": small(place[at] for at in neighbours.place.tolist()),
        "cosine": neighbours.cosine.astype(np.float32),
    }
    if "rating" in test[0]:
        tree["rating"] = np.array([row["rating"] for row in test], np.float32)
        tree |= {part: coded(row[part] for row in test) for part in ("source", "dimension")}
    return tree, held


def known(rows: Sequence[Row], labels: Sequence[str]) -> Tree:
    """Ids, texts and true labels of rows."""
    return {
        "id": [str(row["id"]) for row in rows],  # a browser's numbers end at 2**53
        "text": [row["text"] for row in rows],
        "label": _places([row["label"] for row in rows], labels),
    }


def _held(count: int, nearest: set[int]) -> list[int]:
    """The training texts of a page: the nearest ones, and others, evenly spread, up to the most."""
    rest = [place for place in range(count) if place not in nearest]
    room = min(max(MOST_KNOWN - len(nearest), 0), len(rest))
    drawn = (rest[index * len(rest) // room] for index in range(room))
    return sorted(nearest | set(drawn))


def answers(
    written: Mapping[Run, Sequence[Row]], read: Mapping[Run, Heard], labels: Sequence[str]
) -> Tree:
    """What each run made of each text.

    Args:
        read: what a linear model reads out of the reasonings of a run, where it has some.
    """
    rows = [row for text in zip(*written.values(), strict=True) for row in text]
    nothing = [""] * len(next(iter(written.values())))
    heard_labels = zip(
        *(read[run].labels if run in read else nothing for run in written), strict=True
    )
    return {
        "predicted": _places([row["predicted"] for row in rows], labels),
        "outcome": small(OUTCOMES.index(row["outcome"]) for row in rows),
        "chances": _chances(rows, len(labels)),
        "tokens": small(row["tokens"] or 0 for row in rows),
        "reasoning": coded(row["reasoning"] for row in rows),
        "generated": coded("" if row["predicted"] else row["generated"] for row in rows),
        "heard": _places([label for text in heard_labels for label in text], labels),
    }


def _places(names: Sequence[str], labels: Sequence[str]) -> npt.NDArray[Any]:
    """Labels by their places; "" is the one behind the last."""
    places = {label: place for place, label in enumerate(labels)}
    column = np.array([places.get(name, len(labels)) for name in names], np.int64)
    return column.astype(np.min_scalar_type(len(labels)))


def _chances(rows: Sequence[Row], labels: int) -> npt.NDArray[np.uint16]:
    """Closed-set probabilities in parts of `CERTAIN`, [answers * labels]; all 0 without scores."""
    shares = np.zeros((len(rows), labels))
    scored = [at for at, row in enumerate(rows) if row.get("log_probabilities")]
    if scored:
        shares[scored] = chances([rows[at] for at in scored])
    return np.rint(CERTAIN * shares).astype(np.uint16).ravel()


def readings(sets: Sequence[TrainingSet], written: Mapping[Run, Sequence[Row]]) -> dict[Run, Heard]:
    """What a linear model of the training reasonings reads out of those of each run."""
    by_run = {}
    for training_set in sets:
        if not training_set.reasoned:
            continue
        runs = [run for run in written if run[0] in training_set.arms]
        said = [row["reasoning"] for run in runs for row in written[run]]
        read = heard(training_set.train, training_set.validation, said)
        for place, run in enumerate(runs):
            count = len(written[run])
            own = read.labels[place * count : (place + 1) * count]
            by_run[run] = Heard(own, read.known)
    return by_run


def training(
    sets: Sequence[TrainingSet], train: Sequence[Row], held: Sequence[int], arms: Sequence[str]
) -> list[Tree]:
    """The reasonings that stand beside the held training texts, of each set that has some.

    A text that is not in a set has the reasoning that was written for it, which was not used.
    """
    trees = []
    for training_set in sets:
        if not training_set.reasoned:
            continue
        used = {row["id"]: row["reasoning"] for row in training_set.train}
        ids = [train[place]["id"] for place in held]
        originals = [training_set.written.get(id_, {}) for id_ in ids]
        trees.append(
            {
                "name": training_set.name,
                "arms": [arms.index(name) for name in training_set.arms],
                "rows": len(train), "used": len(used),
                "reasoning": coded(
                    str(used.get(id_, row.get("reasoning", "")))
                    for id_, row in zip(ids, originals, strict=True)
                ),
                "kept": small(int(id_ in used) for id_ in ids),
                "finish": coded(row.get("finish", "") for row in originals),
                "tokens": small(row.get("tokens", 0) for row in originals),
            }
        )  # fmt: skip
    return trees


def curve(history: Mapping[str, Sequence[Row]]) -> Tree:
    """Losses of a training: means over equal runs of steps, and each evaluation."""
    steps = [(row["step"], row["loss"]) for row in history["steps"]]
    width = max(1, math.ceil(len(steps) / MOST_STEPS))
    parts = [steps[start : start + width] for start in range(0, len(steps), width)]
    return {
        "steps": [[part[-1][0], float(np.mean([loss for _, loss in part]))] for part in parts],
        "evaluations": [[row["step"], row["loss"]] for row in history["evaluations"]],
    }


def origins(folders: Mapping[str, Row]) -> list[Tree]:
    """What the page was made from: stage, name, key, commit, libraries and parameters.

    Args:
        folders: what each artifact says of itself, by its path.
    """
    artifacts: dict[str, Tree] = {}
    for path, provenance in folders.items():
        artifacts[path] = {
            part: provenance.get(part) for part in ("stage", "key", "commit", "versions")
        }
        artifacts[path] |= {
            "name": own_name(provenance),
            "params": json_text(provenance.get("params")),
        }
        for source, part in provenance["lineage"].items():
            row = {"stage": part["stage"], "key": source.rpartition("-")[2]}
            artifacts.setdefault(source, row | {"name": own_name(part)})
    return sorted(artifacts.values(), key=lambda row: (row["stage"], row["name"]))


def own_name(provenance: Row) -> str:
    """The name of an artifact, without its stage."""
    name: str = provenance["name"]
    return name.removeprefix(f"{provenance['stage']} ")
