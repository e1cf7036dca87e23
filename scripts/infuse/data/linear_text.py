"""A linear model of texts: the floor of every comparison, and the reader of reasonings."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal

# Letters of scripts that put no space between words: Thai, Lao, Tibetan, Burmese, Khmer, Tai,
# Balinese, Javanese, Japanese and Chinese.
_UNSPACED = re.compile(
    "[\u0e00-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua980-\ua9df\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff]"
)
_LETTER = re.compile(r"[^\W\d_]")
_CHARACTERS = (1, 3)  # lengths of the runs of characters that stand in for words


def linear_model(texts: Sequence[str], labels: Sequence[str]) -> Any | None:
    """TF-IDF of `units`, logistic regression, with scikit-learn's defaults.

    A word is a run of two or more letters or digits, as in scikit-learn, but keeps its vowel signs
    and other marks, at which that would cut it.

    None where there is no text, or one label alone.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    if len(set(labels)) < 2 or not any(text.strip() for text in texts):
        return None
    if units(texts) == "words":
        vectorizer = TfidfVectorizer(token_pattern=_word(texts))
    else:
        vectorizer = TfidfVectorizer(analyzer="char", ngram_range=_CHARACTERS)
    return make_pipeline(vectorizer, LogisticRegression(max_iter=1000)).fit(texts, labels)


def units(texts: Sequence[str]) -> Literal["words", "characters"]:
    """What a linear model of these texts counts.

    Runs of one to three characters where most letters are of scripts without spaces between words,
    or where most texts hold no word (emoji alone, say); else words.
    """
    unspaced = sum(len(_UNSPACED.findall(text)) for text in texts)
    letters = sum(len(_LETTER.findall(text)) for text in texts)
    word = re.compile(_word(texts))
    worded = sum(word.search(text) is not None for text in texts)
    return "characters" if 2 * unspaced > letters or 2 * worded < len(texts) else "words"


def _word(texts: Sequence[str]) -> str:
    """A pattern of words that takes in the marks which these texts have."""
    marks = sorted(sign for sign in set().union(*texts) if unicodedata.category(sign)[0] == "M")
    return rf"\w[\w{''.join(marks)}]+"
