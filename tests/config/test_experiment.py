"""A config is valid or refused with all its errors, one line each: where, expected, found."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from infuse.config import experiment
from infuse.config.experiment import Experiment, merge
from infuse.config.messages import PATTERNS
from infuse.config.revisions import Commits
from infuse.config.values import Section
from infuse.core.errors import UserError
from infuse.workflow import plan
from trees import ROOT

SCHEMA = ROOT / "docs/config.schema.json"
DEFAULT: dict[str, Any] = yaml.safe_load(experiment.DEFAULTS.read_text())
HEALTH = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
LORA = {"kind": "lora", "rank": 4, "alpha": 8.0, "dropout": 0.1, "modules": ["q_proj"]}
PIN = "0123456789abcdef0123456789abcdef01234567"
COLUMNS = {"text": "t", "reasoning": "r", "label": "l"}
API = {"url": "https://api.example/v1", "model": "m", "key_variable": "THE_KEY"}
# What users change: every kind of every section.
CHANGES: list[dict[str, Any]] = [
    {},
    {
        "task": {"source": {"kind": "hub", "id": "a/b", "revision": PIN}, "labels": [2, "a"]},
        "triples": {
            "source": {"kind": "files", "paths": ["a.csv", "b.csv"]},
            "columns": {"kind": "chat", "messages": "messages", "domain": "source"},
        },
        "base": {"kind": "hub", "id": "a/b", "revision": PIN, "pad_token": "<pad>"},
        "reasonings": {"kind": "hub", "id": "a/b", "revision": PIN, "columns": COLUMNS},
        "reasoner": {"recipe": {"tuning": LORA}},
    },
    {
        "task": {
            "source": {"kind": "files", "train": "a.csv"},
            "columns": {"reasoning": "why"},
            "split": {"test": 0.3},
            "rows": {"train": 9},
        },
        "triples": None,
        "base": {"kind": "folder", "path": "model"},
        "reasonings": {"kind": "column"},
        "trackers": ["tensorboard", "wandb"],
    },
    {
        "triples": {"source": {"kind": "hub", "id": "a/b", "config": "c"}},
        "base": {"corpus": ["task", "a.csv"], "pretraining": None},
        "endpoints": {"api": API | {"prices": {"input": 1, "output": 2.5}}},
        "reasonings": {"kind": "endpoint", "endpoint": "api"},
        "zero_shot": {"endpoint": "api", "list_labels": False},
    },
    {
        "reasonings": {"kind": "file", "path": "a.csv", "columns": COLUMNS},
        "arms": {"a": {"target": "label_reason"}},
        "backend": "vllm",
    },
]
TREES = [merge(DEFAULT, change) for change in CHANGES]


def mistakes(refusal: UserError) -> list[str]:
    """The lines of a report, which counts them itself."""
    head, *lines = str(refusal).split("\n")
    assert head == f"{len(lines)} error(s) in the config:" and lines
    assert all(line.startswith("  ") for line in lines)
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


WAYS = ("delete", "rename", "text", "nest", "list", "replace")


def near(value: Any) -> Any:
    """Another value of the same type, which may well be valid."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value / 2
        case str():
            return f"a{value}"
        case list():
            return value[:1]
    return value


@st.composite
def mutations(draw: st.DrawFn) -> Any:
    """A valid config of which up to three nodes are changed, deleted, retyped, replaced."""
    tree = copy.deepcopy(draw(st.sampled_from(TREES + CHANGES[1:])))
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        here = list(nodes(tree))
        assume(here)
        parent, key, _ = here[draw(st.integers(0, len(here) - 1))]
        match draw(st.sampled_from(["near", "near", *WAYS])):
            case "near":
                parent[key] = near(parent[key])
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


def test_a_thousand_changes_each_give_a_plan_or_one_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of the Snakefile: a report has a line for each mistake, which names its key."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "b.csv", "model/config.json"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    ends: Counter[str] = Counter()

    @settings(max_examples=1000, derandomize=True, suppress_health_check=HEALTH)
    @given(change=mutations())
    def each(change: Any) -> None:
        try:
            config = experiment.load(change)
        except UserError as refusal:
            ends["refused"] += 1
            for line in mistakes(refusal):
                assert line.isprintable()
                assert names_a_place(line, merge(DEFAULT, change)), line
            return
        assert experiment.validate(config.model_dump()) == config
        try:
            assert plan.build(config).nodes
            ends["valid"] += 1
        except UserError as refusal:
            ends["a missing file"] += 1
            assert all(
                "no such file" in line or "base.path: " in line for line in mistakes(refusal)
            )

    each()
    assert ends.total() >= 1000 and min(ends["refused"], ends["valid"]) >= 100, ends


def names_a_place(line: str, tree: Any) -> bool:
    """Whether a line begins with a path of the tree, or with one that is missing there."""
    paths = {"config", *(path for _, _, path in nodes(tree))}
    if any(line.startswith(f"{path}: ") for path in paths):
        return True
    path, said = line.split(": ", 1)
    absent = said.startswith("missing") or path.endswith(".kind")
    return absent and path.rpartition(".")[0] in paths | {""}


@settings(max_examples=100)
@given(change=VALUES)
def test_any_experiment_file_gives_an_experiment_or_an_error(change: Any) -> None:
    try:
        assert isinstance(experiment.load(change), Experiment)
    except UserError as refusal:
        assert mistakes(refusal)


HALF = "\ud83d"  # of a surrogate pair


def test_half_a_character_is_told_wherever_it_stands() -> None:
    told = 0
    for tree in copy.deepcopy(TREES):
        for parent, key, path in nodes(tree):
            value = parent[key]
            for changed in (f"so{HALF}", [value, {HALF: value}]):
                parent[key] = changed
                with pytest.raises(UserError) as refusal:
                    experiment.validate(tree)
                (line,) = mistakes(refusal.value)
                where = path if isinstance(changed, str) else f"{path}[1]"
                assert line.startswith(f"{where}: ") and ascii(HALF) in line
                told += 1
            parent[key] = value
    assert told >= 500


def parts(tree: Any) -> Iterator[dict[str, Any]]:
    """All mappings of a JSON value."""
    if isinstance(tree, dict):
        yield tree
    for part in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(part, dict | list):
            yield from parts(part)


@pytest.mark.parametrize("section", [Experiment, Commits])
def test_every_pattern_has_words(section: type[Section]) -> None:
    found = list(parts(section.model_json_schema()))
    own = {part["pattern"] for part in found if isinstance(part.get("pattern"), str)}
    own |= {pattern for part in found for pattern in part.get("patternProperties", ())}
    assert own and own <= set(PATTERNS)


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


# Files that the config names -------------------------------------------------------------------


@pytest.mark.parametrize("pointer", ["", "[]", "outs: []", "outs: [{path: a}]", "a: [", "outs: 3"])
def test_a_damaged_dvc_pointer_is_named_by_its_key(pointer: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv.dvc").write_text(pointer)
    change = {"triples": {"source": {"kind": "files", "paths": [str(tmp_path / "a.csv")]}}}
    with pytest.raises(
        UserError, match=r"\n  triples\.source\.paths\[0\]: expected outs\[0\]\.md5"
    ):
        plan.build(experiment.load(change))


def test_an_experiment_has_a_name_that_disks_take() -> None:
    experiment.load({"experiment": "e" * 100})
    with pytest.raises(UserError, match=r"experiment: expected at most 100 characters, found 101"):
        experiment.load({"experiment": "e" * 101})


def test_no_source_or_dimension_is_called_all() -> None:
    """So are all of them together in the tables."""
    small = yaml.safe_load((ROOT / "experiments/quality-small.yaml").read_text())
    for section, part in (("conversations", "sources"), ("judging", "dimensions")):
        own = next(iter(small[section][part].values()))
        change = small | {section: small[section] | {part: small[section][part] | {"all": own}}}
        with pytest.raises(UserError, match=f"{section}.{part}.all: 'all' stands for all of them"):
            experiment.load(change)


def test_weights_in_another_format_are_told(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "pytorch_model.bin"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(UserError) as refusal:
        plan.build(experiment.load({"base": {"kind": "folder", "path": str(tmp_path)}}))
    expected = f"base.path: expected safetensors in {tmp_path}, found pytorch_model.bin: load"
    assert expected in str(refusal.value)


@pytest.mark.parametrize(
    ("index", "absent"), [(None, "model.safetensors"), ("there", "b.safetensors, c.safetensors")]
)
def test_a_download_that_was_cut_short_is_told_at_once(
    index: str | None, absent: str, tmp_path: Path
) -> None:
    names = ("config.json", "tokenizer.json", "pytorch_model.bin", "a.safetensors")
    for name in (*names, ".cache/huggingface/download/0123.incomplete"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    if index:
        parts = {part: f"{part}.safetensors" for part in "abc"}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    with pytest.raises(UserError) as refusal:
        plan.build(experiment.load({"base": {"kind": "folder", "path": str(tmp_path)}}))
    expected = f"base.path: not in {tmp_path}: {absent}; was its download cut short?"
    assert str(refusal.value).endswith(expected)


def test_a_file_that_no_arm_needs_may_be_missing() -> None:
    columns = {"text": "t", "reasoning": "r", "label": "l"}
    change = {"reasonings": {"kind": "file", "path": "no.csv", "columns": columns}}
    with pytest.raises(UserError, match=r"no\.csv"):
        plan.build(experiment.load(change))
    only = {"arms": {"label": {"target": "label"}}, "triples": None, "controls": []}
    assert not list(plan.build(experiment.load(change | only)).stage("reasonings"))
    assert not list(plan.build(experiment.load(only)).stage("reasonings"))


# Files that users start from -------------------------------------------------------------------

FILES = [*sorted((ROOT / "experiments").glob("*.yaml")), ROOT / "tests/tiny.yaml"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_experiments_are_valid(file: Path) -> None:
    change = yaml.safe_load(file.read_text())
    experiment.load(change)
    jsonschema.validate(change, json.loads(SCHEMA.read_text()))


OWN = [merge(DEFAULT, yaml.safe_load(file.read_text())) for file in FILES]


def test_no_list_holds_an_entry_twice() -> None:
    doubled = 0
    for tree in copy.deepcopy(TREES + OWN):
        for parent, key, path in nodes(tree):
            entries = parent[key]
            if not isinstance(entries, list) or not entries or path.endswith(".examples"):
                continue
            parent[key] = [*entries, entries[0]]
            with pytest.raises(UserError) as refusal:
                experiment.validate(tree)
            parent[key] = entries
            (line,) = mistakes(refusal.value)
            assert line.startswith(path), line
            doubled += 1
    assert doubled >= 100


@pytest.mark.parametrize("tree", TREES, ids=range(len(TREES)))
def test_every_kind_is_valid(tree: dict[str, Any]) -> None:
    experiment.validate(tree)
    jsonschema.validate(tree, json.loads(SCHEMA.read_text()))


def test_the_schema_of_editors_is_in_step() -> None:
    assert SCHEMA.read_text() == experiment.schema(), "run `make schema`"


@pytest.mark.parametrize("change", [{"sedes": [1]}, {"seeds": 1}, {"arms": {"a": {}}}])
def test_the_schema_of_editors_refuses(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(change, json.loads(SCHEMA.read_text()))
