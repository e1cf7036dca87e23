"""What all rules share: the plan, and how a rule finds its node in it.

A rule's wildcard {id} is a node's name and key. Since the key stands in the path, an artifact that
exists is the right one, whatever its time stamp says: it asks for no input.
"""

import json
import shlex
import sys
from fnmatch import fnmatch
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.enums import RerunTrigger

# Not workflow.basedir: that is another workflow's, where this one is a module of it.
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parent
if not (ROOT / "scripts/infuse").is_dir():
    raise WorkflowError(f"expected a clone of the whole workflow on this machine, not {ROOT}")
sys.path.insert(0, str(ROOT / "scripts"))

from infuse.config import yaml_text
from infuse.config.experiment import load
from infuse.config.revisions import pinned
from infuse.core.errors import UserError
from infuse.core.locks import join
from infuse.workflow import cli, dvc_store, forecast_node, slurm
from infuse.workflow.node import script_path
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
    "sources": "what each source of reasonings wrote",
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
LAYER_TABLES = {
    "layers": "entropy and ranks through the layers",
    "confidence": "how sure the output is",
}
LAYER_FIGURES = {"entropy": "relative entropy", "rankings": "ranks of the labels' tokens"}

# As a command's part, quoted; in a rule, without braces that would be filled in.
FOLDER = shlex.quote(str(Path(script_path("task")).parent))
SCRIPTS = FOLDER.replace("{", "{{").replace("}", "}}")
own = workflow.modifier.is_main_snakefile()  # and no module of a user's
if workflow.modifier.modify_path("results/x") != "results/x":
    raise WorkflowError("expected a module without prefix: results/ is what its scripts know")
given = workflow.config_settings
places = [Path(workflow.basedir), *(Path(file).parent for file in workflow.configfiles)]
elsewhere = Path.cwd() if workflow.overwrite_workdir else None
try:
    yaml_text.check(workflow.configfiles)
    if config == given.overwrite_config:  # as the command line has it
        cli.once(sys.argv)
        values = given.config_args or []
        changes = cli.changes(given.configfiles, values)
        pulls = dvc_store.pull_command(given.configfiles, values, elsewhere)
    else:  # as a user's own Snakefile has it
        changes = [config]
        values = [f"{key}={yaml_text.flow(value)}" for key, value in config.items()]
        pulls = dvc_store.pull_command([], values, elsewhere)
    experiment = pinned(load(*changes))
    plan = build(experiment, places)
    forecast = forecast_node.node(plan, experiment)
    # Where nobody lives, Snakemake's locks are those of a run that was killed.
    alone = join(Path("results/.lock"), Path(".snakemake/locks"))
    dvc_store.check_all(plan.nodes.values(), pulls, contents=False)
except UserError as mistake:
    raise WorkflowError(str(mistake)) from None
if absent := dvc_store.wanted(plan):
    print(f"Note: {len(absent)} artifacts are published and not here: {pulls}", file=sys.stderr)

gpus = int(experiment.compute.device == "cuda")
ranks, nodes = experiment.distributed.ranks, experiment.distributed.nodes


def trains_base(wildcards):
    """Whether the base is trained here."""
    return plan.nodes["base", wildcards.id].params["kind"] == "scratch"


def gpus_of_base(wildcards):
    """None, where the base is not trained here."""
    return gpus * ranks * nodes if trains_base(wildcards) else 0


def nodes_of_base(wildcards):
    """One, where the base is not trained here."""
    return nodes if trains_base(wildcards) else 1


writing = f"../envs/{'vllm' if experiment.backend == 'vllm' else 'environment'}.yaml"


wildcard_constraints:
    id=r"[^/]+",
    experiment=r"[^/]+",


def inputs(stage, *roles):
    """The input function of a stage: the folders of a node's inputs, by role.

    A role that ends in * stands for all roles that begin so ("match *": match steps, ...). What
    the node needs and the rule does not name is a mistake of ours, and stops the run.
    """

    def of(wildcards):
        node = plan.nodes.get((stage, wildcards.id))
        if node is None:
            raise WorkflowError(f"{stage} {wildcards.id} is not part of this experiment")
        if workflow.rerun_triggers == RerunTrigger.all():
            reason = "or Snakemake would train again for a word in a rule"
            raise WorkflowError(f"expected --workflow-profile {ROOT}/profiles/default, {reason}")
        return by_role(node, roles, needed(node))

    return of


def last_inputs(node, *roles):
    """The same of a node whose files people read: what exists under its path is the right one."""
    return by_role(node, roles, [ancient(source.path) for source in node.needs.values()])


def by_role(node, roles, paths):
    """Paths of a node's inputs under the names that a rule gives them."""
    names = {role: role.rstrip(" *").replace(" ", "_") for role in roles}
    named = {name: [] for name in names.values()}
    for role, path in zip(node.needs, paths):
        name = next((name for pattern, name in names.items() if fnmatch(role, pattern)), None)
        if name is None:
            raise WorkflowError(f"rules/: {node.stage} needs {role!r}, and its rule names {roles}")
        if path is not None:
            named[name].append(path)
    return named


def needed(node):
    """What has to be there before a node can be made; nothing new, once it is."""
    paths = [source.path for source in node.needs.values()]
    if Path(node.path).is_dir():
        return [ancient(path) if Path(path).is_dir() else None for path in paths]
    return paths


def artifact(stage):
    """The path of a stage's artifacts, with the wildcard {id}."""
    return f"results/artifacts/{stage}/{{id}}"


def published(category, tables, figures):
    """The files in results/ of tables and figures, each with its title; a report shows them all."""

    def page(name, form, of, caption):
        return report(
            f"results/{name}.{form}",
            caption=f"../report/{caption}.rst",
            category=category,
            labels={of: name, "of": (tables if of == "table" else figures)[name]},
        )

    return [
        *collect("results/{name}.{form}", name=tables, form=["csv", "md"]),
        *collect("results/{name}.pdf", name=figures),
        *(page(name, "html", "table", name) for name in tables),
        *(
            page(name, "png", "figure", f"{name}_figure" if name in tables else name)
            for name in figures
        ),
    ]


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


def provenance(node):
    """Which script made a node's files, under which key, at which commit."""
    file = Path(node.path, "provenance.json")
    commit = json.loads(file.read_text(encoding="utf-8"))["commit"] if file.exists() else None
    return f"Made by scripts/{node.stage}.py, key {node.key}, commit {commit or 'not known'}."


def on_slurm():
    """Whether jobs are submitted from here; it is not known before jobs start."""
    return workflow.executor_plugin.name == "slurm"


def begin():
    """Refuse to work beside another run, and tell the scripts what to do."""
    if not alone:
        raise WorkflowError("another run, or a job that outlived one, is at work in this folder")
    plan.write_specs()
    forecast.write_spec()
    for note in plan.notes:
        print(f"Note: {note}", file=sys.stderr)


if not own and workflow.is_main_process:
    begin()  # since Snakemake calls no onstart of a module


def show_results():
    """Print table 3 if it is this experiment's, where everything is, and what to do with it."""
    owner = Path("results/.tables")
    if owner.exists() and owner.read_text(encoding="utf-8").strip() == plan.tables.path:
        table = Path("results/table3.md").read_text(encoding="utf-8")
        print(f"\n{table}\nAll tables and figures: results/ and {plan.tables.path}")
    if Path(plan.example.path).is_dir():
        print(f'New texts: python {FOLDER}/classify.py --model {plan.example.path} "a text"\n')
