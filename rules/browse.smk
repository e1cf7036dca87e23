"""A page of every answer: arms, confusions, texts, reasonings, ratings; it needs no server.

IN   results/artifacts/{base,task,reasoner,training_set,reasonings,classifier,predictions}/, metrics
OUT  results/<experiment>/browse/<name>-<key>/, and results/browse.html
COST seconds; no model is loaded
"""


rule browse:
    input:
        **last_inputs(
            plan.browse,
            "task",
            "metrics",
            "classifier *",
            "predictions *",
            "zero_shot",
            "training_set *",
            "reasonings *",
            "base *",
            "reasoner *",
        ),
        script=script_path("browse"),
        stale=stale("browse"),
    output:
        directory(plan.browse.path),
        "results/browse.html",
    log:
        f"results/logs/browse/{plan.browse.id}.log",
    benchmark:
        f"results/benchmarks/browse/{plan.browse.id}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        spec=plan.browse.spec_path,
    message:
        "Every answer on a page: results/browse.html"
    shell:
        "python {input.script:q} {params.spec} --log {log:q}"
