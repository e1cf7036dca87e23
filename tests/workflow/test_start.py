"""However the workflow is started, it means the same: elsewhere, as a module, of several files."""

from __future__ import annotations

import functools
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from infuse.config.experiment import load, merge
from infuse.core.errors import UserError
from infuse.workflow import cli, dvc_store, plan
from trees import ROOT, Tree, copied, nodes, snakemake, tiny

USER = """
configfile: "mine.yaml"

rule summary:
    input: "results/table3.csv"
    output: "summary.txt"
    shell: "cp {{input}} {{output}}"

module infused:
    snakefile: {snakefile!r}
    config: config{prefix}

use rule * from infused as infused_*
"""


def user(built: Tree, root: Path, prefix: str = "") -> Path:
    """A folder with a workflow of a user's own, which has this one as a module."""
    root.mkdir()
    snakefile = str(built.root / "Snakefile")
    (root / "Snakefile").write_text(USER.format(snakefile=snakefile, prefix=prefix))
    (root / "mine.yaml").write_text(yaml.safe_dump(tiny()))
    return root


@pytest.mark.parametrize("how", ["directory", "module"])
def test_the_same_table_elsewhere(built: Tree, how: str, tmp_path: Path) -> None:
    """Only what is missing there is made, and nothing where the code is."""
    root = user(built, tmp_path / "else {where}'s")
    shutil.copytree(built.root / "results", root / "results")
    gone = nodes(built, "predictions")["label-seed1"].relative_to(built.root)
    shutil.rmtree(root / gone)
    shutil.rmtree(root / "results/specs")
    (root / "results/table3.csv").unlink()
    before = {path for path in built.root.rglob("*") if "__pycache__" not in str(path)}
    if how == "directory":
        arguments = ["--directory", str(root), "--configfile", str(root / "mine.yaml")]
        said = snakemake(built.root, *arguments, "--", "results/table3.csv")
    else:
        profile = ["--workflow-profile", str(built.root / "profiles/default")]
        said = snakemake(root, *profile, "summary.txt")
        assert (root / "summary.txt").read_bytes() == (root / "results/table3.csv").read_bytes()
    assert said.returncode == 0, said.stderr
    rules = re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", said.stderr)
    first = "infused_" * (how == "module")
    assert sorted(rules)[:2] == [f"{first}predictions", f"{first}tables"], said.stderr
    ours, theirs = (folder / "results/table3.csv" for folder in (root, built.root))
    assert ours.read_bytes() == theirs.read_bytes()
    after = {path for path in built.root.rglob("*") if "__pycache__" not in str(path)}
    assert {path for path in after - before if ".snakemake" not in path.parts} == set()


def test_a_module_that_would_train_again_or_write_elsewhere(built: Tree, tmp_path: Path) -> None:
    """Told in a line, before anything runs."""
    said = snakemake(user(built, tmp_path / "user"), "-n")
    message = f"expected --workflow-profile {built.root}/profiles/default, or Snakemake would train"
    assert said.returncode == 1 and message in said.stdout + said.stderr
    said = snakemake(user(built, tmp_path / "other", '\n    prefix: "there"'), "-n")
    assert said.returncode == 1 and "expected a module without prefix" in said.stdout + said.stderr


# Config files ----------------------------------------------------------------------------------

A: dict[str, Any] = {
    "experiment": "trial",
    "arms": {"label": {"target": "label"}},
    "triples": None,
    "base": {"layers": 1},
    "regimes": None,
    "controls": [],
}
B: dict[str, Any] = {
    "arms": {"head": {"target": "head"}},
    "seeds": [2],
    "base": {"kind": "scratch", "hidden_size": 32},
}


def classifiers(config: Any) -> list[str]:
    """The names of an experiment's classifiers."""
    return sorted(node.id for node in plan.build(config).stage("classifier"))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two config files."""
    for name, change in (("a", A), ("b", B)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(change))
    return [tmp_path / "a.yaml", tmp_path / "b.yaml"]


def test_files_and_values_have_one_meaning(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For Snakemake, for scripts, and in the command that is printed."""
    tree = copied(tmp_path / "tree")
    a, b = map(str, files)
    values = ["seeds=[3, 4]", "prediction={max_new_tokens: 9}"]
    config = load(A, B, {"seeds": [3, 4], "prediction": {"max_new_tokens": 9}})
    assert config.base.layers == 1 and list(config.arms) == ["head"] and config.seeds == [3, 4]
    wanted = classifiers(config)

    asked = ["-n", "--configfile", a, b, "--config", *values, "--", "results/table3.csv"]
    said = snakemake(tree, *asked)
    assert said.returncode == 0, said.stdout + said.stderr
    scheduled = re.findall(r"results/specs/classifier/(\S+)\.json", said.stdout + said.stderr)
    assert sorted(set(scheduled)) == wanted

    (tmp_path / "results").mkdir()
    monkeypatch.chdir(tmp_path)
    printed = shlex.split(dvc_store.pull_command(files, values, tmp_path))
    assert printed[1:3] == [str(ROOT / "scripts/share.py"), "pull"]
    arguments = cli.parser(None).parse_args(printed[3:])
    assert sorted(node.id for node in cli.plan(arguments).stage("classifier")) == wanted
    assert shlex.split(cli.pulls(arguments)) == printed


@pytest.mark.parametrize(
    "twice",
    [
        ["--configfile", "a", "--configfile", "b"],
        ["--configfile=a", "--configfiles", "b", "c"],
        ["--configfile", "a", "--config", "a=1", "-C", "b=2"],
    ],
)
def test_an_option_given_twice_is_refused(
    twice: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=r"is given twice, .*: give it once") as refusal:
        cli.once(["snakemake", *twice])
    with pytest.raises(SystemExit):
        cli.parser(None).parse_args(twice)
    assert str(refusal.value) in capsys.readouterr().err
    cli.once(["snakemake", "--configfile", "a", "b", "--config", "a=1", "--", "--configfile"])


def test_snakemake_with_an_option_given_twice(files: list[Path], tmp_path: Path) -> None:
    """It would drop the first file without a word."""
    tree = copied(tmp_path / "tree")
    said = snakemake(tree, "-n", *(part for file in files for part in ("--configfile", str(file))))
    assert said.returncode == 1
    assert f"--configfile {cli.ONCE}" in said.stdout + said.stderr


CHANGES = [
    A, B, {"arms": {"two": {"target": "label"}}}, {"base": {"layers": 2}}, {"seeds": [5]},
    {"task": {"source": {"train": 70}}}, {"task": {"source": {"kind": "generated", "test": 9}}},
]  # fmt: skip


@settings(max_examples=20)
@given(changes=st.lists(st.sampled_from(CHANGES), max_size=4))
def test_each_file_is_laid_over_what_those_before_it_made(changes: Sequence[Any]) -> None:
    whole = functools.reduce(merge, changes, yaml.safe_load((ROOT / "config.yaml").read_text()))
    assert load(*changes) == load(whole)


def test_what_two_sections_share_by_an_anchor_changes_in_one() -> None:
    """The reasoner of the paper stays as it is, when the classifier gets enough steps."""
    paper, adequate = (ROOT / f"experiments/{name}.yaml" for name in ("paper", "adequate"))
    both = load(*cli.changes([paper, adequate], []))
    alone = load(*cli.changes([paper], []))
    assert both.reasoner == alone.reasoner and both.classifier != alone.classifier


def test_a_file_beside_the_config_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one whose path the shell would have made whole."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/my.csv").write_text("text,label\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "configs"))
    for path in ("my.csv", "~/my.csv"):
        config = load({"task": {"source": {"kind": "files", "train": path}}})
        with pytest.raises(UserError) as refusal:
            plan.build(config, [tmp_path / "configs"])
        assert str(refusal.value).endswith(
            f"task.source.train: no such file or folder: {path} (there is "
            f"{tmp_path}/configs/my.csv; paths begin in the working directory, {tmp_path})"
        )
