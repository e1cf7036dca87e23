"""What all rules share: the plan, and how a rule finds its node in it.

A rule's wildcard {id} is a node's name and key. Since the key stands in the path, an artifact that
exists is the right one, whatever its time stamp says: it asks for no input.
"""

import json
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, f"{workflow.basedir}/scripts")

from infuse.config.experiment import load
from infuse.config.revisions import pinned
from infuse.core.errors import UserError
from infuse.core.locks import join
from infuse.workflow import dvc_store, forecast_node
from infuse.workflow.plan import build

TABLES = {
    "table1": "labels in each split",
    "table2": "four kinds of cases",
    "table3": "accuracy",
    "table4": "scores of each label",
    "table5": "F1",
    "fidelity": "against the paper",
}
FIGURES = {
    "figure1": "the two stages",
    "figure2": "confusion of Q->A",
    "figure3": "confusion of Q->RA",
}
ARM_TABLES = {
    "arms": "every arm and its budget",
    "comparisons": "what each arm has over another",
    "regimes": "other training sets",
    "controls": "experiments whose result is known",
}
ARM_FIGURES = {"arms": "accuracy of every arm", "regimes": "accuracy in each regime"}
QUALITY_TABLES = {
    "quality": "accuracy in every setting, and how often an arm wins",
    "settings": "every arm in every setting",
    "transfer": "sources and folds that training has not seen",
    "ratings": "how often each rating is given",
    "judges": "what judges answer, and how they agree",
    "dimensions": "what the dimensions share",
}
QUALITY_FIGURES = {"quality": "accuracy in every setting"}
PROBE_TABLES = {
    "probes": "entropy and ranks through the layers",
    "sharpness": "how sure the output is",
}
PROBE_FIGURES = {"entropy": "relative entropy", "rankings": "ranks of the labels' tokens"}

pulls = dvc_store.pull_command(workflow.configfiles)
try:
    experiment = pinned(load(config))
    plan = build(experiment)
    forecast = forecast_node.node(plan, experiment.chip)
    # Where nobody lives, Snakemake's locks are those of a run that was killed.
    alone = join(Path("results/.lock"), Path(".snakemake/locks"))
    dvc_store.check_all(plan.nodes.values(), pulls, contents=False)
except UserError as mistake:
    raise WorkflowError(str(mistake)) from None
if published := dvc_store.wanted(plan):
    print(f"Note: {len(published)} artifacts are published and not here: {pulls}", file=sys.stderr)

gpus = int(experiment.compute.device == "cuda")


def gpus_of_base(wildcards):
    """None, where the base is not trained here."""
    return gpus if plan.nodes["base", wildcards.id].params["kind"] == "scratch" else 0


writing = f"../envs/{'vllm' if experiment.engine == 'vllm' else 'environment'}.yaml"


wildcard_constraints:
    id=r"[^/]+",
    experiment=r"[^/]+",


def sources(stage):
    """The input function of a stage: a node's inputs, by role."""

    def of(wildcards):
        node = plan.nodes.get((stage, wildcards.id))
        if node is None:
            raise WorkflowError(f"{stage} {wildcards.id} is not part of this experiment")
        return needs(node)

    return of


def needs(node):
    """What has to be there before a node can be made; nothing new, once it is."""
    paths = [source.path for source in node.inputs.values()]
    if Path(node.path).is_dir():
        return [ancient(path) for path in paths if Path(path).is_dir()]
    return paths


def artifact(stage):
    """The path of a stage's artifacts, with the wildcard {id}."""
    return f"results/artifacts/{stage}/{{id}}"


def stale(kind):
    """A stamp newer than the tables or figures in results/, if those are not this experiment's.

    It is made here and not by a rule, since Snakemake does not miss an intermediate file. While
    they are copied they have no owner: a copy that was cut short is made again.
    """
    if getattr(plan, kind) is None:
        return []
    path, owner = getattr(plan, kind).path, Path(f"results/.{kind}")
    if owner.exists():
        current = owner.read_text(encoding="utf-8").strip() == path
    else:
        current = not Path(path).is_dir()
    if current:
        return []
    stamp = Path(f"results/.{kind}.stale")
    stamp.touch()
    return str(stamp)


def made(node):
    """Which script made a node's files, under which key, at which commit."""
    file = Path(node.path, "provenance.json")
    commit = json.loads(file.read_text(encoding="utf-8"))["commit"] if file.exists() else None
    return f"Made by scripts/{node.stage}.py, key {node.key}, commit {commit or 'not known'}."


def show_results():
    """Print table 3 if it is this experiment's, where everything is, and what to do with it."""
    owner = Path("results/.tables")
    if owner.exists() and owner.read_text(encoding="utf-8").strip() == plan.tables.path:
        table = Path("results/table3.md").read_text(encoding="utf-8")
        print(f"\n{table}\nAll tables and figures: results/ and {plan.tables.path}")
    if Path(plan.example.path).is_dir():
        print(f'New texts: python scripts/classify.py --model {plan.example.path} "a text"\n')
