"""From predictions to numbers: a row for each classifier, class, confusion cell and baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from infuse.config.arms import AnyArm
from infuse.core import schemas
from infuse.core.files import read_rows
from infuse.core.schemas import PREDICTIONS
from infuse.data.answers import OUTCOMES
from infuse.data.linear_text import linear_model, units
from infuse.data.targets import ZERO_SHOT
from infuse.evaluation import stats

Row = dict[str, Any]

CLASSIFIERS = pa.schema(
    [
        ("arm", pa.string()),
        ("seed", pa.int64()),
        ("n", pa.int64()),
        ("clusters", pa.int64()),  # of the texts, where they are not draws by themselves
        *((outcome, pa.int64()) for outcome in OUTCOMES),
        ("accuracy", pa.float64()),
        ("low", pa.float64()),  # of the accuracy, 95 %, over texts (`stats.share`)
        ("high", pa.float64()),
        ("macro_f1", pa.float64()),  # over the labels that texts have or answers give
        ("weighted_f1", pa.float64()),
        # From here on empty for a model that was asked through an endpoint; these four, and those
        # of a scale, also where a text was too long to be asked.
        ("closed_set_accuracy", pa.float64()),
        # Nats, given the arm's own prefix; empty where a true label has no vote.
        ("closed_set_nll", pa.float64()),
        ("closed_set_brier", pa.float64()),
        ("closed_set_ece", pa.float64()),
        ("documents", pa.int64()),  # that it was trained on
        ("steps", pa.int64()),
        ("sum_of_learning_rates", pa.float64()),
        ("tokens", pa.int64()),
        ("supervised_tokens", pa.int64()),
        ("label_share_of_loss", pa.float64()),
        # Of the likeliest rating, where the task has a scale.
        ("mae", pa.float64()),  # from the gold rating, which need not be whole
        ("expected_mae", pa.float64()),  # of the expected rating
        ("quadratic_kappa", pa.float64()),
        ("teacher_accuracy", pa.float64()),  # of a linear model whose words are the reasonings
    ]
)
CLASSES = pa.schema(
    [
        ("arm", pa.string()),
        ("seed", pa.int64()),
        ("label", pa.string()),
        ("support", pa.int64()),
        ("precision", pa.float64()),  # empty where no answer gives the label
        ("recall", pa.float64()),  # empty where no text has it
        ("f1", pa.float64()),  # empty where neither
    ]
)
CONFUSION = pa.schema(
    [
        ("arm", pa.string()),
        ("seed", pa.int64()),
        ("label", pa.string()),
        ("predicted", pa.string()),  # "" where no valid label was written
        ("rows", pa.int64()),
    ]
)
BASELINES = pa.schema(
    [
        ("baseline", pa.string()),
        ("n", pa.int64()),
        ("right", pa.int64()),
        ("accuracy", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("macro_f1", pa.float64()),
        ("mae", pa.float64()),  # these two where the task has a scale
        ("quadratic_kappa", pa.float64()),
    ]
)
COSTS = pa.schema(
    [
        ("stage", pa.string()),
        ("name", pa.string()),
        ("seconds", pa.float64()),
        ("peak_memory_mb", pa.float64()),
        ("energy_joules", pa.float64()),
    ]
)


def runs(arms: Mapping[str, AnyArm], seeds: Sequence[int]) -> list[tuple[str, int]]:
    """Each arm with each of its seeds; what was not trained here has one run, of seed 0."""
    return [
        (name, seed)
        for name, arm in arms.items()
        for seed in ([0] if arm.target == ZERO_SHOT else seeds)
    ]


def read_answers(inputs: Mapping[str, Path], arm: str, seed: int) -> list[Row]:
    """What one run of `runs` made of the test texts, in the schema PREDICTIONS or ZERO_SHOT."""
    if arm == ZERO_SHOT:
        return read_rows(inputs[arm] / "predictions.parquet", schemas.ZERO_SHOT)
    return read_rows(inputs[f"predictions {arm}-seed{seed}"] / "predictions.parquet", PREDICTIONS)


def join_answers(test: Sequence[Row], answers: Sequence[Row]) -> list[Row]:
    """Answers with what else the task knows of their texts: ratings, clusters, settings."""
    return [row | answer for row, answer in zip(test, answers, strict=True)]


def all_answers(
    inputs: Mapping[str, Path],
    test: Sequence[Row],
    arms: Mapping[str, AnyArm],
    seeds: Sequence[int],
) -> dict[tuple[str, int], list[Row]]:
    """What each of `runs` made of the test texts, joined with what the task knows of them."""
    return {run: join_answers(test, read_answers(inputs, *run)) for run in runs(arms, seeds)}


def classifier_row(
    arm: str, seed: int, rows: Sequence[Row], facts: Row, labels: Sequence[str]
) -> Row:
    """The line of one classifier in `CLASSIFIERS`."""
    outcomes = Counter(row["outcome"] for row in rows)
    low, high = stats.share(_right(rows), clusters_of(rows))
    return {
        "arm": arm,
        "seed": seed,
        "n": len(rows),
        "clusters": len(set(clusters_of(rows))) if "cluster" in rows[0] else None,
        **{outcome: outcomes[outcome] for outcome in OUTCOMES},
        "accuracy": outcomes["right"] / len(rows),
        "low": low,
        "high": high,
        "macro_f1": f1(rows, "macro"),
        "weighted_f1": f1(rows, "weighted"),
        **(_closed_set(rows, labels) if _scored(rows) else {}),
        **(rating_errors(rows, labels) if "rating" in rows[0] else {}),
        **{name: facts[name] for name in CLASSIFIERS.names if name in facts},
    }


def _right(rows: Sequence[Row]) -> stats.Values:
    """Of one classifier, 1 where an answer is right, else 0: [1, texts]."""
    return np.array([[row["predicted"] == row["label"] for row in rows]], float)


def _scored(rows: Sequence[Row]) -> bool:
    """Whether each text has a score for each label."""
    return all(row.get("log_probabilities") for row in rows)


def _closed_set(rows: Sequence[Row], labels: Sequence[str]) -> Row:
    true = np.array([labels.index(row["label"]) for row in rows])
    probabilities = chances(rows)
    nll = float(-_log_chances(rows)[np.arange(len(rows)), true].mean())
    right = np.array([row["closed_set"] == row["label"] for row in rows])
    return {
        "closed_set_accuracy": float(right.mean()),
        "closed_set_nll": nll if np.isfinite(nll) else None,
        "closed_set_brier": stats.brier(probabilities, true),
        "closed_set_ece": stats.calibration_error(probabilities.max(1), right),
    }


def _log_chances(rows: Sequence[Row]) -> stats.Values:
    """Closed-set log-probabilities of the labels among each other: float [texts, labels]."""
    log_probabilities = np.array([row["log_probabilities"] for row in rows])
    return log_probabilities - np.logaddexp.reduce(log_probabilities, 1, keepdims=True)


def chances(rows: Sequence[Row]) -> stats.Values:
    """Closed-set probabilities of the labels: float [texts, labels]; each text must have scores."""
    return np.exp(_log_chances(rows))


def rating_errors(rows: Sequence[Row], labels: Sequence[str]) -> Row:
    """Errors of ratings: of the closed set's, or where there is none of those that were written.

    Where an answer holds no rating, only the error of expected ratings, if each text has chances.
    Cohen's kappa with quadratic weights (Psychological Bulletin 70, 1968) is None where gold and
    given ratings are one and the same number.
    """
    from sklearn.metrics import cohen_kappa_score

    errors: Row = {}
    if _scored(rows):
        errors["expected_mae"] = float(absolute_errors(rows, labels).mean())
    said, true = _rated(rows), [row["label"] for row in rows]
    if not all(said):
        return errors
    errors |= {"mae": float(absolute_errors(rows).mean()), "quadratic_kappa": None}
    if len({*true, *said}) > 1:
        kappa = cohen_kappa_score(true, said, labels=list(labels), weights="quadratic")
        errors["quadratic_kappa"] = float(kappa)
    return errors


def _rated(rows: Sequence[Row]) -> list[str]:
    return [row["closed_set"] if "closed_set" in row else row["predicted"] for row in rows]


def absolute_errors(rows: Sequence[Row], labels: Sequence[str] = ()) -> stats.Values:
    """Distance from the gold rating: of the likeliest rating, or given `labels` of the expected
    one, the mean of the labels weighted by their closed-set chances; float [texts].
    """
    rated = np.array([row["rating"] for row in rows])
    if not labels:
        return np.abs(np.array(_rated(rows), float) - rated)
    return np.abs(chances(rows) @ np.array([float(label) for label in labels]) - rated)


def f1(rows: Sequence[Row], average: str) -> float:
    """The mean of the labels' F1, plain ("macro") or weighted by their texts ("weighted").

    It is over the labels that texts have or answers give, as scikit-learn does it; an answer
    without a label is none of them.
    """
    from sklearn.metrics import f1_score

    true, said = _sides(rows)
    there = sorted({*true, *said} - {""})
    return float(f1_score(true, said, labels=there, average=average, zero_division=0))


def class_rows(arm: str, seed: int, rows: Sequence[Row], labels: Sequence[str]) -> list[Row]:
    """The lines of one classifier in `CLASSES`."""
    from sklearn.metrics import precision_recall_fscore_support

    scores = precision_recall_fscore_support(
        *_sides(rows), labels=list(labels), zero_division=np.nan
    )
    return [
        {
            "arm": arm, "seed": seed, "label": label, "support": int(support),
            **{
                name: None if np.isnan(score) else float(score)
                for name, score in zip(("precision", "recall", "f1"), of_label, strict=True)
            },
        }
        for label, *of_label, support in zip(labels, *scores, strict=True)
    ]  # fmt: skip


def confusion_rows(arm: str, seed: int, rows: Sequence[Row], labels: Sequence[str]) -> list[Row]:
    """The lines of one classifier in `CONFUSION`."""
    from sklearn.metrics import confusion_matrix

    names = [*labels, ""]
    counts = confusion_matrix(*_sides(rows), labels=names)[:-1]
    return [
        {"arm": arm, "seed": seed, "label": label, "predicted": name, "rows": int(count)}
        for label, line in zip(labels, counts, strict=True)
        for name, count in zip(names, line, strict=True)
    ]


def _sides(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """True and given labels; "" where no valid one was written."""
    return [row["label"] for row in rows], [row["predicted"] for row in rows]


def clusters_of(rows: Sequence[Row]) -> list[str]:
    """The cluster of each row; where a task has none, each row is its own."""
    return [row.get("cluster", str(place)) for place, row in enumerate(rows)]


def baseline_rows(train: Sequence[Row], test: Sequence[Row], labels: Sequence[str]) -> list[Row]:
    """Two floors on the test texts: the most frequent label, and a linear model of words."""
    majority = Counter(row["label"] for row in train).most_common(1)[0][0]
    said = {"majority label": [majority] * len(test)}
    model = linear_model([row["text"] for row in train], [row["label"] for row in train])
    if model is not None:
        given = model.predict([row["text"] for row in test])
        name = f"TF-IDF of {units([row['text'] for row in train])}, logistic regression"
        said[name] = [str(label) for label in given]
    return [_baseline(name, test, given, labels) for name, given in said.items()]


def _baseline(name: str, test: Sequence[Row], said: Sequence[str], labels: Sequence[str]) -> Row:
    rows = [row | {"predicted": label} for row, label in zip(test, said, strict=True)]
    right = _right(rows)
    low, high = stats.share(right, clusters_of(rows))
    return {
        "baseline": name,
        "n": len(rows),
        "right": int(right.sum()),
        "accuracy": float(right.mean()),
        "low": low,
        "high": high,
        "macro_f1": f1(rows, "macro"),
        **(rating_errors(rows, labels) if "rating" in rows[0] else {}),
    }
