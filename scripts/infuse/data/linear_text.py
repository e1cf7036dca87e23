"""A linear model of words: the floor of every comparison, and the reader of reasonings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def linear_model(texts: Sequence[str], labels: Sequence[str]) -> Any | None:
    """TF-IDF of words, logistic regression, with scikit-learn's defaults.

    None where the texts have no words in its sense (two letters or digits), or one label alone.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    try:
        return make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000)).fit(
            texts, labels
        )
    except ValueError:
        return None
