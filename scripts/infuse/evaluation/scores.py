"""From predictions to numbers: one row for each classifier, class, confusion cell and contrast."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from infuse.core import schemas
from infuse.core.errors import UserError
from infuse.core.files import read_rows
from infuse.core.schemas import PREDICTIONS
from infuse.data.answers import OUTCOMES
from infuse.data.linear_text import linear_model
from infuse.data.targets import ZERO_SHOT
from infuse.evaluation import stats

Row = dict[str, Any]
BOOTSTRAPS = 4000

CLASSIFIERS = pa.schema(
    [
        ("arm", pa.string()),
        ("seed", pa.int64()),
        ("n", pa.int64()),
        ("clusters", pa.int64()),  # of the texts, where they are not draws by themselves
        *((outcome, pa.int64()) for outcome in OUTCOMES),
        ("accuracy", pa.float64()),
        ("low", pa.float64()),  # of the accuracy, 95 % (`accuracy_interval`)
        ("high", pa.float64()),
        ("macro_f1", pa.float64()),
        ("weighted_f1", pa.float64()),
        # From here on empty for a model that was asked through an endpoint.
        ("closed_set_accuracy", pa.float64()),
        ("closed_set_nll", pa.float64()),  # nats; given the arm's own prefix
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
        ("precision", pa.float64()),
        ("recall", pa.float64()),
        ("f1", pa.float64()),
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
CONTRASTS = pa.schema(
    [
        ("arm", pa.string()),
        ("against", pa.string()),
        ("seed", pa.int64()),
        ("difference", pa.float64()),
        ("low", pa.float64()),  # 95 %, for two independent samples
        ("high", pa.float64()),
        ("z", pa.float64()),
        ("z_p", pa.float64()),
        ("only_arm_right", pa.int64()),
        ("only_against_right", pa.int64()),
        ("mcnemar_p", pa.float64()),
    ]
)
COMPARISONS = pa.schema(
    [
        ("arm", pa.string()),
        ("against", pa.string()),
        ("measure", pa.string()),  # of `MEASURES`
        ("seeds", pa.int64()),
        ("n", pa.int64()),
        ("difference", pa.float64()),
        ("low", pa.float64()),  # 95 %, over texts and seeds (`statistics.crossed`)
        ("high", pa.float64()),
        ("df", pa.float64()),
        ("p", pa.float64()),
        ("holm_p", pa.float64()),  # over the comparisons of this measure
        ("bootstrap_low", pa.float64()),
        ("bootstrap_high", pa.float64()),
        ("discordant", pa.float64()),  # share of texts that one of a pair has right, mean of seeds
        ("detectable", pa.float64()),  # with one pair of seeds, by McNemar's test, 80 % of the time
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


def runs(arms: Mapping[str, Mapping[str, Any]], seeds: Sequence[int]) -> list[tuple[str, int]]:
    """Each arm with each of its seeds; what was not trained here has one run, of seed 0."""
    return [
        (name, seed)
        for name, arm in arms.items()
        for seed in ([0] if arm["target"] == ZERO_SHOT else seeds)
    ]


def read_answers(inputs: Mapping[str, Path], arm: str, seed: int) -> list[Row]:
    """What one run of `runs` made of the test texts, in the schema PREDICTIONS or ZERO_SHOT."""
    if arm == ZERO_SHOT:
        return read_rows(inputs[arm] / "predictions.parquet", schemas.ZERO_SHOT)
    return read_rows(inputs[f"predictions {arm}-seed{seed}"] / "predictions.parquet", PREDICTIONS)


def beside(test: Sequence[Row], answers: Sequence[Row]) -> list[Row]:
    """Answers with what else the task knows of their texts: ratings, clusters, settings."""
    return [row | answer for row, answer in zip(test, answers, strict=True)]


def classifier_row(
    arm: str, seed: int, rows: Sequence[Row], facts: Row, labels: Sequence[str]
) -> Row:
    """The line of one classifier in `CLASSIFIERS`."""
    outcomes = Counter(row["outcome"] for row in rows)
    low, high = accuracy_interval(rows, [row["outcome"] == "right" for row in rows])
    true, predicted = codes(rows, labels)
    scores = stats.class_scores(true, predicted, len(labels))
    return {
        "arm": arm,
        "seed": seed,
        "n": len(rows),
        "clusters": len(set(clusters_of(rows))) if "cluster" in rows[0] else None,
        **{outcome: outcomes[outcome] for outcome in OUTCOMES},
        "accuracy": outcomes["right"] / len(rows),
        "low": low,
        "high": high,
        "macro_f1": stats.macro_f1(scores),
        "weighted_f1": stats.weighted_f1(scores),
        **(_closed_set(rows, true) if "closed_set" in rows[0] else {}),
        **(ordered(rows, labels) if "rating" in rows[0] else {}),
        **{name: facts[name] for name in CLASSIFIERS.names if name in facts},
    }


def _closed_set(rows: Sequence[Row], true: Any) -> Row:
    chances = _chances(rows)
    return {
        "closed_set_accuracy": float(np.mean([row["closed_set"] == row["label"] for row in rows])),
        "closed_set_nll": float(-_log_chances(rows)[np.arange(len(rows)), true].mean()),
        "closed_set_brier": stats.brier(chances, true),
        "closed_set_ece": stats.calibration_error(chances, true),
    }


def accuracy_interval(rows: Sequence[Row], right: Sequence[bool]) -> tuple[float, float]:
    """The 95 % interval of a share over texts: Wilson's; where they lie in clusters, the t-test's
    over these.
    """
    clusters = clusters_of(rows)
    if len(set(clusters)) == len(rows):
        return stats.wilson(sum(right), len(rows))
    drawn = stats.clustered(np.array([right], float), clusters)
    if drawn.shape[1] < 2:
        return 0.0, 1.0  # one conversation tells nothing of others
    if len(set(right)) == 1:  # nothing varies: as many trials as there are clusters
        return stats.wilson(right[0] * drawn.shape[1], drawn.shape[1])
    found = stats.crossed(drawn)
    return max(found.low, 0.0), min(found.high, 1.0)


def _log_chances(rows: Sequence[Row]) -> stats.Values:
    """Closed-set log-probabilities of the labels among each other: float [texts, labels]."""
    log_probabilities = np.array([row["log_probabilities"] for row in rows])
    return log_probabilities - np.logaddexp.reduce(log_probabilities, 1, keepdims=True)


def _chances(rows: Sequence[Row]) -> stats.Values:
    return np.exp(_log_chances(rows))


def ordered(rows: Sequence[Row], labels: Sequence[str]) -> Row:
    """Errors of ratings: of the closed set's, or where there is none of those that were written.

    Nothing where an answer holds no rating.
    """
    said = _rated(rows)
    if not all(said):
        return {}
    given, true = (
        np.array([labels.index(label) for label in side])
        for side in (said, [row["label"] for row in rows])
    )
    found = {
        "mae": float(absolute_errors(rows).mean()),
        "quadratic_kappa": stats.quadratic_kappa(true, given, len(labels)),
    }
    if "log_probabilities" in rows[0]:
        found["expected_mae"] = float(absolute_errors(rows, labels).mean())
    return found


def _rated(rows: Sequence[Row]) -> list[str]:
    return [row["closed_set"] if "closed_set" in row else row["predicted"] for row in rows]


def absolute_errors(rows: Sequence[Row], labels: Sequence[str] = ()) -> stats.Values:
    """Distance from the gold rating: of the likeliest rating, or given `labels` of the expected
    one, the mean of the labels weighted by their closed-set chances; float [texts].
    """
    rated = np.array([row["rating"] for row in rows])
    if not labels:
        return np.abs(np.array(_rated(rows), float) - rated)
    return np.abs(_chances(rows) @ np.array([float(label) for label in labels]) - rated)


def class_rows(arm: str, seed: int, rows: Sequence[Row], labels: Sequence[str]) -> list[Row]:
    """The lines of one classifier in `CLASSES`."""
    scores = stats.class_scores(*codes(rows, labels), len(labels))
    return [
        {
            "arm": arm, "seed": seed, "label": label, "support": score.support,
            "precision": score.precision, "recall": score.recall, "f1": score.f1,
        }
        for label, score in zip(labels, scores, strict=True)
    ]  # fmt: skip


def confusion_rows(arm: str, seed: int, rows: Sequence[Row], labels: Sequence[str]) -> list[Row]:
    """The lines of one classifier in `CONFUSION`."""
    counts = stats.confusion(*codes(rows, labels), len(labels))
    return [
        {"arm": arm, "seed": seed, "label": label, "predicted": name, "rows": int(count)}
        for label, line in zip(labels, counts, strict=True)
        for name, count in zip([*labels, ""], line, strict=True)
    ]


def contrast_row(
    arm: str, against: str, seed: int, ours: Sequence[Row], theirs: Sequence[Row]
) -> Row:
    """One pair of classifiers on the same texts: the paper's z-test, and McNemar's beside it."""
    a = np.array([row["outcome"] == "right" for row in ours])
    b = np.array([row["outcome"] == "right" for row in theirs])
    test = stats.two_proportion_z(int(a.sum()), len(a), int(b.sum()), len(b))
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return {
        "arm": arm, "against": against, "seed": seed, "difference": test.difference,
        "low": test.low, "high": test.high, "z": test.z, "z_p": test.p,
        "only_arm_right": only_a, "only_against_right": only_b,
        "mcnemar_p": stats.mcnemar_exact(only_a, only_b),
    }  # fmt: skip


MEASURES: dict[str, Callable[[Row], bool]] = {
    "accuracy": lambda row: row["outcome"] == "right",
    "closed set accuracy": lambda row: row.get("closed_set", row["predicted"]) == row["label"],
}


def comparison_rows(
    pairs: Sequence[Sequence[str]], written: Mapping[tuple[str, int], Sequence[Row]]
) -> list[Row]:
    """Each pair of arms by each measure, over all seeds; an arm with one run meets all of them.

    Raises:
        UserError: there is a single text, or a single cluster of texts.
    """
    clusters = clusters_of(next(iter(written.values())))
    if pairs and len(set(clusters)) < 2:
        what = "texts" if len(clusters) < 2 else "clusters of texts"
        raise UserError(f"comparisons: expected two test {what} or more, found one")
    rows = []
    for measure, right in MEASURES.items():
        family = [
            _comparison(arm, other, ours - theirs, clusters)
            for arm, other in pairs
            for ours, theirs in [[right_answers(name, written, right) for name in (arm, other)]]
        ]
        adjusted = stats.holm([row["p"] for row in family])
        rows += [
            row | {"measure": measure, "holm_p": p} for row, p in zip(family, adjusted, strict=True)
        ]
    return rows


def clusters_of(rows: Sequence[Row]) -> list[str]:
    """The cluster of each row; where a task has none, each row is its own."""
    return [row.get("cluster", str(place)) for place, row in enumerate(rows)]


def right_answers(
    arm: str, written: Mapping[tuple[str, int], Sequence[Row]], right: Callable[[Row], bool]
) -> stats.Values:
    """1 where an answer is right, else 0: [seeds, texts]."""
    return np.array(
        [[right(row) for row in rows] for (name, _), rows in written.items() if name == arm], float
    )


def _comparison(arm: str, other: str, differences: stats.Values, clusters: Sequence[str]) -> Row:
    drawn = stats.clustered(differences, clusters)
    found = stats.crossed(drawn)
    bounds = stats.two_way_bootstrap(drawn, BOOTSTRAPS, seed=0)
    discordant = float((differences != 0).mean())
    seeds, n = differences.shape
    alone = len(set(clusters)) == n  # McNemar's test takes texts for independent
    return {
        "arm": arm, "against": other, "seeds": seeds, "n": n, "difference": found.mean,
        "low": max(found.low, -1.0), "high": min(found.high, 1.0), "df": found.df, "p": found.p,
        "bootstrap_low": bounds[0], "bootstrap_high": bounds[1], "discordant": discordant,
        "detectable": stats.detectable(discordant, n) if alone else None,
    }  # fmt: skip


def baseline_rows(train: Sequence[Row], test: Sequence[Row], labels: Sequence[str]) -> list[Row]:
    """Two floors on the test texts: the most frequent label, and a linear model of words."""
    majority = Counter(row["label"] for row in train).most_common(1)[0][0]
    said = {"majority label": [majority] * len(test)}
    model = linear_model([row["text"] for row in train], [row["label"] for row in train])
    if model is not None:
        given = model.predict([row["text"] for row in test])
        said["TF-IDF, logistic regression"] = [str(label) for label in given]
    return [_baseline(name, test, given, labels) for name, given in said.items()]


def _baseline(name: str, test: Sequence[Row], said: Sequence[str], labels: Sequence[str]) -> Row:
    rows = [row | {"predicted": label} for row, label in zip(test, said, strict=True)]
    right = [row["label"] == row["predicted"] for row in rows]
    low, high = accuracy_interval(rows, right)
    scores = stats.class_scores(*codes(rows, labels), len(labels))
    return {
        "baseline": name,
        "n": len(rows),
        "right": sum(right),
        "accuracy": sum(right) / len(rows),
        "low": low,
        "high": high,
        "macro_f1": stats.macro_f1(scores),
        **(ordered(rows, labels) if "rating" in rows[0] else {}),
    }


def codes(rows: Sequence[Row], labels: Sequence[str]) -> tuple[Any, Any]:
    """True and predicted places in `labels`; -1 where no valid label was written."""
    places = {label: place for place, label in enumerate(labels)} | {"": -1}
    return (
        np.array([places[row["label"]] for row in rows]),
        np.array([places[row["predicted"]] for row in rows]),
    )
