"""Texts as weighted words: a linear model, the floor of every comparison and the reader of
reasonings; and which known text is nearest to a new one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from infuse.data.texts import UNSPACED

_UNSPACED = re.compile(f"[{UNSPACED}]")
_LETTER = re.compile(r"[^\W\d_]")
_CHARACTERS = (1, 3)  # lengths of the runs of characters that stand in for words
_CHUNK = 256  # texts that are held against all known ones at a time


def linear_model(texts: Sequence[str], labels: Sequence[str]) -> Any | None:
    """`vectorizer`, logistic regression, with scikit-learn's defaults.

    None where there is no text, or one label alone.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    if len(set(labels)) < 2 or not any(text.strip() for text in texts):
        return None
    return make_pipeline(vectorizer(texts), LogisticRegression(max_iter=1000)).fit(texts, labels)


def vectorizer(texts: Sequence[str]) -> Any:
    """TF-IDF of `units`, not fitted yet.

    A word is a run of two or more letters or digits, as in scikit-learn, but keeps its vowel signs
    and other marks, at which that would cut it.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if units(texts) == "words":
        return TfidfVectorizer(token_pattern=_word(texts))
    return TfidfVectorizer(analyzer="char", ngram_range=_CHARACTERS)


class Nearest(NamedTuple):
    """The nearest known text of each text; the first of several.

    Attributes:
        place: int [texts], among the known ones.
        cosine: float [texts], of the two vectors of TF-IDF; 0 where they share nothing.
    """

    place: npt.NDArray[np.int64]
    cosine: npt.NDArray[np.float64]


def nearest(known: Sequence[str], texts: Sequence[str]) -> Nearest:
    """The known text nearest to each text, by the cosine of TF-IDF that the known ones weigh."""
    weigh = vectorizer(known)
    every = weigh.fit_transform(known).T.tocsr()
    places, cosines = [], []
    for start in range(0, len(texts), _CHUNK):
        similarity = (weigh.transform(texts[start : start + _CHUNK]) @ every).toarray()
        places.append(similarity.argmax(1))
        cosines.append(similarity.max(1))
    return Nearest(np.concatenate(places), np.concatenate(cosines))


def units(texts: Sequence[str]) -> Literal["words", "characters"]:
    """What a linear model of these texts counts.

    Runs of one to three characters where most letters are of scripts without spaces between words,
    or where most texts hold no word (emoji alone, say); else words.
    """
    word = re.compile(_word(texts))
    worded = sum(word.search(text) is not None for text in texts)
    return "characters" if unspaced(texts) or 2 * worded < len(texts) else "words"


def unspaced(texts: Sequence[str]) -> bool:
    """Whether most letters are of scripts without spaces between words."""
    letters = sum(len(_LETTER.findall(text)) for text in texts)
    return 2 * sum(len(_UNSPACED.findall(text)) for text in texts) > letters


def _word(texts: Sequence[str]) -> str:
    """A pattern of words that takes in the marks which these texts have."""
    marks = sorted(sign for sign in set().union(*texts) if unicodedata.category(sign)[0] == "M")
    return rf"\w[\w{''.join(marks)}]+"
