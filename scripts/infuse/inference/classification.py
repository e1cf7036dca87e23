"""A trained classifier as its folder gives it: how it is asked, and how its answers are read."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from infuse.config.compute import Arithmetic
from infuse.config.reasonings import Decoding
from infuse.data.answers import Answer, read_answer
from infuse.data.encoder import Encoder, Ids
from infuse.data.slots import Slots
from infuse.inference import generation
from infuse.inference.backends import TransformersWriter, load_writer
from infuse.inference.form import Form
from infuse.models import loading


class Read(NamedTuple):
    """What a classifier makes of one text.

    Attributes:
        tokens: written, end token included.
        log_probabilities: float64 [labels], in nats, of each whole label and its end, after the
            classifier's own prefix: for a reasoning-first form, its own greedy reasoning. Empty
            where the answer is too_long, or was drawn.
        closed_set: the label with the largest of these, "" where there are none.
    """

    answer: Answer
    tokens: int
    log_probabilities: npt.NDArray[np.float64]
    closed_set: str


class Reader:
    """A classifier, loaded from its folder.

    Args:
        backend: what writes the free answers; the scores are always computed with transformers.
        compute: device, dtype, threads, deterministic.

    Attributes:
        model: that of transformers, in float32.
        slots: what stands around its labels.
    """

    def __init__(self, folder: Path, backend: str, compute: Arithmetic) -> None:
        self.form = Form.load(folder)
        device = loading.set_threads(compute)
        self._encoder = Encoder(loading.load_tokenizer(folder), **self.form.chat)
        self._ends = {self._encoder.end_of_turn, *loading.ends(folder)}
        self._writer = None if self._head else load_writer(backend, folder, compute)
        self.model = getattr(self._writer, "model", None)
        if self.model is None:
            load = loading.load_head if self._head else loading.load_model
            self.model = load(folder).to(device).eval()
        most = loading.positions(self.model)
        most = min(most, getattr(self._writer, "positions", most))
        form = self.form
        self.slots = Slots(self._encoder, form.labels, form.target, form.separator, most)

    def prompts(self, texts: Sequence[str]) -> list[Ids]:
        """The tokens that ask for each text's label."""
        return self._encoder.chats(texts)

    def read(self, prompts: Sequence[Ids], rows: Sequence[int], decoding: Decoding) -> list[Read]:
        """An answer to each prompt, and where it is greedy a score for each label.

        A prompt that leaves no place for a label is not asked. An answer ends, unfinished, at the
        last position.
        """
        fit = [place for place, prompt in enumerate(prompts) if self.slots.room(prompt) >= 0]
        asked = [prompts[place] for place in fit]
        answers = self._ask(asked, [rows[place] for place in fit], decoding) if asked else []
        read = dict(zip(fit, answers, strict=True))
        return [
            read.get(place) or Read(Answer("", "", "", "too_long"), 0, np.empty(0), "")
            for place in range(len(prompts))
        ]

    def _ask(self, prompts: Sequence[Ids], rows: Sequence[int], decoding: Decoding) -> list[Read]:
        if self._writer is None:
            by_class = generation.score_classes(self.model, prompts)
            said = [self.form.labels[int(place)] for place in by_class.argmax(1)]
            return [
                Read(Answer(label, "", label, "answered"), 0, score, label)
                for label, score in zip(said, by_class, strict=True)
            ]
        scores: npt.NDArray[np.float64] | None = None
        if isinstance(self._writer, TransformersWriter) and self.form.target != "reason_label":
            written, scores = generation.continue_and_score(
                self.model, prompts, rows, self._ends, decoding, self.slots.endings
            )
        else:
            written = self._writer.write(prompts, rows, self._ends, decoding)
        form = self.form
        answers = [
            read_answer(
                self._encoder.text(output.tokens),
                output.finish,
                form.labels,
                form.target,
                form.separator,
            )
            for output in written
        ]
        tokens = [len(output.tokens) + (output.finish == "stop") for output in written]
        if decoding.temperature:
            return [Read(*both, np.empty(0), "") for both in zip(answers, tokens, strict=True)]
        if scores is None:
            prefixes = self._prefixes(prompts, [answer.reasoning for answer in answers])
            scores = generation.score_endings(self.model, prefixes, self.slots.endings)
        return [
            Read(answer, count, score, form.labels[int(score.argmax())])
            for answer, count, score in zip(answers, tokens, scores, strict=True)
        ]

    def before_labels(
        self, prompts: Sequence[Ids], reasonings: Sequence[str]
    ) -> tuple[list[Ids], Ids]:
        """All that stands before the first token that tells labels apart, and that token of each.

        Tokens with which every label begins stand before it: a tokenizer that opens each text with
        a space of its own would show nothing else. Labels may still share their token.

        Args:
            reasonings: what the classifier itself wrote after each prompt.
        """
        places = list(zip(*self.slots.endings, strict=False))[:-1]
        equal = itertools.takewhile(lambda tokens: len(set(tokens)) == 1, places)
        common = [token for token, *_ in equal]
        prefixes = [prefix + common for prefix in self._prefixes(prompts, reasonings)]
        return prefixes, [ending[len(common)] for ending in self.slots.endings]

    def _prefixes(self, prompts: Sequence[Ids], reasonings: Sequence[str]) -> list[Ids]:
        """All that stands before a label: where reasonings come first, they and the separator.

        Of a reasoning that leaves no place for a label, its beginning.
        """
        if self.form.target != "reason_label":
            return list(prompts)
        return [
            prompt + reason[: max(self.slots.room(prompt), 0)] + self.slots.between
            for prompt, reason in zip(prompts, self._encoder.plain(reasonings), strict=True)
        ]

    @property
    def _head(self) -> bool:
        """Whether it gives labels by a linear head and writes nothing."""
        return self.form.target == "head"
