"""Conversations, what judges say of them, and what comes out together.

IN   what the config names: hub ids, local files, or the workflow's own generator; endpoints
OUT  results/artifacts/{conversations,judgments,ratings}/<name>-<key>/
COST seconds; minutes where a source has millions of rows; where judges are asked, a request for
     each conversation, dimension, style and judge
"""


use rule task as conversations with:
    input:
        unpack(inputs("conversations")),
    output:
        directory(artifact("conversations")),
    log:
        "results/logs/conversations/{id}.log",
    benchmark:
        "results/benchmarks/conversations/{id}.tsv"
    params:
        stage="conversations",
    message:
        "Conversations of several sources in three splits ({wildcards.id})"


use rule task as judgments with:
    input:
        unpack(inputs("judgments", "conversations")),
    output:
        directory(artifact("judgments")),
    log:
        "results/logs/judgments/{id}.log",
    benchmark:
        "results/benchmarks/judgments/{id}.tsv"
    params:
        stage="judgments",
    message:
        "What one judge says of every conversation ({wildcards.id})"


use rule task as ratings with:
    input:
        unpack(inputs("ratings", "conversations", "judge *")),
    output:
        directory(artifact("ratings")),
    log:
        "results/logs/ratings/{id}.log",
    benchmark:
        "results/benchmarks/ratings/{id}.tsv"
    params:
        stage="ratings",
    message:
        "One rating and one explanation from all judges ({wildcards.id})"
