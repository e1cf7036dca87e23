"""Numbers, tables and figures of this experiment.

IN   results/artifacts/{task,classifier,predictions,training_set}/
OUT  results/<experiment>/{metrics,tables,figures}/<experiment>-<key>/, and results/table3.csv and
     its siblings: those of the experiment that was built last
COST seconds; no model is loaded
"""


rule metrics:
    input:
        needs(plan.metrics),
    output:
        directory(plan.metrics.path),
    log:
        f"results/logs/metrics/{plan.metrics.id}.log",
    benchmark:
        f"results/benchmarks/metrics/{plan.metrics.id}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        spec=plan.metrics.spec_path,
    message:
        "Numbers"
    shell:
        "python scripts/metrics.py {params.spec} --log {log:q}"


rule tables:
    input:
        [ancient(source.path) for source in plan.tables.inputs.values()],
        "scripts/tables.py",
        stale=stale("tables"),
    output:
        directory(plan.tables.path),
        collect("results/{name}.{form}", name=TABLES, form=["csv", "md"]),
        [
            report(
                f"results/{name}.html",
                caption=f"../report/{name}.rst",
                category="Tables",
                labels={"table": name, "of": title},
            )
            for name, title in TABLES.items()
        ],
    log:
        f"results/logs/tables/{plan.tables.id}.log",
    benchmark:
        f"results/benchmarks/tables/{plan.tables.id}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        spec=plan.tables.spec_path,
        made=made(plan.tables),
    message:
        "Tables 1-5: results/table3.csv and its siblings"
    shell:
        "python scripts/tables.py {params.spec} --log {log:q}"


rule figures:
    input:
        [ancient(source.path) for source in plan.figures.inputs.values()],
        "scripts/figures.py",
        stale=stale("figures"),
    output:
        directory(plan.figures.path),
        collect("results/{name}.pdf", name=FIGURES),
        [
            report(
                f"results/{name}.png",
                caption=f"../report/{'arms_figure' if name == 'arms' else name}.rst",
                category="Figures",
                labels={"figure": name, "of": title},
            )
            for name, title in FIGURES.items()
        ],
    log:
        f"results/logs/figures/{plan.figures.id}.log",
    benchmark:
        f"results/benchmarks/figures/{plan.figures.id}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        spec=plan.figures.spec_path,
        made=made(plan.figures),
    message:
        "Figures 1-3: results/figure1.png and its siblings"
    shell:
        "python scripts/figures.py {params.spec} --log {log:q}"
