# From raw data to tables and figures: does a reasoning help a small model to classify?
#
#   snakemake --cores all results/table3.csv                           the default experiment
#   snakemake --cores all results/arms.csv                             all its arms, regimes, controls
#   snakemake --cores all results/verdict.md                           is it worth it? one page of plain words
#   snakemake --cores all results/layers.csv                           what their layers hold
#   snakemake --cores all results/browse.html                          every answer, as a page to look at
#   snakemake --cores all --configfile experiments/NAME.yaml           another one
#   snakemake --cores all --configfile experiments/quality-small.yaml -- results/quality.csv    ratings
#   snakemake --cores 1 figures                                        the figures alone
#   snakemake --cores all costs                                        what trainings and answers take, before they start
#   snakemake --cores 1 fetch                                          what is on the hub; no network after it
#   snakemake --report results/report.html                             one page of all
#
# Every artifact lies under results/artifacts/<stage>/<name>-<key>, where the key is the hash of
# what determines it; docs/reruns.md tells what follows from that.

from snakemake.utils import min_version

min_version("9.0")


include: "rules/common.smk"


report: "report/workflow.rst"


rule all:
    default_target: True
    input:
        collect("results/{name}.{form}", name=TABLES, form=["csv", "md", "html"]),
        collect("results/{name}.{form}", name=FIGURES, form=["png", "pdf"]),


rule costs:
    input:
        forecast.path,
    log:
        f"results/logs/costs/{forecast.id}.log",
    conda:
        "envs/environment.yaml"
    message:
        "What trainings and answers will take"
    shell:
        "cat {input}/*.md {input}/notes.txt | tee {log:q}"


rule fetch:
    input:
        [node.path for node in plan.fetched],


include: "rules/data.smk"
include: "rules/judging.smk"
include: "rules/reasoner.smk"
include: "rules/classifiers.smk"
include: "rules/evaluation.smk"
include: "rules/layers.smk"
include: "rules/browse.smk"
include: "rules/forecast.smk"


if plan.quality is not None:

    include: "rules/quality.smk"


onstart:
    if workflow.local_exec and any(
        job.resources.get("gpu") for job in workflow.dag.needrun_jobs()
    ):
        from infuse.models import gpus

        try:
            gpus.require(experiment.compute)
        except UserError as mistake:
            raise WorkflowError(str(mistake)) from None
    if on_slurm():
        wanted = {job.resources.get("slurm_partition") for job in workflow.dag.needrun_jobs()}
        try:
            slurm.require(map(str, wanted - {None}))
        except UserError as mistake:
            raise WorkflowError(str(mistake)) from None
    begin()


onsuccess:
    show_results()


onerror:
    if on_slurm():
        for file in log:
            for line in slurm.failures(Path(file).read_text(encoding="utf-8")):
                print(f"error: {line}", file=sys.stderr)
