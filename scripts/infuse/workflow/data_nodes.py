"""Nodes of raw data: conversations, judges' ratings, task, triples."""

from __future__ import annotations

from typing import Any

from infuse.config.conversations import TalkFiles
from infuse.config.experiment import Experiment
from infuse.config.judging import AskedJudge
from infuse.config.settings import Settings
from infuse.config.task import GeneratedTask, Judged, TaskFiles, TwoHop
from infuse.config.triples import GeneratedTriples, TripleFiles
from infuse.workflow.node import Node
from infuse.workflow.params import endpoint_params, short_name

# Columns of ratings, as the task reads them.
JUDGED = {
    "text": ["dimension", "context", "response"], "label": "rating", "reasoning": "explanation",
    "id": "id", "cluster": "cluster", "source": "source", "dimension": "dimension",
}  # fmt: skip


def conversations_node(config: Experiment, contents: dict[str, str]) -> Node | None:
    """The conversations that judges rate, where the config has some."""
    section = config.conversations
    if section is None:
        return None
    params: dict[str, Any] = section.model_dump()
    files, hashes = dict[str, list[str]](), dict[str, str]()
    for name, talk in section.sources.items():
        if isinstance(talk.source, TalkFiles):
            where = f"conversations.sources.{name}.source.paths"
            paths = talk.source.paths
            read = [contents[f"{where}[{index}]"] for index in range(len(paths))]
            params["sources"][name]["source"] = {"kind": "files", "files": read}
            files[name] = paths
            hashes |= dict(zip(paths, read, strict=True))
    return Node("conversations", "pairs", params, settings=Settings(sources=files, contents=hashes))


def ratings_node(config: Experiment, contents: dict[str, str]) -> Node | None:
    """What all judges together make of the conversations, where the task is made of it."""
    pairs, judging = conversations_node(config, contents), config.judging
    if not isinstance(config.task.source, Judged) or not (pairs and judging):
        return None
    asking = judging.model_dump(include={"max_new_tokens", "temperature", "seed"})
    inputs = {"conversations": pairs}
    for name, judge in judging.judges.items():
        # A simulated judge reads no words of ours.
        params: dict[str, Any] = {
            "judge": judge.model_dump(),
            "styles": judging.styles,
            "dimensions": {part: {} for part in judging.dimensions},
            "seed": judging.seed,
        }
        settings = Settings()
        if isinstance(judge, AskedJudge):
            params |= asking
            params["dimensions"] = {
                part: dimension.model_dump() for part, dimension in judging.dimensions.items()
            }
            params["judge"]["endpoint"], settings = endpoint_params(config, judge.endpoint)
        inputs[f"judge {name}"] = Node(
            "judgments", name, params, {"conversations": pairs}, settings
        )
    params, settings = {"dimensions": list(judging.dimensions), "merger": None}, Settings()
    if judging.merger is not None:
        params |= asking
        params["merger"], settings = endpoint_params(config, judging.merger)
    return Node("ratings", "merged", params, inputs, settings)


def task_node(config: Experiment, contents: dict[str, str], ratings: Node | None) -> Node:
    """The labelled texts."""
    section = config.task
    source = section.source
    params: dict[str, Any] = {
        "source": source.model_dump(), "columns": {}, "labels": section.labels,
        "rows": section.rows.model_dump(), "split": None,
        "scale": section.scale and section.scale.model_dump(),
    }  # fmt: skip
    settings = Settings()
    inputs = {"ratings": ratings} if ratings else {}
    if isinstance(source, TwoHop):
        params["columns"] = {"reasoning": "reasoning"}
    elif isinstance(source, Judged):
        params["columns"] = JUDGED
    elif not isinstance(source, GeneratedTask):
        params["columns"] = section.columns.model_dump()
        cut = [split for split in ("validation", "test") if getattr(source, split) is None]
        if cut:
            params["split"] = section.split.model_dump(include={*cut, "seed"})
    if params["split"] is None and any(params["rows"].values()):
        params["split"] = {"seed": section.split.seed}
    if isinstance(source, TaskFiles):
        splits = source.model_dump(exclude={"kind"})
        hashes = {split: contents.get(f"task.source.{split}") for split in splits}
        params["source"] = {"kind": "files"} | hashes
        read = {path: contents[f"task.source.{split}"] for split, path in splits.items() if path}
        settings = Settings(splits=splits, contents=read)
    return Node("task", short_name(source), params, inputs, settings)


def triples_node(config: Experiment, contents: dict[str, str]) -> Node | None:
    """What the reasoner learns from, if anything."""
    section = config.triples
    if section is None:
        return None
    params: dict[str, Any] = section.model_dump()
    settings = Settings()
    if isinstance(section.source, GeneratedTriples):
        del params["columns"]
    if isinstance(section.source, TripleFiles):
        paths = section.source.paths
        hashes = [contents[f"triples.source.paths[{index}]"] for index in range(len(paths))]
        params["source"] = {"kind": "files", "files": hashes}
        settings = Settings(files=paths, contents=dict(zip(paths, hashes, strict=True)))
    return Node("triples", short_name(section.source), params, settings=settings)
