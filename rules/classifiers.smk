"""Stage 2: training sets, one classifier for each arm, regime and seed, answers on the test split.

IN   results/artifacts/{base,task,reasonings}/; for zero_shot, an endpoint
OUT  results/artifacts/{regime,training_set,classifier,predictions,zero_shot}/<name>-<key>/
COST the default, about a minute of a core for each; Llama-3.2-1B on 16,000 texts, minutes of a GPU for each
"""


use rule task as regime with:
    input:
        unpack(inputs("regime", "task")),
    output:
        directory(artifact("regime")),
    log:
        "results/logs/regime/{id}.log",
    benchmark:
        "results/benchmarks/regime/{id}.tsv"
    params:
        stage="regime",
    message:
        "Another training split ({wildcards.id})"


use rule task as training_set with:
    input:
        unpack(inputs("training_set", "task", "reasonings", "base")),
    output:
        directory(artifact("training_set")),
    log:
        "results/logs/training_set/{id}.log",
    benchmark:
        "results/benchmarks/training_set/{id}.tsv"
    params:
        stage="training_set",
    message:
        "Training set ({wildcards.id})"


use rule task as classifier with:
    input:
        unpack(inputs("classifier", "base", "task", "training_set", "match *")),
    output:
        directory(artifact("classifier")),
    log:
        "results/logs/classifier/{id}.log",
    benchmark:
        "results/benchmarks/classifier/{id}.tsv"
    threads: experiment.compute.threads * ranks
    resources:
        gpu=gpus * ranks * nodes,
        nodes=nodes,
        tasks=nodes,
    params:
        stage="classifier",
    message:
        "Stage 2: training the classifier ({wildcards.id})"


use rule task as predictions with:
    input:
        unpack(inputs("predictions", "classifier", "task")),
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
    params:
        stage="predictions",
    message:
        "Classifying the test texts ({wildcards.id})"


use rule task as zero_shot with:
    input:
        unpack(inputs("zero_shot", "task")),
    output:
        directory(artifact("zero_shot")),
    log:
        "results/logs/zero_shot/{id}.log",
    benchmark:
        "results/benchmarks/zero_shot/{id}.tsv"
    params:
        stage="zero_shot",
    message:
        "Asking the endpoint for the test texts' labels ({wildcards.id})"
