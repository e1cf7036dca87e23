"""Raw data and the model that everything starts from.

IN   what the config names: hub ids, local files, or the workflow's own generators; for a task of
     judges, results/artifacts/ratings/
OUT  results/artifacts/{task,triples,base}/<name>-<key>/
COST seconds; minutes where a scratch model is pre-trained
"""


rule task:
    input:
        unpack(inputs("task", "ratings", "task")),
    output:
        directory(artifact("task")),
    log:
        "results/logs/task/{id}.log",
    benchmark:
        "results/benchmarks/task/{id}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        stage="task",
    message:
        "Labelled texts in three splits ({wildcards.id})"
    shell:
        f"python {SCRIPTS}/"
        "{params.stage}.py results/specs/{params.stage}/{wildcards.id}.json"
        " --log {log:q}"


use rule task as triples with:
    input:
        unpack(inputs("triples")),
    output:
        directory(artifact("triples")),
    log:
        "results/logs/triples/{id}.log",
    benchmark:
        "results/benchmarks/triples/{id}.tsv"
    params:
        stage="triples",
    message:
        "Triples of question, answer and reasoning ({wildcards.id})"


use rule task as base with:
    input:
        unpack(inputs("base", "task", "triples")),
    output:
        directory(artifact("base")),
    log:
        "results/logs/base/{id}.log",
    benchmark:
        "results/benchmarks/base/{id}.tsv"
    threads: experiment.compute.threads * ranks
    resources:
        gpu=gpus_of_base,
        nodes=nodes_of_base,
        tasks=nodes_of_base,
    params:
        stage="base",
    message:
        "Base model ({wildcards.id})"
