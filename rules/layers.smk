"""The logit lens: what the layers of each classifier say where the label begins.

IN   results/artifacts/{task,classifier,predictions}/
OUT  results/artifacts/logit_lens/<name>-<key>/; results/<experiment>/layers/<name>-<key>/, and
     results/layers.csv and its siblings: those of the experiment that was built last
COST one forward pass for each text and classifier; the tables, seconds
"""


use rule task as logit_lens with:
    input:
        unpack(inputs("logit_lens", "classifier", "predictions")),
    output:
        directory(artifact("logit_lens")),
    log:
        "results/logs/logit_lens/{id}.log",
    benchmark:
        "results/benchmarks/logit_lens/{id}.tsv"
    threads: experiment.compute.threads
    resources:
        gpu=gpus,
    params:
        stage="logit_lens",
    message:
        "Looking into the layers ({wildcards.id})"


rule layers:
    input:
        **last_inputs(plan.layers, "task", "logit_lens *"),
        script=script_path("layers"),
        stale=stale("layers"),
    output:
        directory(plan.layers.path),
        *published("Layers", LAYER_TABLES, LAYER_FIGURES),
    log:
        f"results/logs/layers/{plan.layers.id}.log",
    benchmark:
        f"results/benchmarks/layers/{plan.layers.id}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        spec=plan.layers.spec_path,
        provenance=provenance(plan.layers),
    message:
        "What the layers say: results/layers.csv and its siblings"
    shell:
        "python {input.script:q} {params.spec} --log {log:q}"
