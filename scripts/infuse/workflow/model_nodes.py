"""Nodes of models, and the parameters that those share which train or write."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from infuse.config.base import LINES, Folder, Gguf, HubModel
from infuse.config.experiment import Experiment
from infuse.data.splits import HELD_OUT
from infuse.data.targets import ZERO_SHOT
from infuse.workflow.local_files import PARTS, local_model
from infuse.workflow.node import Node
from infuse.workflow.params import (
    base_settings,
    endpoint_params,
    short_name,
    training_params,
    training_settings,
)


def base_node(
    config: Experiment, contents: dict[str, str], task: Node, triples: Node | None
) -> Node:
    """The model that both stages start from; from scratch, it reads the texts of `task`."""
    # It is held against the texts of the test, which not every regime has.
    whole = task.stage == "task" or task.params["kind"] in HELD_OUT
    base, references = config.base, {"task": task if whole else task.inputs["task"]}
    if isinstance(base, HubModel):
        params, settings = base.model_dump(), base_settings(config)
        return Node("base", short_name(base), params, settings=settings, references=references)
    if isinstance(base, Folder | Gguf):
        where, path = local_model(base)
        content = contents[where]
        params = base.model_dump(exclude={"path", "file", "package"}) | {"content": content}
        settings = base_settings(config) | {"path": path, "contents": {path: content}}
        name = Path(path).name.removesuffix(".gguf")
        # It stands in the rules' commands.
        name = re.sub(r"[^\w.-]", "-", name)
        return Node("base", name, params, settings=settings, references=references)
    corpus = base.corpus
    if triples is None and "triples" in corpus:
        # The language is then learned from the texts alone.
        corpus = list(dict.fromkeys("task" if part == "triples" else part for part in corpus))
    files = [entry for entry in corpus if entry not in PARTS]
    params = base.model_dump() | training_params(config)
    read = {path: contents[f"base.corpus[{base.corpus.index(path)}]"] for path in files}
    # The same bytes are other texts where each line is one.
    params["corpus"] = [
        f"lines of {read[entry]}" if entry.endswith(LINES) else read.get(entry, entry)
        for entry in corpus
    ]
    parts = zip(PARTS, (task, triples), strict=True)
    inputs = {name: node for name, node in parts if node and name in corpus}
    texts = task.inputs["task"] if task.stage == "regime" else task
    params["reasoned"] = bool("task" in inputs and texts.params["columns"].get("reasoning"))
    settings = training_settings(config) | {"files": files, "contents": read}
    return Node("base", "scratch", params, inputs, settings, references=references)


def gathered(whole: Node, count: int) -> Node:
    """A node of reasonings that so many others write, each its part of the rows."""
    shards = {
        f"shard {number}": replace(
            whole,
            name=f"{whole.name}-shard-{number}-of-{count}",
            params=whole.params | {"shard": [number, count]},
        )
        for number in range(1, count + 1)
    }
    texts = {role: node for role, node in whole.inputs.items() if role != "reasoner"}
    return replace(whole, inputs=texts | shards)


def zero_shot_node(config: Experiment, task: Node) -> Node:
    """What an endpoint answers on the test texts."""
    assert config.zero_shot is not None
    endpoint, settings = endpoint_params(config, config.zero_shot.endpoint)
    params = config.zero_shot.model_dump() | {"endpoint": endpoint, "system": config.task.system}
    params["system_role"] = config.endpoints[config.zero_shot.endpoint].system_role
    return Node(ZERO_SHOT, config.zero_shot.endpoint, params, {"task": task}, settings)
