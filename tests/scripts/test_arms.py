"""All arms, regimes and controls: what is scheduled, what they differ in, what the tables hold."""

from __future__ import annotations

import csv
import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from infuse.config import experiment
from infuse.core.errors import UserError
from infuse.core.files import read_csv
from infuse.core.manifest import sealed
from infuse.evaluation import comparisons as pairs
from infuse.evaluation import scores as ev
from infuse.workflow import plan
from trees import ALL, ROOT, Tree

TINY: dict[str, Any] = yaml.safe_load((ROOT / "tests/tiny.yaml").read_text())
LABEL, SAME, REASON = (
    {"target": "label"},
    {"target": "label", "match": {"steps": "reason_label"}},
    {"target": "reason_label"},
)
PLAIN = {"label": LABEL, "label_same_steps": SAME, "reason_label": REASON}
ARMS = PLAIN | {
    "label_repeated": {"target": "label", "match": {"steps": "reason_label", "by": "repeating"}},
    "label_prompt_loss": {
        "target": "label", "match": {"steps": "reason_label", "supervised_tokens": "reason_label"}
    },
    "reason_label_weighted": {"target": "reason_label", "label_weight": 0.5},
    "shuffled_label": {"target": "reason_label", "perturb": "shuffle"},
    "keywords_label": {"target": "reason_label", "reasons": "keywords"},
    "multi_task": {"target": "multi_task"},
    "voted_label": {"target": "reason_label", "vote": {"answers": 3}},
    "head": {"target": "head", "match": {"steps": "reason_label"}},
}  # fmt: skip
CONTROLS = ("gain", "no-gain")  # of experiments/, here with one seed
STUDY: dict[str, Any] = {
    "arms": ARMS,
    "other_reasonings": {"keywords": {"kind": "keywords"}},
    "comparisons": [["reason_label", "label_same_steps"], ["shuffled_label", "label_same_steps"]],
    "regimes": {"rows": [], "label_noise": [0.3], "imbalance": [], "cue": []},
}


@pytest.fixture(scope="module")
def study(built: Tree, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The tiny experiment with all kinds of arms, a regime and a control, in a tree of its own."""
    tree = Tree(shutil.copytree(built.root, tmp_path_factory.mktemp("study") / "tree"))
    for name in CONTROLS:
        control = yaml.safe_load((ROOT / f"experiments/{name}.yaml").read_text())
        _control(tree, name).write_text(yaml.safe_dump(control | {"seeds": [1]}))
    said = tree.run(*ALL, **_study(tree))
    assert said.returncode == 0, said.stdout + said.stderr
    return tree


def _study(tree: Tree) -> dict[str, Any]:
    return STUDY | {"controls": [str(_control(tree, name)) for name in CONTROLS]}


def _control(tree: Tree, name: str) -> Path:
    return tree.root / f"one-seed-{name}.yaml"


def numbers(tree: Tree) -> plan.Node:
    """The node that compares all arms of the study."""
    return plan.build(experiment.load(TINY | _study(tree))).arms.inputs["metrics"]


def facts(tree: Tree, name: str) -> dict[str, Any]:
    """What the training of an arm of the study took."""
    node = numbers(tree).inputs[f"classifier {name}-seed1"]
    training_facts: dict[str, Any] = sealed(tree.root / node.path)["facts"]
    return training_facts


def test_another_arm_schedules_its_own_jobs_and_no_others(built: Tree) -> None:
    after = {"metrics": 1, "arms": 1}
    for arm, jobs in (
        ({"target": "label_reason"}, {}),
        ({"target": "reason_label", "perturb": "filler"}, {"training_set": 1}),
        ({"target": "label", "match": {"steps": "label"}}, {}),
    ):
        expected = jobs | after | {"classifier": 1, "predictions": 1}
        assert built.scheduled(arms=PLAIN | {"another": arm}) == expected
    voted = REASON | {"vote": {"answers": 3}}  # of the classifier that is there
    expected = after | {"predictions": 1}
    assert built.scheduled(arms=PLAIN | {"another": voted}) == expected
    assert built.scheduled(arms={"another": voted} | PLAIN) == expected


def test_each_arm_takes_the_budget_that_it_says(study: Tree) -> None:
    took = {name: facts(study, name) for name in ARMS}
    plain, reason = took["label"], took["reason_label"]
    for name in ("label_same_steps", "label_repeated", "label_prompt_loss", "head"):
        assert took[name]["steps"] == reason["steps"] > plain["steps"]
    assert took["label_same_steps"]["tokens"] == plain["tokens"] < took["label_repeated"]["tokens"]
    assert took["label_prompt_loss"]["supervised_tokens"] == reason["supervised_tokens"]
    assert took["reason_label_weighted"]["label_share_of_loss"] == 0.5
    assert took["voted_label"] == reason  # one classifier, asked in two ways
    assert took["multi_task"]["documents"] == 2 * reason["documents"]
    assert took["head"]["supervised_tokens"] == 2 * 64  # a place for each text, twice
    shuffled, own = took["shuffled_label"]["supervised_tokens"], reason["supervised_tokens"]
    assert abs(shuffled - own) <= 2 * 64


def test_the_tables_hold_every_arm_comparison_regime_and_control(study: Tree) -> None:
    def read(name: str) -> list[dict[str, str]]:
        return list(csv.DictReader((study.root / f"results/{name}.csv").open()))

    assert [line["arm"] for line in read("arms")][2:] == list(ARMS)
    keywords = next(line for line in read("arms") if line["arm"] == "keywords_label")
    assert 0 < float(keywords["teacher %"]) <= 100
    lines = read("comparisons")
    assert [(line["arm"], line["measure"]) for line in lines] == [
        (arm, measure) for measure in pairs.MEASURES for arm in ("reason_label", "shuffled_label")
    ]
    sources = {line["source"]: line for line in read("sources")}
    assert {name: line["kind"] for name, line in sources.items()} == {
        "reasonings": "reasoner", "keywords": "keywords"
    }  # fmt: skip
    assert sources["keywords"]["ended %"] == "100.00" and sources["keywords"]["tokens"] != "0.0"
    regimes = [(line["regime"], line["share"]) for line in read("regimes")]
    assert regimes == [("none", "")] * 2 + [("label_noise", "0.3")] * 2


def test_the_instrument_finds_a_gain_where_there_is_one_and_none_where_there_is_none(
    study: Tree,
) -> None:
    with (study.root / "results/controls.csv").open() as file:
        lines = [(line["control"], line["as expected"]) for line in csv.DictReader(file)]
    assert lines == [("gain", "yes"), ("no_gain", "yes")]


def test_reasonings_of_texts_with_their_own_labels_are_not_written_again(study: Tree) -> None:
    seals = [sealed(path) for path in study.root.glob("results/artifacts/reasonings/scratch-*/")]
    (noisy,) = (seal for seal in seals if "known" in seal["inputs"])
    task = study.root / noisy["inputs"]["task"]
    rows = [
        {
            (row["split"], row["id"]): row["reasoning"]
            for row in _rows(study.root / folder / "reasonings.parquet")
        }
        for folder in (
            noisy["inputs"]["known"],
            f"results/artifacts/reasonings/scratch-{noisy['key']}",
        )
    ]
    changed = set(yaml.safe_load((task / "changed.json").read_text()))
    assert rows[0].keys() == rows[1].keys()
    differ = {place for place, text in rows[0].items() if rows[1][place] != text}
    assert differ and differ <= {("train", number) for number in changed}


def _rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def test_comparisons_follow_from_the_answers(study: Tree) -> None:
    folder = study.root / numbers(study).path
    comparisons = read_csv(folder / "comparisons.csv", pairs.COMPARISONS)
    lines = {row["arm"]: row for row in read_csv(folder / "classifiers.csv", ev.CLASSIFIERS)}
    for row in comparisons:
        measure = row["measure"].replace(" ", "_")
        expected = lines[row["arm"]][measure] - lines[row["against"]][measure]
        assert row["difference"] == pytest.approx(expected)
        assert -1 <= row["low"] <= row["difference"] <= row["high"] <= 1
        assert row["holm_p"] >= row["p"]


def test_a_point_that_two_regimes_share_is_made_once() -> None:
    """Nothing is trained twice: equal regimes of equal arms are one node."""
    section = {"rows": [0.5], "label_noise": [], "imbalance": [], "cue": []}
    graphs = [
        plan.build(experiment.load(TINY | {"regimes": section, "comparisons": pairs}))
        for pairs in (None, [["label", "reason_label"]], [["reason_label", "label"]])
    ]
    ids = [{node.id for node in graph.stage("classifier")} for graph in graphs]
    assert ids[1] == ids[2] and len(ids[0] & ids[1]) == 4
    for earlier, later in itertools.pairwise(graphs):
        assert {node.id for node in earlier.stage("regime")} == {
            node.id for node in later.stage("regime")
        }


def _reasonings(graph: plan.Plan, regime: str) -> list[plan.Node]:
    """Where the training sets of a regime have their reasonings from."""
    return [
        node.inputs["reasonings"]
        for node in graph.stage("training_set")
        if "reasonings" in node.inputs and node.inputs["task"].name.startswith(regime)
    ]


def test_keywords_know_the_labels_of_their_regime_alone() -> None:
    arms = {"label": LABEL, "hint": REASON | {"reasons": "keywords"}}
    section = {"rows": [0.5], "label_noise": [0.3], "imbalance": [], "cue": []}
    change = {"arms": arms, "regimes": section, "other_reasonings": STUDY["other_reasonings"]}
    graph = plan.build(experiment.load(TINY | change | {"comparisons": [["hint", "label"]]}))
    for regime in ("rows", "label_noise"):
        (reasons,) = _reasonings(graph, regime)
        assert reasons.inputs["task"].name.startswith(regime)


def test_reasonings_that_argue_for_the_true_label_meet_no_wrong_one() -> None:
    section = {"rows": [0.5], "label_noise": [0.3], "imbalance": [], "cue": []}
    control = yaml.safe_load((ROOT / "experiments/gain.yaml").read_text())
    graph = plan.build(experiment.load(control | {"regimes": section}))
    assert _reasonings(graph, "rows") and not _reasonings(graph, "label_noise")
    assert any("no regime has wrong labels: reasonings" in note for note in graph.notes)


def test_controls_run_on_the_instrument_beside_which_they_stand() -> None:
    own = experiment.load(TINY).compute.model_dump()
    compute = own | {"layout": "packed", "dtype": "bfloat16"}
    path = str(ROOT / "experiments/gain.yaml")
    graph = plan.build(experiment.load(TINY | {"compute": compute, "controls": [path]}))
    classifiers = [
        node for node in graph.stage("classifier") if "two_hop" in node.inputs["task"].name
    ]
    assert classifiers and all(node.params["compute"] == compute for node in classifiers)
    with pytest.raises(UserError, match=r"controls\[1\]: .* found 'gain' twice"):
        plan.build(experiment.load(TINY | {"controls": [path, "experiments/gain.yaml"]}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "gone.yaml: no such file"),
        ("seeds: 3", "seeds: expected a list, found 3 (write [3])"),
        ("{}", "expected `expected`, and two arms to compare"),
        ("[]", "gone.yaml: expected a mapping"),
    ],
)
def test_a_control_that_is_none(content: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "gone.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as refusal:
        plan.build(experiment.load(TINY | {"controls": [str(path)]}))
    lines = str(refusal.value).split("\n  ")
    assert lines[0] == "1 error(s) in the config:" and len(lines) == 2
    assert lines[1].startswith(f"controls[0]: {path}: ") and lines[1].endswith(said)
