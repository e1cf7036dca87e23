"""Ratings: settings, held-out parts, judges; of a task with a scale.

IN   results/artifacts/{task,predictions,regime,ratings}/
OUT  results/<experiment>/quality/<name>-<key>/, and results/quality.csv and its siblings
COST seconds; no model is loaded
"""


rule quality:
    input:
        [ancient(source.path) for source in plan.quality.inputs.values()],
        "scripts/quality.py",
        stale=stale("quality"),
    output:
        directory(plan.quality.path),
        collect("results/{name}.{form}", name=QUALITY_TABLES, form=["csv", "md"]),
        collect("results/{name}.pdf", name=QUALITY_FIGURES),
        [
            report(
                f"results/{name}.html",
                caption=f"../report/{name}.rst",
                category="Ratings",
                labels={"table": name, "of": title},
            )
            for name, title in QUALITY_TABLES.items()
        ],
        [
            report(
                f"results/{name}.png",
                caption=f"../report/{name}_figure.rst",
                category="Ratings",
                labels={"figure": name, "of": title},
            )
            for name, title in QUALITY_FIGURES.items()
        ],
    log:
        f"results/logs/quality/{plan.quality.id}.log",
    benchmark:
        f"results/benchmarks/quality/{plan.quality.id}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        spec=plan.quality.spec_path,
        made=made(plan.quality),
    message:
        "Every setting, held-out parts, judges: results/quality.csv and its siblings"
    shell:
        "python scripts/quality.py {params.spec} --log {log:q}"
