"""The nodes of one experiment, built on demand from its config."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from infuse.config.arms import AnyArm, Arm, roles
from infuse.config.experiment import Experiment
from infuse.config.reasonings import Asked, Column, ImportedFile, Keywords, Sampling, Written
from infuse.config.settings import Settings
from infuse.data.splits import HELD_OUT, WITHHOLDING
from infuse.data.targets import ZERO_SHOT
from infuse.workflow.compared_arms import (
    arm_params,
    arms_in_regimes,
    compared,
    sources_of_true_labels,
)
from infuse.workflow.data_nodes import ratings_node, task_node, triples_node
from infuse.workflow.local_files import path_key
from infuse.workflow.model_nodes import base_node, gathered, zero_shot_node
from infuse.workflow.node import Node, reached
from infuse.workflow.params import (
    WRITING,
    endpoint_params,
    generation_params,
    target_form,
    training_params,
    training_settings,
)


class Graph:
    """The artifacts of an experiment, up to the answers on its test texts."""

    def __init__(self, config: Experiment, contents: dict[str, str]) -> None:
        self.config, self._contents = config, contents
        self.ratings = ratings_node(config, contents)
        self.task = task_node(config, contents, self.ratings)
        self.triples = triples_node(config, contents)
        self.base = base_node(config, contents, self.task, self.triples)
        self._training_settings = training_settings(config)

    def metrics(
        self,
        arms: Mapping[str, AnyArm],
        pairs: list[list[str]],
        texts: Node | None = None,
        part: str = "",
    ) -> Node:
        """The numbers of arms, trained on `texts` or the task's own.

        Args:
            pairs: the arms that are compared.
            part: of the experiment, whose numbers these are, if not the whole's.
        """
        answers = {
            f"predictions {name}-seed{seed}": self._predictions(name, seed, texts or self.task)
            for name in arms
            if name != ZERO_SHOT
            for seed in self.config.seeds
        }
        inputs = {"task": self.task} | {
            role.replace("predictions", "classifier", 1): node.inputs["classifier"]
            for role, node in answers.items()
        }
        if ZERO_SHOT in arms:
            answers[ZERO_SHOT] = zero_shot_node(self.config, self.task)
        if texts is not None:
            inputs["training texts"] = texts
        params = {"arms": arm_params(arms), "seeds": self.config.seeds, "comparisons": pairs}
        name = "-".join(filter(None, [self.config.experiment, part]))
        return Node("metrics", name, params, inputs | answers, folder=self._folder)

    def last(self, stage: str, params: dict[str, Any], inputs: dict[str, Node]) -> Node:
        """A stage whose files people read, and find again in results/."""
        current = Settings(current=f"results/.{stage}")
        inputs = {"task": self.task} | inputs
        return Node(stage, self.config.experiment, params, inputs, current, self._folder)

    def sources(self) -> dict[str, Node]:
        """The reasonings that arms learn from, once for each section of the config."""
        arms = self.config.arms.values()
        names = dict.fromkeys(arm.reasons or "reasonings" for arm in arms if arm.reasoned)
        return {f"reasonings {name}": self._reasonings(name, self.task) for name in names}

    def regimes(self) -> dict[tuple[str, float], Node]:
        """The numbers of the compared arms in each regime; of all arms, where none are compared."""
        section = self.config.regimes
        if section is None:
            return {}
        arms = {name: self.config.arms[name] for name in arms_in_regimes(self.config)}
        pairs = [pair for pair in compared(self.config)[:1] if set(pair) <= arms.keys()]
        numbers = {}
        for kind, values in section.model_dump(exclude={"arms", "seed"}).items():
            if kind == "label_noise" and sources_of_true_labels(self.config):
                continue  # a note says so
            for value in values:
                params = {"kind": kind, "value": value, "seed": section.seed}
                texts = Node("regime", f"{kind}-{value:.15g}", params, {"task": self.task})
                numbers[kind, value] = self.metrics(arms, pairs, texts, texts.name)
        return numbers

    def quality(self, metrics: Node) -> Node:
        """Settings, held-out parts and judges of a task with a scale.

        Args:
            metrics: the numbers of all arms, whose answers it reads.
        """
        held = self.config.held_out
        parts: list[tuple[str, str, Any]] = []
        if held is not None:
            count = held.folds or 0
            parts = [("source", " + ".join(names), names) for names in held.sources or ()]
            parts += [
                ("fold", f"{number} of {count}", [number, count]) for number in range(1, count + 1)
            ]
        inputs = {
            role: node for role, node in metrics.inputs.items() if node.stage == "predictions"
        }
        for kind, name, value in parts:
            params = {"kind": kind, "value": value, "seed": 0}
            short = f"without-{kind}-{re.sub('[^A-Za-z0-9]+', '-', name)}"
            texts = Node("regime", short, params, {"task": self.task})
            inputs[f"held out {name}"] = texts
            for arm in held.arms if held else ():
                for seed in self.config.seeds:
                    role = f"without {name}: {arm}-seed{seed}"
                    inputs[role] = self._predictions(arm, seed, texts)
        if self.ratings is not None:
            inputs["ratings"] = self.ratings
        names = [[kind, name] for kind, name, _ in parts]
        params = {part: metrics.params[part] for part in ("arms", "seeds")}
        params["held_out"] = {"parts": names, "arms": held.arms if held else []}
        return self.last("quality", params, inputs)

    def layers(self) -> Node:
        """What the layers of classifiers hold; of all that have a vocabulary, or those named."""
        section = self.config.logit_lens.model_dump()
        named = section.pop("arms")
        arms = {
            name: arm
            for name, arm in self.config.arms.items()
            if (name in named if named else arm.one_answer)
        }
        inputs = {}
        for name in arms:
            for seed in self.config.seeds:
                answers = self._predictions(name, seed, self.task)
                classifier = answers.inputs["classifier"]
                params = section | {"compute": self.config.compute.model_dump(include=WRITING)}
                given = {"classifier": classifier, "predictions": answers}
                inputs[f"logit_lens {name}-seed{seed}"] = Node(
                    "logit_lens", answers.name, params, given
                )
        return self.last("layers", {"arms": arm_params(arms), "seeds": self.config.seeds}, inputs)

    def verdict(self, metrics: Node) -> Node:
        """Whether the first compared arm is better than the second.

        Args:
            metrics: the numbers of all arms.
        """
        pair = next(iter(metrics.params["comparisons"]), None)
        arms = {name: metrics.params["arms"][name] for name in pair or ()}
        runs = {f"{name}-seed{seed}" for name in arms for seed in self.config.seeds}
        inputs = {
            role: node for role, node in metrics.inputs.items() if role.split(" ")[-1] in runs
        }
        params = {"arms": arms, "seeds": self.config.seeds, "pair": pair}
        return self.last("verdict", params, inputs | ({"metrics": metrics} if pair else {}))

    def browse(self, metrics: Node) -> Node:
        """The page of all answers.

        Args:
            metrics: the numbers of all arms, whose answers it shows.
        """
        inputs = {"metrics": metrics, **metrics.inputs}
        for name in (name for name in metrics.params["arms"] if name != ZERO_SHOT):
            learned = self._training_set(self.config.arms[name], self.task)
            inputs[f"training_set {name}"] = learned
            if "reasonings" in learned.inputs:
                inputs[f"reasonings {name}"] = learned.inputs["reasonings"]
        for (stage, _), node in reached(*inputs.values()).items():
            if stage == "reasoner" or (stage == "base" and node.params["kind"] == "scratch"):
                inputs[f"{stage} {node.name}"] = node
        return self.last("browse", metrics.params, inputs)

    @property
    def _folder(self) -> str:
        return f"results/{self.config.experiment}"

    def _predictions(self, name: str, seed: int, texts: Node) -> Node:
        """What an arm, trained on `texts` with a seed, answers on the test texts."""
        vote = self.config.arms[name].vote
        params = {**self.config.prediction.model_dump(), **generation_params(self.config)}
        params |= {"vote": vote.model_dump()} if vote else {}
        test = texts if texts.params.get("kind") in HELD_OUT else self.task
        inputs = {"classifier": self._classifier(name, seed, texts), "task": test}
        return Node("predictions", self._run(name, seed, texts), params, inputs)

    def _run(self, name: str, seed: int, texts: Node) -> str:
        """What an arm's classifier and answers are called."""
        return f"{name}-{texts.name}-seed{seed}" if texts is not self.task else f"{name}-seed{seed}"

    def shown(self) -> Node:
        """The training set that table 2 looks at: that of Q->RA, or else of the first arm."""
        arms = self.config.arms
        part = roles(arms)["Q->RA"]
        return self._training_set(arms[part or next(iter(arms))], self.task)

    def _classifier(self, name: str, seed: int, texts: Node) -> Node:
        """The classifier of an arm. Arms that differ in how they are asked share one, under the
        name of the first of them, and sooner of one that is asked once.
        """
        config, arm = self.config, self.config.arms[name] | {"vote": None}
        alike = [one for one, other in config.arms.items() if other | {"vote": None} == arm]
        first = min(alike, key=lambda one: config.arms[one].vote is not None)
        params: dict[str, Any] = {
            **target_form(config, arm).model_dump(),
            "label_weight": arm.label_weight,
            "recipe": config.classifier.recipe.model_dump(),
            "seed": seed,
            "match": {},
            **training_params(config),
        }
        if arm.label_smoothing is not None:
            params["label_smoothing"] = arm.label_smoothing
        inputs = {
            "base": self._base_of(texts), "task": self.task,
            "training_set": self._training_set(arm, texts),
        }  # fmt: skip
        if arm.match is not None:
            for what, other in arm.match.model_dump(exclude={"by"}).items():
                if other is not None:
                    params["match"][what] = target_form(config, config.arms[other]).model_dump()
                    inputs[f"match {what}"] = self._training_set(config.arms[other], texts)
            params["match"] |= {"by": arm.match.by} if arm.match.steps else {}
        own = self._run(first, seed, texts)
        return Node("classifier", own, params, inputs, self._training_settings)

    def _base_of(self, texts: Node) -> Node:
        """The base model; another one where it would have read what is held out, or reasonings of
        rows that a regime withholds.
        """
        kinds = HELD_OUT + WITHHOLDING if self.base.params.get("reasoned") else HELD_OUT
        if texts.params.get("kind") in kinds and "task" in self.base.inputs:
            return base_node(self.config, self._contents, texts, self.triples)
        return self.base

    def _training_set(self, arm: Arm, texts: Node) -> Node:
        if not arm.reasoned:
            return Node("training_set", "text_label", {}, {"task": texts})
        source = arm.reasons or "reasonings"
        inputs = {"task": texts, "reasonings": self._reasonings(source, texts)}
        parts = [arm.perturb, arm.reasons, *arm.keep, "text_reasoning_label"]
        params: dict[str, Any] = {"keep": arm.keep} if arm.keep else {}
        if arm.perturb is not None:
            params["perturb"], inputs["base"] = arm.perturb, self._base_of(texts)
        return Node("training_set", "_".join(filter(None, parts)), params, inputs)

    def _reasonings(self, source: str, texts: Node) -> Node:
        """The reasonings of the section `reasonings`, or of one of `other_reasonings`.

        Texts with other labels than the task's get their own. Keywords are always those of the very
        texts, since more would tell of labels that a regime withholds.
        """
        config, inputs = self.config, {"task": self.task}
        section = config.reasons(source)
        if isinstance(section, Keywords):
            inputs = {"task": texts}
        elif texts.params.get("kind") == "label_noise" and isinstance(section, Sampling | Asked):
            inputs = {"task": texts, "known": self._reasonings(source, self.task)}
        params: dict[str, Any] = section.model_dump()
        settings = Settings()
        name = "imported"
        if isinstance(section, Sampling):
            name, params = self.base.name, params | generation_params(config)
            inputs["reasoner"] = self._reasoner if isinstance(section, Written) else self.base
            if section.prompt is not None:  # chat templates may print a date
                params["date_string"] = config.date_string
        elif isinstance(section, Asked):
            name = section.endpoint
            params["endpoint"], settings = endpoint_params(config, section.endpoint)
        elif isinstance(section, ImportedFile):
            path = params.pop("path")
            params["content"] = self._contents[path_key(source)]
            settings = Settings(path=path, contents={path: params["content"]})
        elif isinstance(section, Column | Keywords):
            name = section.kind
        whole = Node("reasonings", name, params, inputs, settings)
        sharing = isinstance(section, Sampling) and config.shards > 1
        return gathered(whole, config.shards) if sharing else whole

    @cached_property
    def _reasoner(self) -> Node:
        config = self.config
        assert self.triples is not None  # the config was refused otherwise
        tokens = Node(
            "tokens",
            self.base.name,
            {"max_length": config.reasoner.recipe.max_length},
            {"base": self.base, "triples": self.triples},
            Settings(threads=config.compute.threads),
        )
        return Node(
            "reasoner",
            self.base.name,
            config.reasoner.model_dump() | training_params(config),
            {"base": self.base, "tokens": tokens},
            self._training_settings,
            references={"task": self.task},
        )
