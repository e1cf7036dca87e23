"""Every mistake ends in the report that docs/mistakes.md shows: its cases are read from there."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import classify
import trees
from infuse.config import experiment
from infuse.core.errors import UserError
from infuse.core.files import write_json, write_rows
from infuse.core.schemas import TASK
from infuse.data.labels import LabelRule
from infuse.inference.form import Form
from infuse.models.loading import save
from infuse.workflow import plan
from stage_runner import RunStage
from tiny import model, tokenizer
from trees import ROOT, copied, environment

PAGE = (ROOT / "docs/mistakes.md").read_text()


def parts(under: str) -> str:
    """What stands under a heading of the page, up to the next of its rank or above."""
    rank = under.split(" ", 1)[0]
    start = PAGE.index(f"\n{under}") + 1
    end = re.compile(rf"\n#{{2,{len(rank)}}} ").search(PAGE, start)
    return PAGE[start : end.start() if end else None]


def fragments(under: str) -> list[Any]:
    """(a config, the lines that it is answered with), from the page's blocks of YAML."""
    blocks = re.findall(r"```yaml\n(.*?)```", parts(under), re.DOTALL)
    cases = [case.splitlines() for block in blocks for case in block.strip().split("\n\n")]
    return [
        pytest.param(
            "\n".join(line for line in case if not line.startswith("# ")),
            [line.removeprefix("# ") for line in case if line.startswith("# ")],
            id=case[0][:60],
        )
        for case in cases
    ]


class File(NamedTuple):
    """A file of a case, and what it holds; without a name, standard input."""

    name: str
    content: bytes

    def write(self, folder: Path) -> Path:
        """Write it, and give its path."""
        path = folder / (self.name or "none")
        path.write_bytes(self.content)
        return path


def rows(under: str) -> list[Any]:
    """The page's table: cells before the file, the file, what is said."""
    lines = parts(under).splitlines()
    cells = [line.strip("|").split("|") for line in lines if line.startswith("|")][2:]
    return [
        pytest.param(
            *[cell.strip(" `") for cell in front],
            held(file),
            said.strip(" `"),
            id=file[:50].strip(),
        )
        for *front, file, said in cells
    ]


def held(cell: str) -> File:
    """The file that a cell describes."""
    name, _, content = cell.strip().rpartition("`: ")
    written = "" if content == "empty" else content.strip("`")
    return File(name.strip("`"), written.encode().decode("unicode_escape").encode("latin-1"))


def is_said(message: str, said: str) -> bool:
    """Whether the page tells it so; "..." stands for a library's words."""
    return bool(re.fullmatch(".*".join(map(re.escape, said.split("..."))), message))


def report(lines: list[str]) -> str:
    return "\n  ".join([f"{len(lines)} error(s) in the config:", *lines])


def test_the_page_is_read() -> None:
    assert len(fragments("## The config")) >= 80
    assert len(rows("### `task`")) >= 20 <= len(rows("### `triples`")) + len(CALLS)


@pytest.mark.parametrize(("change", "lines"), fragments("## The config"))
def test_a_broken_config(change: str, lines: list[str]) -> None:
    with pytest.raises(UserError) as refusal:
        experiment.load(yaml.safe_load(change))
    assert str(refusal.value) == report(lines)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(("change", "lines"), fragments("## The files"))
def test_files_that_are_not_there(
    change: str, lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as refusal:
        plan.build(experiment.load(yaml.safe_load(change)))
    assert str(refusal.value) == report(lines)


# The data --------------------------------------------------------------------------------------


def reason(
    run_stage: RunStage, stage: str, file: Path, change: dict[str, Any], given: str, **inputs: Path
) -> str:
    """What a stage says of a config's data, without the file's path."""
    whole = experiment.merge(change, yaml.safe_load(given or "{}"))
    node = next(plan.build(experiment.load(whole)).stage(stage))
    done = run_stage(stage, node.params, inputs, node.settings.model_dump())
    return done.reason.replace(str(file), "FILE")


@pytest.mark.parametrize(("given", "file", "said"), rows("### `task`"))
def test_broken_texts(
    given: str, file: File, said: str, run_stage: RunStage, tmp_path: Path
) -> None:
    path = file.write(tmp_path)
    source = {"kind": "files", **dict.fromkeys(("train", "validation", "test"), str(path))}
    message = reason(run_stage, "task", path, {"task": {"source": source}}, given)
    assert is_said(message, said), message


@pytest.mark.parametrize(("given", "file", "said"), rows("### `triples`"))
def test_broken_triples(
    given: str, file: File, said: str, run_stage: RunStage, tmp_path: Path
) -> None:
    path = file.write(tmp_path)
    source = {"kind": "files", "paths": [str(path)]}
    message = reason(run_stage, "triples", path, {"triples": {"source": source}}, given)
    assert is_said(message, said), message


@pytest.mark.parametrize(("given", "file", "said"), rows("### `reasonings`"))
def test_broken_reasonings(
    given: str, file: File, said: str, run_stage: RunStage, tmp_path: Path
) -> None:
    path = file.write(tmp_path)
    columns = {name: name for name in ("text", "label", "reasoning")}
    section = {"kind": "file", "path": str(path), "columns": columns}
    task = tmp_path / "task"
    write_json(task / "label_rule.json", LabelRule().to_json())
    for split in ("train", "validation"):
        text = {"id": 0, "text": "we laugh", "label": "joy"}
        write_rows(task / f"{split}.parquet", [text], TASK)
    message = reason(run_stage, "reasonings", path, {"reasonings": section}, given, task=task)
    assert is_said(message, said), message


# New texts -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that has learned nothing."""
    folder = tmp_path_factory.mktemp("models") / "classifier"
    save(model(), tokenizer(), folder)
    Form(["anger", "joy"], "label", None, {"system": "s", "date_string": "d"}).save(folder)
    return folder


CALLS = rows("## New texts")


def filled(arguments: str, folder: Path, path: Path) -> list[str]:
    places = {"MODEL": str(folder), "FILE": str(path)}
    return [places.get(part, part) for part in shlex.split(arguments)]


@pytest.mark.parametrize(("arguments", "file", "said"), CALLS)
def test_a_broken_call_of_classify(
    arguments: str, file: File, said: str, classifier: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = file.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["classify.py", *filled(arguments, classifier, path)])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.content)))
    with pytest.raises(SystemExit) as end:
        classify.main()
    shown = capsys.readouterr()
    assert end.value.code in (1, 2) and not shown.out
    message = shown.err.splitlines()[-1].removeprefix("classify.py: ").replace(str(path), "FILE")
    assert is_said(message, said), shown.err
    assert shown.err.count("error: ") == 1


def test_the_true_script_of_classify(classifier: Path) -> None:
    arguments, file, said = next(case.values for case in CALLS if "standard" in case.values[2])
    done = subprocess.run(
        [sys.executable, "scripts/classify.py", *filled(arguments, classifier, Path())],
        cwd=ROOT, env=environment(), input=file.content, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.decode()) == (1, b"", f"{said}\n")


# The screen ------------------------------------------------------------------------------------


def snakemake(root: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and screen of a dry run."""
    done = trees.snakemake(root, "-n", *arguments)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workflow."""
    return copied(tmp_path_factory.mktemp("tree") / "tree")


@pytest.fixture
def entries(tree: Path) -> Iterator[set[str]]:
    """What stands in the copy before a run; its own files are put back after it."""
    yield {entry.name for entry in tree.iterdir()}
    shutil.copy(ROOT / "config.yaml", tree)
    (tree / "revisions.yaml").unlink(missing_ok=True)


@pytest.mark.parametrize(("file", "said"), rows("## On the screen"))
def test_the_screen(file: File, said: str, tree: Path, entries: set[str]) -> None:
    path = file.write(tree)
    mine = ["--configfile", file.name] if file.name == "my.yaml" else []
    code, screen = snakemake(tree, *mine)
    shown = [line.strip() for line in screen.splitlines()]
    assert code == 1 and "Traceback" not in screen
    assert sum(is_said(line, said) for line in shown) == 1, screen
    if said.endswith("in the config:"):
        with pytest.raises(UserError) as refusal:
            plan.build(experiment.load(yaml.safe_load(file.content)))
        assert "\n".join(shown).count(re.sub(r"\n +", "\n", str(refusal.value))) == 1
    assert {entry.name for entry in tree.iterdir()} == entries | {path.name}


def test_a_config_file_that_is_not_there(tree: Path) -> None:
    """Snakemake's own traceback, as the page's last paragraph says."""
    code, screen = snakemake(tree, "--configfile", "no.yaml")
    assert code == 1 and "Traceback" in screen
    assert "No such file or directory: 'no.yaml'" in screen
