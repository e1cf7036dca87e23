"""The graph as a whole: it builds, does nothing twice, reruns exactly what a change asks for."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from infuse.config import experiment
from infuse.core.errors import UserError
from infuse.workflow import plan
from task import SPLITS
from trees import ALL, ROOT, Tree, tiny_plan

ONLY_LABEL = {"arms": {"label": {"target": "label"}}}


def test_all_tables_and_figures_are_there(built: Tree) -> None:
    results = built.root / "results"
    tables = ("arms", "comparisons", "regimes", "controls", "fidelity")
    for name in (*tables, *(f"table{n}" for n in range(1, 6))):
        assert (results / f"{name}.csv").stat().st_size and (results / f"{name}.md").stat().st_size
    for name in ("figure1", "figure2", "figure3", "arms", "regimes"):
        assert (results / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert (results / f"{name}.pdf").read_bytes()[:4] == b"%PDF"


def test_nothing_half_written_is_left(built: Tree) -> None:
    results = built.root / "results"
    assert not list(results.rglob("*.part"))
    assert not list((results / "unfinished").iterdir())


def test_a_second_run_does_nothing(built: Tree) -> None:
    assert built.scheduled() == {}


def test_a_lost_snakemake_folder_changes_nothing(built: Tree) -> None:
    shutil.rmtree(built.root / ".snakemake")
    assert built.scheduled() == {}


def test_a_newer_time_stamp_changes_nothing(built: Tree) -> None:
    for folder in (built.root / "results/artifacts").glob("*/*"):
        folder.touch()
    assert built.scheduled() == {}


def test_figures_are_redrawn_alone(built: Tree) -> None:
    for figure in (built.root / "results").glob("figure*.p*"):
        figure.unlink()
    said = built.run("figures")
    assert said.returncode == 0, said.stderr
    assert (built.root / "results/figure2.png").exists()
    assert built.scheduled() == {}


def test_current_results_follow_the_experiment(built: Tree) -> None:
    """A, B, A with Snakemake's memory deleted between: results/ is always the asked one's."""
    table = built.root / "results/table3.csv"
    first = table.read_bytes()
    for change, expected in ((ONLY_LABEL, None), ({}, first)):
        shutil.rmtree(built.root / ".snakemake")
        said = built.run(*ALL, **change)
        assert said.returncode == 0, said.stderr
        assert (table.read_bytes() == first) == (expected == first)


def test_a_hyper_parameter_reruns_its_stage_and_what_follows(built: Tree) -> None:
    tiny = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text())
    longer = tiny["prediction"] | {"max_new_tokens": 25}
    assert built.scheduled(prediction=longer) == {
        "predictions": 3, "metrics": 2, "tables": 1, "figures": 1, "arms": 1,
    }  # fmt: skip


def test_every_config_key_reruns_what_the_documentation_says() -> None:
    """docs/reruns.md holds, for each key, the stages whose keys a change of it changes."""
    documented = dict(_documented())
    tree = experiment.merge(yaml.safe_load(experiment.DEFAULTS.read_text()), BASIS)
    observed = {path: _changed(tree, path, BASIS) for path in _leaves(tree) if path not in NULL}
    judged = experiment.merge(tree, RATED)
    observed |= {path: _changed(judged, path, RATED) for path in OF_RATINGS}
    assert documented == observed


# What the keys are changed in: here each of them may have another value.
BASIS: dict[str, Any] = {
    "compute": {"device": "cuda", "dtype": "bfloat16", "layout": "packed"}
}  # fmt: skip
RATED: dict[str, Any] = yaml.safe_load((ROOT / "experiments/quality-small.yaml").read_text())
NULL = ("conversations", "judging", "held_out", "task.scale")  # in the default
OF_RATINGS = (
    "conversations.rows.train", "judging.judges.strict.noise",
    "held_out.sources", "held_out.arms",
)  # fmt: skip
ENDPOINTS: dict[str, Any] = {"endpoints": {"api": {"url": "http://127.0.0.1/v1", "model": "m"}}}


def _documented() -> Iterator[tuple[str, str]]:
    for line in (ROOT / "docs/reruns.md").read_text().splitlines():
        if row := re.fullmatch(r"\| `([^`]+)` \| (.+) \|", line):
            yield row[1], row[2]


def _leaves(tree: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in tree.items():
        if isinstance(value, dict) and name not in ("columns", "tuning"):
            yield from _leaves(value, f"{above}{name}.")
        elif name != "kind":  # another kind is another section
            yield f"{above}{name}"


def _changed(tree: dict[str, Any], path: str, basis: dict[str, Any]) -> str:
    """The first stages that a change of one key reruns; what follows from them is left out."""
    before = plan.build(experiment.load(basis))
    after = plan.build(experiment.load(_other(tree, path, basis)))
    stages = {stage for stage, _ in after.nodes.keys() - before.nodes.keys()}
    first = [
        stage
        for stage in dict.fromkeys(stage for stage, _ in after.nodes)
        if stage in stages
        and any(
            (stage, node.id) not in before.nodes
            and all((source.stage, source.id) in before.nodes for source in node.inputs.values())
            for node in after.stage(stage)
        )
    ]
    return ", ".join(first) or "nothing"


def _other(tree: dict[str, Any], path: str, basis: dict[str, Any]) -> dict[str, Any]:
    """A config that differs in one key, as little as the key's values allow."""
    *above, name = path.split(".")
    value: Any = tree
    for part in (*above, name):
        value = value[part]
    for candidate in _candidates(name, value):
        change: dict[str, Any] = {name: candidate}
        for part in reversed(above):
            change = {part: change}
        if above[:1] == ["arms"]:
            change = {"arms": experiment.merge({"": tree["arms"]}, {"": change["arms"]})[""]}
        change = experiment.merge(basis | ENDPOINTS, change)
        try:
            experiment.load(change)
        except UserError:
            continue
        return change
    raise AssertionError(f"no other value is known for {path}")


def _candidates(name: str, value: Any) -> Iterator[Any]:
    match name:
        case "columns":
            yield {key: f"{column}2" if key != "kind" else column for key, column in value.items()}
        case "tuning":
            yield {"kind": "lora", "rank": 4, "alpha": 8.0, "dropout": 0.0, "modules": ["q_proj"]}
        case "corpus":
            yield ["task"]
        case "labels":
            yield ["sadness", "joy", "love", "fear", "anger", "surprise"]
        case "zero_shot":
            yield {"endpoint": "api"}
        case "trackers":
            yield ["tensorboard"]
        case _ if name in ("rows", "max_reasoning_characters", *SPLITS) and value is None:
            yield 100
        case "match":
            yield None
        case "comparisons":
            yield [["reason_label", "label"]]
        case "controls":
            yield ["experiments/gain.yaml"]
        case "gpu":
            yield "h200"
        case "gpu_price":
            yield 2.5
        case "prompt":
            yield "{text}: {label}"
        case "sources":
            yield [["shop", "help_chosen"]]
        case "texts":
            yield 10
        case "expected":
            yield "gain"
        case "arms":
            yield from (["label"], ["reason_label"])
        case "rows" | "label_noise" | "imbalance" | "cue" if isinstance(value, list):
            yield [0.7]
    if value is None:
        return
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, value * 2, value - 1)
    elif isinstance(value, float):
        yield value / 2 or 0.1
    elif isinstance(value, list):
        yield [*value, max(value) + 1]
    elif isinstance(value, str):
        yield from (
            f"{value}2",
            "vllm",
            "linear",
            "label_reason",
            "cpu",
            "float32" if value == "bfloat16" else "bfloat16",
            "padded",
            "label",
            "paged_adamw_8bit",
            "never",
        )


def test_the_order_of_arms_is_part_of_what_tables_show() -> None:
    """And of nothing else: the first label arm is what others are held against."""
    arms = experiment.load({}).model_dump()["arms"]
    ours, other = (
        plan.build(experiment.load({"arms": dict(order)}))
        for order in (arms.items(), reversed(arms.items()))
    )
    moved = {stage for stage, key in ours.nodes.keys() - other.nodes.keys()}
    assert "metrics" in moved and not moved & {"training_set", "classifier", "predictions"}


def test_the_documented_layout_is_the_real_one() -> None:
    """A rule, its script and its test bear one name."""
    rules = set(re.findall(r"^(?:rule|use rule task as) (\w+)(?: with)?:", "".join(
        Path(file).read_text() for file in (ROOT / "rules").glob("*.smk")
    ), re.MULTILINE))  # fmt: skip
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    assert scripts == rules | {"classify", "push", "share", "try_it"}  # what a user calls
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests").rglob("test_*.py")}
    moved = {"tables": "paper_tables", "figures": "plots", "push": "hub_upload"}
    assert {moved.get(name, name) for name in scripts} <= tests


def test_the_report_holds_every_table_and_figure_with_what_made_it(
    built: Tree, tmp_path: Path
) -> None:
    assert built.run(*ALL).returncode == 0
    said = built.run("--report", str(tmp_path / "report.html"), "--", *ALL)
    assert said.returncode == 0, said.stderr
    page = (tmp_path / "report.html").read_text()
    tables = ["table1", "table2", "table3", "table4", "table5", "fidelity"]
    arms = [f"{name}.html" for name in ("arms", "comparisons", "regimes", "controls")]
    arms += ["arms.png", "regimes.png"]
    figures = [f"figure{n}.png" for n in (1, 2, 3)]
    for name in [f"{table}.html" for table in tables] + figures + arms:
        assert f'"{name}"' in page
    tiny = tiny_plan()
    for node, shown in ((tiny.tables, 6), (tiny.figures, 3), (tiny.arms, 6)):
        caption = f"Made by scripts/{node.stage}.py, key {node.key}, commit"
        assert page.count(caption) >= shown


def test_new_texts_are_for_a_classifier_of_the_experiments_own() -> None:
    """Its controls reason, where it does not."""
    graph = plan.build(experiment.load(ONLY_LABEL))
    assert len(list(graph.stage("classifier"))) > 2 and graph.example.name == "label-seed1"


def test_a_regime_is_judged_by_its_own_texts_and_no_base_has_read_what_it_withholds() -> None:
    """The base reads reasonings where they stand in a column."""
    regimes = {"rows": [0.5], "label_noise": [], "imbalance": [0.5], "cue": [0.5]}
    change = experiment.read_change(ROOT / "experiments/gain.yaml") | {"regimes": regimes}
    graph = plan.build(experiment.load(change))
    for node in graph.stage("classifier"):
        read = node.inputs["base"].inputs["task"]
        texts = node.inputs["training_set"].inputs["task"]
        withheld = texts.params.get("kind") in ("rows", "imbalance")
        assert (read == texts) == (withheld or texts.stage == "task")
        # A base looks at the test's texts, and such a regime has none.
        assert node.inputs["base"].references["task"].stage == "task"
    for node in graph.stage("metrics"):
        texts = {
            one.inputs["training_set"].inputs["task"].path
            for role, one in node.inputs.items()
            if role.startswith("classifier ")
        }
        assert texts == {node.inputs.get("training texts", node.inputs["task"]).path}


def test_the_ending_of_a_corpus_file_tells_how_it_is_read(tmp_path: Path) -> None:
    """The same bytes are other texts where each line is one."""
    keys = set()
    for name in ("a.txt", "b.txt", "a.jsonl"):
        (tmp_path / name).write_text('{"text": "so"}\n')
        change = {"base": {"corpus": [str(tmp_path / name)]}, "regimes": None, "controls": []}
        (base,) = plan.build(experiment.load(change)).stage("base")
        keys.add(base.key)
    assert len(keys) == 2


EDITS: list[dict[str, Any]] = [
    {"task": {"rows": {"train": 100}, "labels": ["neg", "pos"]}},
    {"task": {"scale": {"low": 1, "high": 5}, "columns": {"text": "a", "cluster": "b"}}},
    {"base": {"kind": "hub", "id": "them/tiny", "revision": "0" * 40}},
    {"base": {"positions": 512, "seed": 3, "pretraining": None, "corpus": ["task"]}},
    {"comparisons": [["reason_label", "label"]], "seeds": [7], "date_string": "1 Jan 2020"},
    {"classifier": {"recipe": {"optimizer": "paged_adamw_8bit", "schedule": "linear",
                               "max_length": 64, "weight_decay": 0.1, "max_grad_norm": 0.5,
                               "weights": "bfloat16", "tuning": {"kind": "lora", "rank": 4,
                               "alpha": 8, "dropout": 0.0, "modules": "all-linear"}}}},
    {"prediction": {"max_new_tokens": 5, "batch_rows": 3}, "backend": "vllm"},
    {"reasonings": {"kind": "base", "prompt": "why {text} {label}"}},
]  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_config_changes_no_control(
    edit: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys() -> set[str]:
        inputs = plan.build(experiment.load({})).arms.inputs
        return {node.key for role, node in inputs.items() if role.startswith("control ")}

    before = keys()
    own = experiment.merge(yaml.safe_load(experiment.DEFAULTS.read_text()), edit)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(own, sort_keys=False))
    monkeypatch.setattr(experiment, "DEFAULTS", tmp_path / "config.yaml")
    assert keys() == before and len(before) == 2
