"""What trainings, reasonings and answers will take, before they start.

IN   results/artifacts/{base,task,tokens}/, and training sets that are there
OUT  results/<experiment>/forecast/<name>-<key>/
COST what comes before stage 1; then, on the device that is here, half a minute for each training, and
     what its layers take to compile; and of what transformers writes, a batch of each kind
"""


rule forecast:
    input:
        **last_inputs(forecast, "base", "task", "tokens", "training_set *"),
    output:
        directory(forecast.path),
    log:
        f"results/logs/forecast/{forecast.id}.log",
    benchmark:
        f"results/benchmarks/forecast/{forecast.id}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: experiment.compute.threads
    resources:
        gpu=0 if experiment.gpu else gpus,
    params:
        spec=forecast.spec_path,
    message:
        "Forecast: what trainings and answers will take"
    shell:
        f"python {SCRIPTS}/forecast.py " "{params.spec} --log {log:q}"
