"""Probes: what the layers of each classifier say where the label begins.

IN   results/artifacts/{task,classifier,predictions}/
OUT  results/artifacts/lens/<name>-<key>/; results/<experiment>/probes/<name>-<key>/, and
     results/probes.csv and its siblings: those of the experiment that was built last
COST one forward pass for each text and classifier; the tables, seconds
"""


rule lens:
    input:
        sources("lens"),
    output:
        directory(artifact("lens")),
    log:
        "results/logs/lens/{id}.log",
    benchmark:
        "results/benchmarks/lens/{id}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: experiment.compute.threads
    resources:
        gpu=gpus,
    message:
        "Looking into the layers ({wildcards.id})"
    shell:
        "python scripts/lens.py results/specs/lens/{wildcards.id}.json --log {log:q}"


rule probes:
    input:
        [ancient(source.path) for source in plan.probes.inputs.values()],
        "scripts/probes.py",
        stale=stale("probes"),
    output:
        directory(plan.probes.path),
        collect("results/{name}.{form}", name=PROBE_TABLES, form=["csv", "md"]),
        collect("results/{name}.pdf", name=PROBE_FIGURES),
        [
            report(
                f"results/{name}.html",
                caption=f"../report/{name}.rst",
                category="Probes",
                labels={"table": name, "of": title},
            )
            for name, title in PROBE_TABLES.items()
        ],
        [
            report(
                f"results/{name}.png",
                caption=f"../report/{name}_figure.rst",
                category="Probes",
                labels={"figure": name, "of": title},
            )
            for name, title in PROBE_FIGURES.items()
        ],
    log:
        f"results/logs/probes/{plan.probes.id}.log",
    benchmark:
        f"results/benchmarks/probes/{plan.probes.id}.tsv"
    conda:
        "../envs/environment.yaml"
    params:
        spec=plan.probes.spec_path,
        made=made(plan.probes),
    message:
        "What the layers say: results/probes.csv and its siblings"
    shell:
        "python scripts/probes.py {params.spec} --log {log:q}"
