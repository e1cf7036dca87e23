"""Schemas of the files between rules."""

from __future__ import annotations

import pyarrow as pa

SPLITS = ("train", "validation", "test")


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


TASK = _schema(id=pa.int64(), text=pa.string(), label=pa.string())
RATED = _schema(  # a task with a scale
    id=pa.int64(),
    text=pa.string(),
    label=pa.string(),  # the rating as a whole number
    rating=pa.float64(),
    cluster=pa.string(),  # the conversation, or the context
    source=pa.string(),  # with the dimension, the setting; "" where there is none
    dimension=pa.string(),
)
TRIPLES = _schema(
    question=pa.string(), answer=pa.string(), reasoning=pa.string(), domain=pa.string()
)
CONVERSATIONS = _schema(
    id=pa.int64(),  # over all splits
    source=pa.string(),
    cluster=pa.string(),  # of contexts that differ in case and white space; never in two splits
    context=pa.string(),
    response=pa.string(),
)
DOCUMENTS = _schema(  # in the order of their tokens in the file beside it
    row=pa.int64(),
    length=pa.int32(),
    start=pa.int32(),  # the place of the first target token
)
REASONINGS = _schema(
    split=pa.string(),
    id=pa.int64(),
    reasoning=pa.string(),
    finish=pa.string(),  # "stop" at the end, "length" at the limit, "imported"
    tokens=pa.int32(),
)
ID = _schema(id=pa.int64())
TEXT_LABEL = _schema(id=pa.int64(), text=pa.string(), label=pa.string())
TEXT_REASONING_LABEL = _schema(
    id=pa.int64(), text=pa.string(), reasoning=pa.string(), label=pa.string()
)
PREDICTIONS = _schema(
    id=pa.int64(),
    text=pa.string(),
    label=pa.string(),
    generated=pa.string(),  # what the classifier wrote, special tokens left out
    reasoning=pa.string(),  # the part that is neither label nor separator
    predicted=pa.string(),  # "" where no valid label was written
    outcome=pa.string(),  # right, wrong, no_answer, truncated or too_long
    tokens=pa.int32(),  # written, end token included
    closed_set=pa.string(),  # the label with the largest of `log_probabilities`; "" of too_long
    # Of each whole label and its end, in nats; where answers vote, of its share; or none.
    log_probabilities=pa.list_(pa.float64()),
)


LOGIT_LENS = _schema(  # lists begin with layer 0, the embeddings
    id=pa.int64(),
    label=pa.string(),
    predicted=pa.string(),  # the label with the best score, as `closed_set` of PREDICTIONS
    entropy=pa.list_(pa.float32()),  # of each layer's prediction, in nats
    activation_entropy=pa.list_(pa.float32()),  # of each layer's values, in nats
    ranks=pa.list_(pa.list_(pa.int32())),  # by layer, of each label's token; 1 is the best
    settled=pa.int32(),  # the first layer that is sure of the final label; -1: none
    confidence=pa.float32(),  # the largest probability at the last layer
)
REASONING = TEXT_REASONING_LABEL.field("reasoning")
ZERO_SHOT = pa.schema(
    [PREDICTIONS.field(name) for name in PREDICTIONS.names[: PREDICTIONS.names.index("tokens")]]
    + [pa.field("prompt_tokens", pa.int32()), pa.field("tokens", pa.int32())]  # null: not told
)


_UNJUDGED = _schema(
    split=pa.string(),
    id=pa.int64(),  # of the conversation
    dimension=pa.string(),
    style=pa.string(),  # of the prompt
    explanation=pa.string(),
    outcome=pa.string(),  # rated, no_score, out_of_range, truncated or empty
    tokens=pa.int32(),
)
JUDGMENTS = pa.schema(  # score on the style's own scale, rating on 1 to 5; null: not rated
    [*_UNJUDGED, pa.field("score", pa.float64()), pa.field("rating", pa.float64())]
)
RATINGS = _schema(
    id=pa.int64(),  # the conversation's, times the number of dimensions, plus the dimension's place
    source=pa.string(),
    dimension=pa.string(),
    cluster=pa.string(),
    context=pa.string(),
    response=pa.string(),
    rating=pa.float64(),  # 1 to 5, mean of what was rated, not rounded
    explanation=pa.string(),  # of all that were given; "" where none was
)
