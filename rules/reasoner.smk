"""Stage 1: a model that writes the reasoning from question to answer, and what it writes.

IN   results/artifacts/{base,triples,task}/
OUT  results/artifacts/{tokens,reasoner,reasonings}/<name>-<key>/
COST the default, two minutes; Llama-3.2-1B on 280,000 long triples, hours of a GPU
"""


rule tokens:
    input:
        sources("tokens"),
    output:
        directory(artifact("tokens")),
    log:
        "results/logs/tokens/{id}.log",
    benchmark:
        "results/benchmarks/tokens/{id}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: experiment.compute.threads
    message:
        "The triples as tokens ({wildcards.id})"
    shell:
        "python scripts/tokens.py results/specs/tokens/{wildcards.id}.json --log {log:q}"


rule reasoner:
    input:
        sources("reasoner"),
    output:
        directory(artifact("reasoner")),
    log:
        "results/logs/reasoner/{id}.log",
    benchmark:
        "results/benchmarks/reasoner/{id}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: experiment.compute.threads
    resources:
        gpu=gpus,
    message:
        "Stage 1: training the reasoner ({wildcards.id})"
    shell:
        "python scripts/reasoner.py results/specs/reasoner/{wildcards.id}.json --log {log:q}"


rule reasonings:
    input:
        sources("reasonings"),
    output:
        directory(artifact("reasonings")),
    log:
        "results/logs/reasonings/{id}.log",
    benchmark:
        "results/benchmarks/reasonings/{id}.tsv"
    conda:
        writing
    threads: experiment.compute.threads
    resources:
        gpu=gpus,
    message:
        "A reasoning for each training text ({wildcards.id})"
    shell:
        "python scripts/reasonings.py results/specs/reasonings/{wildcards.id}.json --log {log:q}"
