"""Self-consistency (Wang et al. 2022, arXiv 2203.11171): several drawn answers vote for a label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from infuse.evaluation.scores import Row


def elected(answers: Sequence[Row], labels: Sequence[str]) -> Row:
    """What several answers to one text say together.

    The label is that of most answers, and of labels with equally many that of the earliest. An
    answer without a label does not vote. A label's chance is its share of the votes; without any
    vote all have the same.

    Args:
        answers: in the order in which they were drawn, in the schema PREDICTIONS.
        labels: of the task.

    Returns:
        the earliest answer with that label, with the tokens of all and the chances; where no answer
        has a label, the first.
    """
    votes = Counter(row["predicted"] for row in answers if row["predicted"])
    [(label, _)] = votes.most_common(1) or [("", 0)]  # of equal counts, the first that was met
    chosen = next(row for row in answers if row["predicted"] == label)
    if chosen["outcome"] == "too_long":
        return chosen
    counts = np.array([votes[name] if votes else 1 for name in labels])
    with np.errstate(divide="ignore"):
        chances = np.log(counts / counts.sum())
    return chosen | {
        "tokens": sum(row["tokens"] for row in answers),
        "closed_set": label,
        "log_probabilities": chances.tolist(),
    }
