"""Numbers, tables and figures of this experiment, of its regimes and controls.

IN   results/artifacts/{task,classifier,predictions,training_set}/
OUT  results/<experiment>/{metrics,tables,figures,arms}/<name>-<key>/, and results/table3.csv and
     its siblings: those of the experiment that was built last
COST seconds; no model is loaded
"""


rule metrics:
    input:
        sources("metrics"),
    output:
        directory("results/{experiment}/metrics/{id}"),
    log:
        "results/logs/metrics/{experiment}/{id}.log",
    benchmark:
        "results/benchmarks/metrics/{experiment}/{id}.tsv"
    conda:
        "../envs/environment.yaml"
    message:
        "Numbers ({wildcards.id})"
    shell:
        "python scripts/metrics.py results/specs/metrics/{wildcards.id}.json --log {log:q}"


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
                caption=f"../report/{name}.rst",
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


rule arms:
    input:
        [ancient(source.path) for source in plan.arms.inputs.values()],
        "scripts/arms.py",
        stale=stale("arms"),
    output:
        directory(plan.arms.path),
        collect("results/{name}.{form}", name=ARM_TABLES, form=["csv", "md"]),
        collect("results/{name}.pdf", name=ARM_FIGURES),
        [
            report(
                f"results/{name}.html",
                caption=f"../report/{name}.rst",
                category="Arms",
                labels={"table": name, "of": title},
            )
            for name, title in ARM_TABLES.items()
        ],
        [
            report(
                f"results/{name}.png",
                caption=f"../report/{name}_figure.rst",
                category="Arms",
                labels={"figure": name, "of": title},
            )
            for name, title in ARM_FIGURES.items()
        ],
    log:
        f"results/logs/arms/{plan.arms.id}.log",
    benchmark:
        f"results/benchmarks/arms/{plan.arms.id}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        spec=plan.arms.spec_path,
        made=made(plan.arms),
    message:
        "All arms, regimes and controls: results/arms.csv and its siblings"
    shell:
        "python scripts/arms.py {params.spec} --log {log:q}"
