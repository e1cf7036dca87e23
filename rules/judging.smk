"""Conversations that judges rate.

IN   what the config names: hub ids, local files, or the workflow's own generator
OUT  results/artifacts/conversations/<name>-<key>/
COST seconds; minutes where a source has millions of rows
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
