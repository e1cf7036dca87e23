"""Raw data and the model that everything starts from.

IN   what the config names: hub ids, local files, or the workflow's own generators; for a task of
     judges, results/artifacts/ratings/
OUT  results/artifacts/{task,triples,base}/<name>-<key>/
COST seconds; minutes where a scratch model is pre-trained
"""


rule task:
    input:
        sources("task"),
    output:
        directory(artifact("task")),
    log:
        "results/logs/task/{id}.log",
    benchmark:
        "results/benchmarks/task/{id}.tsv"
    conda:
        "../envs/environment.yaml"
    message:
        "Labelled texts in three splits ({wildcards.id})"
    shell:
        "python scripts/task.py results/specs/task/{wildcards.id}.json --log {log:q}"


rule triples:
    output:
        directory(artifact("triples")),
    log:
        "results/logs/triples/{id}.log",
    benchmark:
        "results/benchmarks/triples/{id}.tsv"
    conda:
        "../envs/environment.yaml"
    message:
        "Triples of question, answer and reasoning ({wildcards.id})"
    shell:
        "python scripts/triples.py results/specs/triples/{wildcards.id}.json --log {log:q}"


rule base:
    input:
        sources("base"),
    output:
        directory(artifact("base")),
    log:
        "results/logs/base/{id}.log",
    benchmark:
        "results/benchmarks/base/{id}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: experiment.compute.threads
    resources:
        gpu=gpus_of_base,
    message:
        "Base model ({wildcards.id})"
    shell:
        "python scripts/base.py results/specs/base/{wildcards.id}.json --log {log:q}"
