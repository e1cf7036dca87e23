"""What the plan writes into specs is what each script reads back, to the last key."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter

from infuse.config import data_params as data
from infuse.config import experiment
from infuse.config import model_params as models
from infuse.config import report_params as reports
from infuse.config.values import Section
from infuse.workflow import forecast_node, local_files, plan
from infuse.workflow.node import Node
from trees import ROOT

READ: dict[str, type[Section] | TypeAdapter[Any]] = {
    "conversations": data.ConversationsParams, "judgments": data.JUDGMENTS_PARAMS,
    "ratings": data.RATINGS_PARAMS, "task": data.TaskParams, "triples": data.TriplesParams,
    "base": models.BASE_PARAMS, "tokens": models.TokensParams, "reasoner": models.ReasonerParams,
    "reasonings": models.REASONINGS_PARAMS, "regime": models.REGIME_PARAMS,
    "training_set": models.TrainingSetParams, "classifier": models.ClassifierParams,
    "predictions": models.PredictionsParams, "zero_shot": models.ZeroShotParams,
    "logit_lens": models.LogitLensParams, "metrics": reports.MetricsParams,
    "tables": reports.TablesParams, "figures": reports.MetricsParams, "arms": reports.ArmsParams,
    "quality": reports.QualityParams, "layers": reports.ArmsOfSeeds,
    "forecast": reports.ForecastParams, "browse": reports.MetricsParams,
    "verdict": reports.VerdictParams,
}  # fmt: skip
TABLE = {"text": "text", "label": "label", "reasoning": "why"}
HUB = {"kind": "hub", "id": "owner/name", "revision": "0" * 40}
API: dict[str, Any] = {"endpoints": {"api": {"url": "http://127.0.0.1/v1", "model": "m"}}}
CHANGES: list[dict[str, Any]] = [
    *(experiment.read_change(file) for file in sorted((ROOT / "experiments").glob("*.yaml"))),
    {
        "task": {"source": {"kind": "files", "train": "a.csv"}, "columns": TABLE},
        "triples": {
            "source": {"kind": "files", "paths": ["t.jsonl"]},
            "columns": {"kind": "chat", "messages": "messages"},
        },
        "base": {"kind": "folder", "path": "model"},
        "reasonings": {"kind": "file", "path": "r.csv", "columns": TABLE | {"reasoning": "r"}},
    },
    {
        "task": {"source": HUB, "columns": TABLE},
        "triples": {
            "source": HUB,
            "columns": {"kind": "triples", "question": "q", "answer": "a", "reasoning": "r"},
        },
        "base": HUB,
        "reasonings": HUB | {"columns": TABLE},
    },
    API
    | {
        "zero_shot": {"endpoint": "api"},
        "reasonings": {"kind": "endpoint", "endpoint": "api"},
        "other_reasonings": {"words": {"kind": "keywords"}},
        "arms": {
            "label": {"target": "label", "match": {"supervised_tokens": "why"}},
            "why": {"target": "reason_label", "perturb": "shuffle"},
            "words": {"target": "label_reason", "reasons": "words", "label_weight": 0.5},
            "both": {"target": "multi_task", "label_smoothing": 0.1},
            "voted": {"target": "reason_label", "vote": {"answers": 3}},
            "good": {"target": "reason_label", "keep": ["ended", "read"]},
            "steps": {"target": "label", "match": {"steps": "why", "by": "repeating"}},
        },
    },
    {"shards": 2},
]


def read_back(node: Node) -> Any:
    """The parameters of a node, once its script has read them from a spec."""
    params, reads = json.loads(json.dumps(node.params)), READ[node.stage]
    if isinstance(reads, TypeAdapter):
        return reads.dump_python(reads.validate_python(params), mode="json", exclude_unset=True)
    return reads.model_validate(params).model_dump(mode="json", exclude_unset=True)


@pytest.mark.parametrize("change", CHANGES)
def test_scripts_read_every_parameter(
    change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_files, "content_hash", lambda *_: "a hash")
    monkeypatch.setattr(local_files, "packaged_gguf", lambda package: f"{package}.gguf")
    monkeypatch.setattr(plan, "pinned", lambda config: config)
    config = experiment.load(change)
    whole = plan.build(config)
    for node in (*whole.nodes.values(), forecast_node.node(whole, config)):
        assert read_back(node) == json.loads(json.dumps(node.params)), node.path
