"""A config is valid or refused with all its errors, one line each: where, expected, found."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from infuse import config, plan
from infuse.config import Experiment, merge
from infuse.errors import UserError
from workflow import ROOT, environment

SCHEMA = ROOT / "docs/config.schema.json"
DEFAULT: dict[str, Any] = yaml.safe_load(config.DEFAULTS.read_text())
LORA = {"kind": "lora", "rank": 4, "alpha": 8.0, "dropout": 0.1, "modules": ["q_proj"]}
PIN = "0123456789abcdef0123456789abcdef01234567"
OTHER_KINDS: dict[str, Any] = {
    "task": {"source": {"kind": "hub", "id": "a/b", "revision": PIN}},
    "triples": {
        "source": {"kind": "files", "paths": ["a.csv", "b.csv"]},
        "columns": {"kind": "chat", "messages": "messages", "domain": "source"},
    },
    "base": {"kind": "hub", "id": "a/b", "revision": PIN},
    "reasonings": {
        "kind": "hub", "id": "a/b", "revision": PIN, "config": "c",
        "columns": {"text": "t", "reasoning": "r", "label": "l"},
    },
    "reasoner": {"recipe": {"tuning": LORA}},
}  # fmt: skip
TREES = [DEFAULT, merge(DEFAULT, OTHER_KINDS)]


def refused(tree: Any) -> list[str]:
    """The lines of the one error that a whole config ends in."""
    with pytest.raises(UserError) as refusal:
        config.validate(tree)
    head, *lines = str(refusal.value).splitlines()
    assert head == f"{len(lines)} error(s) in the config:"
    return [line.removeprefix("  ") for line in lines]


# Any change of a valid config ------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 2**70), st.floats(), st.dates(),
    st.text(max_size=8), st.sampled_from(["hub", "files", "label", "1e-3", PIN]),
)  # fmt: skip
KEYS = st.one_of(st.text(max_size=6), st.integers(-9, 9), st.booleans(), st.none(), st.dates())
VALUES = st.recursive(
    SCALARS,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(KEYS, part, max_size=3),
    max_leaves=4,
)


def nodes(tree: Any, above: str = "") -> Iterator[tuple[Any, Any, str]]:
    """Each node but the root: its parent, its key there, its path as a user would write it."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            name = key if isinstance(key, str) else repr(key + 0 if isinstance(key, int) else key)
            if not (name.isidentifier() or isinstance(key, int)):
                name = repr(name)
            path = f"{above}.{name}" if above else name
            yield tree, key, path
            yield from nodes(value, path)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield tree, index, f"{above}[{index}]"
            yield from nodes(value, f"{above}[{index}]")


@st.composite
def mutations(draw: st.DrawFn) -> Any:
    """A valid config in which up to three nodes are deleted, renamed, retyped, nested, replaced."""
    tree = copy.deepcopy(draw(st.sampled_from(TREES)))
    for _ in range(draw(st.integers(1, 3))):
        here = list(nodes(tree))
        assume(here)
        parent, key, _ = here[draw(st.integers(0, len(here) - 1))]
        match draw(st.sampled_from(["delete", "rename", "text", "nest", "list", "replace"])):
            case "delete":
                del parent[key]
            case "rename" if isinstance(parent, dict):
                parent[draw(KEYS)] = parent.pop(key)
            case "text":
                parent[key] = str(parent[key])
            case "nest":
                parent[key] = {key: parent[key]}
            case "list":
                parent[key] = [parent[key]]
            case _:
                parent[key] = draw(VALUES)
    return tree


@settings(deadline=None, max_examples=300)
@given(tree=mutations())
def test_any_change_gives_an_experiment_or_lines_that_name_a_key(tree: Any) -> None:
    try:
        found = config.validate(tree)
    except UserError:
        for line in refused(tree):
            assert line.isprintable()
            assert names_a_place(line, tree), line
    else:
        assert isinstance(found, Experiment)
        assert config.validate(found.model_dump()) == found


def names_a_place(line: str, tree: Any) -> bool:
    """Whether a line begins with a path of the tree, or with one that is missing there."""
    told = {"config", *(path for _, _, path in nodes(tree))}
    if any(line.startswith(f"{path}: ") for path in told):
        return True
    path, said = line.split(": ", 1)
    absent = said == "missing" or path.endswith(".kind")
    return absent and path.rpartition(".")[0] in told | {""}


@settings(deadline=None, max_examples=100)
@given(change=VALUES)
def test_any_experiment_file_gives_an_experiment_or_an_error(change: Any) -> None:
    try:
        assert isinstance(config.load(change), Experiment)
    except UserError as refusal:
        assert "error(s) in the config:\n  " in str(refusal)


# The merge -------------------------------------------------------------------------------------

MAPPINGS = st.recursive(
    st.dictionaries(
        st.sampled_from(["kind", "arms", "a", "b"]),
        st.none() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
        max_size=3,
    ),
    lambda part: st.dictionaries(st.sampled_from(["arms", "a", "b"]), part | st.integers(0, 3)),
    max_leaves=6,
)


@given(default=MAPPINGS, change=MAPPINGS)
def test_merging_again_changes_nothing(default: dict[str, Any], change: dict[str, Any]) -> None:
    before = copy.deepcopy((default, change))
    once = merge(default, change)
    assert merge(once, change) == once
    assert merge(default, {}) == default
    assert merge({}, change) == change
    assert (default, change) == before


@given(default=MAPPINGS, change=MAPPINGS)
def test_the_change_wins_and_the_rest_stays(
    default: dict[str, Any], change: dict[str, Any]
) -> None:
    merged = merge(default, change)
    assert merged.keys() == default.keys() | change.keys()
    for key, value in merged.items():
        old: Any = default.get(key)
        new: Any = change.get(key)
        both = isinstance(old, dict) and isinstance(new, dict)
        if key not in change:
            assert value == old
        elif both and key != "arms" and new.get("kind", old.get("kind")) == old.get("kind"):
            assert value == merge(old, new)
        else:
            assert value == new


def test_another_kind_and_arms_replace_as_a_whole() -> None:
    change = {"base": {"kind": "folder", "path": "x"}, "arms": {"only": {"target": "label"}}}
    merged = merge(DEFAULT, change)
    assert merged == DEFAULT | change
    same_kind = {"task": {"source": {"kind": "generated", "train": 5}}}
    assert merge(DEFAULT, same_kind)["task"]["source"] == DEFAULT["task"]["source"] | {"train": 5}


# Examples --------------------------------------------------------------------------------------

TOP = "experiment, task, triples, base, date_string, reasoner, reasonings, classifier, arms, seeds"
MAPPING = "expected a mapping, found"
# name, an experiment file, the lines that it is answered with
BROKEN = [
    ("a key at the top", "clasifier: {}", ["clasifier: unknown key, did you mean 'classifier'?"]),
    ("a key like no other", "zzz: 1", [f"zzz: unknown key, expected one of {TOP}, prediction,"
                                       " compute, checkpoint_steps"]),
    ("a key in a section", "compute: {tread: 1}",
     ["compute.tread: unknown key, did you mean 'threads'?"]),
    ("a key two deep", "task: {columns: {lable: emotion}}",
     ["task.columns.lable: unknown key, did you mean 'label'?"]),
    ("a key three deep", "reasoner: {recipe: {batching: {row: 3}}}",
     ["reasoner.recipe.batching.row: unknown key, did you mean 'rows'?"]),
    ("a key four deep", "base: {pretraining: {tuning: {rank: 4}}}",
     ["base.pretraining.tuning.rank: unknown key, expected one of kind"]),
    ("a key of an arm", "arms: {a: {targt: label, target: label}}",
     ["arms.a.targt: unknown key, did you mean 'target'?"]),
    ("a key of a match", "arms: {a: {target: label}, b: {target: label, match: {step: a}}}",
     ["arms.b.match.steps: missing", "arms.b.match.step: unknown key, did you mean 'steps'?"]),
    ("a key of another kind", "reasonings: {path: x.csv}",
     ["reasonings.path: unknown key, expected one of kind, temperature, top_p, max_new_tokens,"
      " batch_rows, seed"]),
    ("a number as key", "task: {1: 2}", ["task.1: expected a text as key, found 1"]),
    ("a switch as key", "on: 2", ["1: expected a text as key, found True"]),
    ("a key with a line break", '"a\\nb": 2', ["'a\\nb': unknown key, expected one of " + TOP
                                              + ", prediction, compute, checkpoint_steps"]),
    ("a list at the top", "[task]", [f"config: {MAPPING} ['task']"]),
    ("a word at the top", "task", [f"config: {MAPPING} 'task'"]),
    ("an empty file", "", [f"config: {MAPPING} None"]),
    ("an empty section", "task:", [f"task: {MAPPING} None"]),
    ("an empty section of kinds", "base:", [f"base: {MAPPING} None"]),
    ("an empty section inside", "classifier: {recipe: }", [f"classifier.recipe: {MAPPING} None"]),
    ("an empty source", "triples: {source: }", [f"triples.source: {MAPPING} None"]),
    ("an empty arm", "arms: {a: }", [f"arms.a: {MAPPING} None"]),
    ("a list for a mapping", "task: {columns: [text, label]}",
     [f"task.columns: {MAPPING} ['text', 'label']"]),
    ("a list for a section of kinds", "reasonings: [reasoner]",
     [f"reasonings: {MAPPING} ['reasoner']"]),
    ("a word for a section of kinds", "base: folder", [f"base: {MAPPING} 'folder'"]),
    ("arms as a list", "arms: [label]", [f"arms: {MAPPING} ['label']"]),
    ("a mapping for a list", "seeds: {a: 1}", ["seeds: expected a valid list, found {'a': 1}"]),
    ("a number for a list", "seeds: 3", ["seeds: expected a valid list, found 3"]),
    ("a mapping for a word", "date_string: {a: 1}",
     ["date_string: expected a valid string, found {'a': 1}"]),
    ("a long wrong value", f"date_string: [{'x' * 200}]",
     [f"date_string: expected a valid string, found ['{'x' * 78} ..."]),
    ("a date for a text", "date_string: 2024-07-26",
     ["date_string: expected a valid string, found datetime.date(2024, 7, 26)"]),
    ("a text for a whole number", "compute: {threads: '2'}",
     ["compute.threads: expected a valid integer, found '2'"]),
    ("a switch for a whole number", "compute: {threads: true}",
     ["compute.threads: expected a valid integer, found True"]),
    ("a fraction for a whole number", "task: {source: {train: 1.5}}",
     ["task.source.train: expected a valid integer, found 1.5"]),
    ("nothing for a number", "checkpoint_steps: null",
     ["checkpoint_steps: expected a valid integer, found None"]),
    ("a number that YAML takes for text", "reasoner: {recipe: {learning_rate: 1e-3}}",
     ["reasoner.recipe.learning_rate: expected a number (YAML takes 1e-3 for text: write 1.0e-3),"
      " found '1e-3'"]),
    ("a text in a list", "seeds: [1, two]", ["seeds[1]: expected a valid integer, found 'two'"]),
    ("a number in a list", "triples: {source: {kind: files, paths: [3]}}",
     ["triples.source.paths[0]: expected a valid string, found 3"]),
    ("a share of one", "triples: {train_share: 1}",
     ["triples.train_share: expected less than 1, found 1"]),
    ("a share of nothing", "triples: {train_share: 0.0}",
     ["triples.train_share: expected greater than 0, found 0.0"]),
    ("no rows", "triples: {rows: 0}", ["triples.rows: expected greater than 0, found 0"]),
    ("a negative seed", "base: {seed: -1}",
     ["base.seed: expected greater than or equal to 0, found -1"]),
    ("a top_p above one", "reasonings: {top_p: 1.1}",
     ["reasonings.top_p: expected less than or equal to 1, found 1.1"]),
    ("an infinite rate", "classifier: {recipe: {learning_rate: .inf}}",
     ["classifier.recipe.learning_rate: expected a finite number, found inf"]),
    ("no number", "classifier: {recipe: {weight_decay: .nan}}",
     ["classifier.recipe.weight_decay: expected a finite number, found nan"]),
    ("a tiny vocabulary", "base: {vocabulary: 256}",
     ["base.vocabulary: expected greater than or equal to 300, found 256"]),
    ("a word that is no choice", "compute: {device: gpu}",
     ["compute.device: expected 'cpu' or 'cuda', found 'gpu'"]),
    ("a target that is none", "arms: {a: {target: lable}}",
     ["arms.a.target: expected 'label', 'reason_label' or 'label_reason', found 'lable'"]),
    ("a folder name with a slash", "experiment: a/b",
     ["experiment: expected a letter, then letters, digits and underscores, found 'a/b'"]),
    ("an arm's name with a blank", "arms: {a b: {target: label}}",
     ["arms.'a b': expected a letter, then letters, digits and underscores, found 'a b'"]),
    ("a number as an arm's name", "arms: {1: {target: label}}",
     ["arms.1: expected a valid string, found 1"]),
    ("an empty separator", "classifier: {separators: {reason_label: ''}}",
     ["classifier.separators.reason_label: expected 1 or more characters, found ''"]),
    ("a kind that is none", "task: {source: {kind: file}}",
     ["task.source.kind: expected 'generated' or 'files' or 'hub', found 'file',"
      " did you mean 'files'?"]),
    ("a kind that is empty", "reasonings: {kind: }",
     ["reasonings.kind: expected 'reasoner' or 'column' or 'endpoint' or 'file' or 'hub',"
      " found None"]),
    ("a kind that is a list", "base: {kind: [hub]}",
     ["base.kind: expected 'scratch' or 'hub' or 'folder', found ['hub'], did you mean 'hub'?"]),
    ("a kind without its keys", "task: {source: {kind: files}}", ["task.source.train: missing"]),
    ("an arm without a target", "arms: {a: {}}", ["arms.a.target: missing"]),
    ("a branch as revision", "task: {source: {kind: hub, id: a/b, revision: main}}",
     ["task.source.revision: expected a full commit hash of 40 hexadecimal digits, found 'main'"]),
    ("a short revision", "base: {kind: hub, id: a/b, revision: 5a04a2f}",
     ["base.revision: expected a full commit hash of 40 hexadecimal digits, found '5a04a2f'"]),
    ("no revision", "triples: {source: {kind: hub, id: a/b}}",
     ["triples.source.revision: missing"]),
    ("one label", "task: {labels: [joy]}",
     ["task.labels: expected 2 or more entries, found ['joy']"]),
    ("a label twice", "task: {labels: [joy, Joy]}",
     ["task.labels: expected names that differ in more than case, found ['joy', 'Joy']"]),
    ("an empty label", "task: {labels: [joy, ' ']}",
     ["task.labels[1]: expected one line of text, found ' '"]),
    ("a label of two lines", 'task: {labels: [joy, "a\\nb"]}',
     ["task.labels[1]: expected one line of text, found 'a\\nb'"]),
    ("a seed twice", "seeds: [1, 2, 1]", ["seeds: expected different numbers, found [1, 2, 1]"]),
    ("no seed", "seeds: []", ["seeds: expected 1 or more entries, found []"]),
    ("no arm", "arms: {}", ["arms: expected 1 or more entries, found {}"]),
    ("no path", "triples: {source: {kind: files, paths: []}}",
     ["triples.source.paths: expected 1 or more entries, found []"]),
    ("a match with no arm", "arms: {label: {target: label, match: {steps: reason}}}",
     ["arms.label.match.steps: expected the name of an arm, found 'reason'"]),
    ("a match with a near miss",
     "arms: {label: {target: label, match: {steps: reasons}}, reason: {target: reason_label}}",
     ["arms.label.match.steps: expected the name of an arm, found 'reasons',"
      " did you mean 'reason'?"]),
    ("a match with itself", "arms: {a: {target: label, match: {steps: a}}}",
     ["arms.a.match.steps: expected an arm without a match, found 'a'"]),
    ("heads that don't divide", "base: {heads: 3, key_value_heads: 1}",
     ["base.heads: expected a number whose double divides hidden_size (128), found 3"]),
    ("groups that don't divide", "base: {key_value_heads: 3}",
     ["base.key_value_heads: expected a number that divides heads (4), found 3"]),
    ("a bin below a document", "classifier: {recipe: {batching: {bin_tokens: 100}}}",
     ["classifier.recipe.batching.bin_tokens: expected at least max_length (192), found 100"]),
    ("a document beyond the positions", "classifier: {recipe: {max_length: 300}}",
     ["classifier.recipe.max_length: expected at most base.positions (256), found 300"]),
    ("a pre-training beyond the positions", "base: {pretraining: {max_length: 300}}",
     ["base.pretraining.max_length: expected at most base.positions (256), found 300"]),
    ("mistakes of all kinds at once",
     """
     task: {labels: [joy, joy], source: {train: 0}}
     base: {heads: 3}
     reasoner: {recipe: {epochs: 0, batching: {kind: tokens, bin_tokens: 9, bin_rows: 1, bins: 1}}}
     arms: {a: {target: label, match: {steps: x}}, b: {target: label, match: {steps: a}}}
     seeds: [1, 1]
     sedes: [1]
     """,
     ["task.source.train: expected greater than 0, found 0",
      "task.labels: expected names that differ in more than case, found ['joy', 'joy']",
      "base.heads: expected a number whose double divides hidden_size (128), found 3",
      "reasoner.recipe.epochs: expected greater than 0, found 0",
      "reasoner.recipe.batching.bin_tokens: expected at least max_length (192), found 9",
      "arms.a.match.steps: expected the name of an arm, found 'x'",
      "arms.b.match.steps: expected an arm without a match, found 'a'",
      "seeds: expected different numbers, found [1, 1]",
      "sedes: unknown key, did you mean 'seeds'?"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "lines"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN]
)
def test_a_broken_config_is_refused(change: str, lines: list[str]) -> None:
    with pytest.raises(UserError) as refusal:
        config.load(yaml.safe_load(change))
    assert str(refusal.value).splitlines() == [
        f"{len(lines)} error(s) in the config:", *(f"  {line}" for line in lines)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("task: {source: {kind: files, train: no.csv, validation: no.csv, test: no.csv}}",
         "task.source.train"),
        ("triples: {source: {kind: files, paths: [config.yaml, no.csv]}}",
         "triples.source.paths[1]"),
        ("base: {kind: folder, path: no.csv}", "base.path"),
        ("base: {corpus: [task, no.csv]}", "base.corpus[1]"),
        ("reasonings: {kind: file, path: no.csv, columns: {text: a, label: b, reasoning: c}}",
         "reasonings.path"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_there_is_named_by_its_key(
    change: str, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError) as refusal:
        plan.build(config.load(yaml.safe_load(change)))
    assert str(refusal.value) == f"{where}: no such file or folder: no.csv"


@pytest.mark.parametrize("pointer", ["", "[]", "outs: []", "outs: [{path: a}]", "a: [", "outs: 3"])
def test_a_damaged_dvc_pointer_is_named_by_its_key(pointer: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv.dvc").write_text(pointer)
    change = {"triples": {"source": {"kind": "files", "paths": [str(tmp_path / "a.csv")]}}}
    with pytest.raises(UserError, match=r"^triples\.source\.paths\[0\]: expected outs\[0\]\.md5"):
        plan.build(config.load(change))


# Files that users start from -------------------------------------------------------------------

FILES = [*sorted((ROOT / "experiments").glob("*.yaml")), ROOT / "tests/tiny.yaml"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_experiments_are_valid(file: Path) -> None:
    change = yaml.safe_load(file.read_text())
    config.load(change)
    jsonschema.validate(change, json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize("tree", TREES, ids=["default", "other kinds"])
def test_every_kind_is_valid(tree: dict[str, Any]) -> None:
    config.validate(tree)
    jsonschema.validate(tree, json.loads(SCHEMA.read_text()))


def test_the_schema_of_editors_is_in_step() -> None:
    assert SCHEMA.read_text() == config.schema(), "run `make schema`"


@pytest.mark.parametrize("change", [{"sedes": [1]}, {"seeds": 1}, {"arms": {"a": {}}}])
def test_the_schema_of_editors_refuses(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(change, json.loads(SCHEMA.read_text()))


# What the screen shows -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("seeds: [1, 1]\narms: {a: {target: lable}}\n", [
            "2 error(s) in the config:",
            "  arms.a.target: expected 'label', 'reason_label' or 'label_reason', found 'lable'",
            "  seeds: expected different numbers, found [1, 1]",
        ]),
        ("base: {kind: folder, path: no/where}\n",
         ["base.path: no such file or folder: no/where"]),
        ("seeds: [1, 1\narms: {}\n", ["Config file is not valid JSON or YAML."]),
        ("- seeds\n", ["Config file must be given as JSON or YAML with keys at top level."]),
    ],
    ids=["mistakes", "a missing file", "a YAML syntax error", "a list"],
)  # fmt: skip
def test_snakemake_shows_the_lines_without_a_traceback(
    text: str, lines: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    # Parsing needs no script, so a folder of its own keeps results/ out of this.
    command = ["-m", "snakemake", "-n", "--cores", "1", "--directory", str(tmp_path)]
    said = subprocess.run(
        [sys.executable, *command, "--configfile", str(file)],
        cwd=ROOT, env=environment(), text=True, capture_output=True, check=False,
    )  # fmt: skip
    screen = said.stdout + said.stderr
    assert said.returncode == 1
    assert "Traceback" not in screen
    found = iter(screen.splitlines())
    assert all(any(shown.startswith(line) for shown in found) for line in lines), screen
    assert [entry.name for entry in tmp_path.iterdir()] == ["broken.yaml"]
