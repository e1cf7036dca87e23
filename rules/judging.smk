"""Conversations, what judges say of them, and what comes out together.

IN   what the config names: hub ids, local files, or the workflow's own generator; endpoints
OUT  results/artifacts/{conversations,judgments,ratings}/<name>-<key>/
COST seconds; minutes where a source has millions of rows; where judges are asked, a request for
     each conversation, dimension, style and judge
"""


rule conversations:
    output:
        directory(artifact("conversations")),
    log:
        "results/logs/conversations/{id}.log",
    benchmark:
        "results/benchmarks/conversations/{id}.tsv"
    conda:
        "../envs/environment.yaml"
    message:
        "Conversations of several sources in three splits ({wildcards.id})"
    shell:
        "python scripts/conversations.py results/specs/conversations/{wildcards.id}.json --log {log:q}"


rule judgments:
    input:
        sources("judgments"),
    output:
        directory(artifact("judgments")),
    log:
        "results/logs/judgments/{id}.log",
    benchmark:
        "results/benchmarks/judgments/{id}.tsv"
    conda:
        "../envs/environment.yaml"
    message:
        "What one judge says of every conversation ({wildcards.id})"
    shell:
        "python scripts/judgments.py results/specs/judgments/{wildcards.id}.json --log {log:q}"


rule ratings:
    input:
        sources("ratings"),
    output:
        directory(artifact("ratings")),
    log:
        "results/logs/ratings/{id}.log",
    benchmark:
        "results/benchmarks/ratings/{id}.tsv"
    conda:
        "../envs/environment.yaml"
    message:
        "One rating and one explanation from all judges ({wildcards.id})"
    shell:
        "python scripts/ratings.py results/specs/ratings/{wildcards.id}.json --log {log:q}"
