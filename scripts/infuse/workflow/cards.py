"""Model and data cards, written from what provenance.json records and from nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from infuse.core.manifest import read_provenance
from infuse.core.render import markdown
from infuse.data.targets import REASONED

Provenance = Mapping[str, Any]

MODELS = {
    "base": "The model that both stages start from.",
    "reasoner": "It continues `Question: ... Answer: ... Reasoning: ` with the reasoning that"
    " leads from question to answer.",
    "classifier": "It answers a text with {target}.",
}
TARGETS = {
    "label": "a label",
    "reason_label": "a reasoning, then a label",
    "label_reason": "a label, then a reasoning",
    "multi_task": "a label, or a reasoning where the text ends in its separator",
    "head": "the score of each label, by a linear head",
}
GOLD = "The reasonings were written by someone, or something, that knew the right label."
MANNER = "What the model writes is an account in their manner; it need not be how it decides."


def card(provenance: Provenance, inputs: Mapping[str, Path]) -> str | None:
    """The text of README.md beside a model or a training set; None for other stages.

    Args:
        inputs: role -> folder of an input, which has a provenance.json too.
    """
    if provenance["stage"] in MODELS:
        return _model(provenance, inputs)
    if provenance["stage"] == "training_set":
        return _data(provenance, inputs)
    return None


def _model(provenance: Provenance, inputs: Mapping[str, Path]) -> str:
    from huggingface_hub import ModelCardData

    params, facts = provenance["params"], provenance["facts"]
    base = read_provenance(inputs["base"])["params"] if "base" in inputs else params
    target = params.get("target", "label")
    head = target == "head"
    front = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification" if head else "text-generation",
        base_model=base["id"] if base["kind"] == "hub" else None,
        tags=["reasoning-infused", provenance["stage"]],
    )
    parts = [f"# {provenance['name']}", MODELS[provenance["stage"]].format(target=TARGETS[target])]
    if "chat" in params:
        parts += [
            f"System message: {params['chat']['system']!r}. `classifier.json` holds its labels, its"
            " separator and its chat. To label texts with it:",
            "    python scripts/classify.py --model FOLDER 'a text'",
        ]
    recipe = params.get("recipe") or params.get("pretraining")
    if recipe:
        own = {name: params.get(name) for name in ("label_weight", "label_smoothing")}
        recipe = recipe | {name: value for name, value in own.items() if value is not None}
        parts += ["## Training", _table(_flat(recipe)), _table(_numbers(facts))]
    explains = provenance["stage"] == "reasoner" or target in REASONED
    limits = [f"{GOLD} {MANNER}"] if provenance["stage"] != "base" and explains else []
    limits += [
        "No accuracy stands here: the tables of the experiment have it, with the controls.",
        "The licence is that of the base model and of the data.",
    ]
    parts += ["## Limits", "".join(f"- {line}\n" for line in limits)]
    return _page(front, [*parts, *_origin(provenance)])


def _data(provenance: Provenance, inputs: Mapping[str, Path]) -> str:
    from huggingface_hub import DatasetCardData

    facts = provenance["facts"]
    head = DatasetCardData(
        task_categories=["text-classification"],
        tags=["reasoning-infused"],
        configs=[
            {
                "config_name": "default",
                "data_files": [
                    {"split": split, "path": f"{split}.parquet"}
                    for split in facts
                    if facts[split]["rows"]
                ],
            }
        ],
    )
    task = read_provenance(inputs["task"])
    what = "Texts, one reasoning each, and labels: id, text, reasoning, label."
    columns = what if "reasonings" in inputs else "Texts and labels: id, text, label."
    rows = (
        (split, f"{part['rows']} rows, {part['no_reasoning']['rows']} left out without a reasoning")
        for split, part in facts.items()
    )
    parts = [f"# {provenance['name']}", columns, _table(rows)]
    task_params = task["params"]
    if "source" in task_params:
        parts += [f"The texts: {_source(task_params['source'])}."]
    else:
        kind, value = task_params["kind"], task_params["value"]
        value = f"{value:g}" if isinstance(value, float) else json.dumps(value)
        parts += [
            "The texts: those of a task, changed on purpose.",
            f"The change: `{kind}`, {value} (docs/arms.md, docs/quality.md).",
        ]
    if "reasonings" in inputs:
        reasonings = read_provenance(inputs["reasonings"])["params"]
        parts += [f"The reasonings: {_source(reasonings)}.", GOLD]
    if "keep" in provenance["params"]:
        checks = ", ".join(f"`{check}`" for check in provenance["params"]["keep"])
        parts += [f"Training texts whose reasoning does not pass are left out: {checks}."]
        if count := reasonings.get("candidates"):
            parts += [f"Of {count} reasonings for each, the first that passes is taken."]
    if "perturb" in provenance["params"]:
        kind = provenance["params"]["perturb"]
        parts += [
            f"In their place stand pseudo-reasonings of the kind `{kind}`, of the same length in"
            " tokens: what they say is not meant to make sense."
        ]
    counts = task["facts"]["train"]["labels"]
    parts += ["## Labels of the training texts", _table((k, str(n)) for k, n in counts.items())]
    return _page(head, [*parts, *_origin(provenance)])


def _source(params: Mapping[str, Any]) -> str:
    kinds = {
        "two_hop": "made by the workflow's generator of riddles",
        "generated": "made by the workflow's generator",
        "judged": "pairs of context and response, with the ratings of judges",
        "files": "local files, known by their content alone",
        "file": "a local file, known by its content alone",
        "column": "a column beside the texts",
        "reasoner": "written by the reasoner, from text and gold label",
        "base": "written by the base model as it was, from text and gold label",
        "keywords": "the words of a text that weigh most for its gold label in a linear model",
    }
    if params["kind"] == "hub":
        return f"`{params['id']}` at {params['revision']}"
    if params["kind"] == "endpoint":
        return f"written by `{params['endpoint']['model']}`, from text and gold label"
    return kinds[params["kind"]]


def _origin(provenance: Provenance) -> list[str]:
    rows = [("key", provenance["key"]), ("commit", provenance["commit"] or "not known")]
    rows += [(role, Path(path).name) for role, path in provenance["inputs"].items()]
    rows += [(name, version) for name, version in provenance["versions"].items()]
    return ["## Made from", _table(rows), "`provenance.json` has all of it."]


def _numbers(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in facts.items():
        if isinstance(value, int | float):
            yield name.replace("_", " "), f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    for why, part in facts.get("dropped", {}).items():
        yield f"dropped: {why}", f"{part['rows']:,} rows"


def _flat(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in recipe.items():
        parts = value.items() if isinstance(value, Mapping) else [("kind", value)]
        cells = (str(v) if k == "kind" else f"{k} {v}" for k, v in parts)
        yield name.replace("_", " "), ", ".join(cells)


def _table(rows: Any) -> str:
    return markdown(["", " "], rows)


def _page(head: Any, parts: list[str]) -> str:
    return (
        f"---\n{head.to_yaml()}\n---\n\n" + "\n\n".join(part.rstrip("\n") for part in parts) + "\n"
    )
