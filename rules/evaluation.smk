"""Numbers, tables and figures of this experiment, of its regimes and controls.

IN   results/artifacts/{task,classifier,predictions,training_set,reasonings}/
OUT  results/<experiment>/{metrics,tables,figures,arms,verdict}/<name>-<key>/, and results/table3.csv and
     its siblings: those of the experiment that was built last
COST seconds; no model is loaded
"""


use rule task as metrics with:
    input:
        unpack(
            inputs(
                "metrics", "task", "training texts", "classifier *", "predictions *", "zero_shot"
            )
        ),
    output:
        directory("results/{experiment}/metrics/{id}"),
    log:
        "results/logs/metrics/{experiment}/{id}.log",
    benchmark:
        "results/benchmarks/metrics/{experiment}/{id}.tsv"
    params:
        stage="metrics",
    message:
        "Numbers ({wildcards.id})"


rule tables:
    input:
        **last_inputs(plan.tables, "task", "metrics", "training_set", "predictions *", "zero_shot"),
        script=script_path("tables"),
        stale=stale("tables"),
    output:
        directory(plan.tables.path),
        *published("Tables", TABLES, {}),
    log:
        f"results/logs/tables/{plan.tables.id}.log",
    benchmark:
        f"results/benchmarks/tables/{plan.tables.id}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        spec=plan.tables.spec_path,
        provenance=provenance(plan.tables),
    message:
        "Tables 1-5: results/table3.csv and its siblings"
    shell:
        "python {input.script:q} {params.spec} --log {log:q}"


rule figures:
    input:
        **last_inputs(plan.figures, "task", "metrics"),
        script=script_path("figures"),
        stale=stale("figures"),
    output:
        directory(plan.figures.path),
        *published("Figures", {}, FIGURES),
    log:
        f"results/logs/figures/{plan.figures.id}.log",
    benchmark:
        f"results/benchmarks/figures/{plan.figures.id}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        spec=plan.figures.spec_path,
        provenance=provenance(plan.figures),
    message:
        "Figures 1-3: results/figure1.png and its siblings"
    shell:
        "python {input.script:q} {params.spec} --log {log:q}"


rule arms:
    input:
        **last_inputs(plan.arms, "task", "metrics", "reasonings *", "regime *", "control *"),
        script=script_path("arms"),
        stale=stale("arms"),
    output:
        directory(plan.arms.path),
        *published("Arms", ARM_TABLES, ARM_FIGURES),
    log:
        f"results/logs/arms/{plan.arms.id}.log",
    benchmark:
        f"results/benchmarks/arms/{plan.arms.id}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        spec=plan.arms.spec_path,
        provenance=provenance(plan.arms),
    message:
        "All arms, regimes and controls: results/arms.csv and its siblings"
    shell:
        "python {input.script:q} {params.spec} --log {log:q}"


rule verdict:
    input:
        **last_inputs(plan.verdict, "task", "metrics", "classifier *", "predictions *"),
        script=script_path("verdict"),
        stale=stale("verdict"),
    output:
        directory(plan.verdict.path),
        "results/verdict.md",
    log:
        f"results/logs/verdict/{plan.verdict.id}.log",
    benchmark:
        f"results/benchmarks/verdict/{plan.verdict.id}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        spec=plan.verdict.spec_path,
    message:
        "Whether it is worth it, in plain words: results/verdict.md"
    shell:
        "python {input.script:q} {params.spec} --log {log:q}"
