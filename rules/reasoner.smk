"""Stage 1: a model that writes the reasoning from question to answer, and what it writes.

IN   results/artifacts/{base,triples,task}/
OUT  results/artifacts/{tokens,reasoner,reasonings}/<name>-<key>/
COST the default, two minutes; Llama-3.2-1B on 280,000 long triples, hours of a GPU

It has priority: whatever learns reasonings waits for it, and other classifiers fill the other cores.
"""


use rule task as tokens with:
    input:
        unpack(inputs("tokens", "base", "triples")),
    output:
        directory(artifact("tokens")),
    log:
        "results/logs/tokens/{id}.log",
    benchmark:
        "results/benchmarks/tokens/{id}.tsv"
    priority: 1
    threads: experiment.compute.threads
    params:
        stage="tokens",
    message:
        "The triples as tokens ({wildcards.id})"


use rule task as reasoner with:
    input:
        unpack(inputs("reasoner", "base", "tokens", "task")),
    output:
        directory(artifact("reasoner")),
    log:
        "results/logs/reasoner/{id}.log",
    benchmark:
        "results/benchmarks/reasoner/{id}.tsv"
    priority: 1
    threads: experiment.compute.threads * ranks
    resources:
        gpu=gpus * ranks * nodes,
        nodes=nodes,
        tasks=nodes,
    params:
        stage="reasoner",
    message:
        "Stage 1: training the reasoner ({wildcards.id})"


use rule task as reasonings with:
    input:
        unpack(inputs("reasonings", "task", "known", "reasoner", "shard *")),
    output:
        directory(artifact("reasonings")),
    log:
        "results/logs/reasonings/{id}.log",
    benchmark:
        "results/benchmarks/reasonings/{id}.tsv"
    priority: 1
    conda:
        writing
    threads: experiment.compute.threads
    resources:
        gpu=gpus,
    params:
        stage="reasonings",
    message:
        "A reasoning for each training text ({wildcards.id})"
