"""Conversations, what judges think of them, and what they think together.

IN   what the config names; an endpoint for each judge that is not simulated
OUT  results/artifacts/{judgments,ratings}/<name>-<key>/
COST seconds with simulated judges; else a request for each conversation, dimension, style and
     judge, and one for each rating that is merged. Replies are kept under results/answers/
"""


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
        "One judge's ratings and explanations ({wildcards.id})"
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
        "The judges' mean rating and merged explanation ({wildcards.id})"
    shell:
        "python scripts/ratings.py results/specs/ratings/{wildcards.id}.json --log {log:q}"
