"""Ratings: settings, held-out parts, judges; of a task with a scale.

IN   results/artifacts/{task,predictions,regime,ratings}/
OUT  results/<experiment>/quality/<name>-<key>/, and results/quality.csv and its siblings
COST seconds; no model is loaded
"""


rule quality:
    input:
        **last_inputs(plan.quality, "task", "predictions *", "held out *", "without *", "ratings"),
        script=script_path("quality"),
        stale=stale("quality"),
    output:
        directory(plan.quality.path),
        *published("Ratings", QUALITY_TABLES, QUALITY_FIGURES),
    log:
        f"results/logs/quality/{plan.quality.id}.log",
    benchmark:
        f"results/benchmarks/quality/{plan.quality.id}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        spec=plan.quality.spec_path,
        provenance=provenance(plan.quality),
    message:
        "Every setting, held-out parts, judges: results/quality.csv and its siblings"
    shell:
        "python {input.script:q} {params.spec} --log {log:q}"
