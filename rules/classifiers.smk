"""Stage 2: training sets, one classifier for each arm, regime and seed, answers on the test split.

IN   results/artifacts/{base,task,reasonings}/; for zero_shot, an endpoint
OUT  results/artifacts/{regime,training_set,classifier,predictions,zero_shot}/<name>-<key>/
COST the default, four minutes in all; Llama-3.2-1B on 16,000 texts, minutes of a GPU for each
"""


rule regime:
    input:
        sources("regime"),
    output:
        directory(artifact("regime")),
    log:
        "results/logs/regime/{id}.log",
    benchmark:
        "results/benchmarks/regime/{id}.tsv"
    conda:
        "../envs/environment.yaml"
    message:
        "Another training split ({wildcards.id})"
    shell:
        "python scripts/regime.py results/specs/regime/{wildcards.id}.json --log {log:q}"


rule training_set:
    input:
        sources("training_set"),
    output:
        directory(artifact("training_set")),
    log:
        "results/logs/training_set/{id}.log",
    benchmark:
        "results/benchmarks/training_set/{id}.tsv"
    conda:
        "../envs/environment.yaml"
    message:
        "Training set ({wildcards.id})"
    shell:
        "python scripts/training_set.py results/specs/training_set/{wildcards.id}.json --log {log:q}"


rule classifier:
    input:
        sources("classifier"),
    output:
        directory(artifact("classifier")),
    log:
        "results/logs/classifier/{id}.log",
    benchmark:
        "results/benchmarks/classifier/{id}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: experiment.compute.threads
    resources:
        gpu=gpus,
    message:
        "Stage 2: training the classifier ({wildcards.id})"
    shell:
        "python scripts/classifier.py results/specs/classifier/{wildcards.id}.json --log {log:q}"


rule predictions:
    input:
        sources("predictions"),
    output:
        directory(artifact("predictions")),
    log:
        "results/logs/predictions/{id}.log",
    benchmark:
        "results/benchmarks/predictions/{id}.tsv"
    conda:
        writing
    threads: experiment.compute.threads
    resources:
        gpu=gpus,
    message:
        "Classifying the test texts ({wildcards.id})"
    shell:
        "python scripts/predictions.py results/specs/predictions/{wildcards.id}.json --log {log:q}"


rule zero_shot:
    input:
        sources("zero_shot"),
    output:
        directory(artifact("zero_shot")),
    log:
        "results/logs/zero_shot/{id}.log",
    benchmark:
        "results/benchmarks/zero_shot/{id}.tsv"
    conda:
        "../envs/environment.yaml"
    message:
        "Asking the endpoint for the test texts' labels ({wildcards.id})"
    shell:
        "python scripts/zero_shot.py results/specs/zero_shot/{wildcards.id}.json --log {log:q}"
