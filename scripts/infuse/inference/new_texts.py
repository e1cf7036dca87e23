"""New texts and a trained classifier: its label, probabilities and reasoning for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from scipy.special import softmax

from infuse.config.compute import Arithmetic
from infuse.config.reasonings import Decoding
from infuse.core.manifest import check
from infuse.inference.classification import Reader
from infuse.inference.form import Form


def opened(
    folder: Path, backend: str = "transformers", device: Literal["cpu", "cuda"] | None = None
) -> Reader:
    """The classifier in a folder.

    Args:
        device: None: cuda where there is one.

    Raises:
        UserError: the folder holds none, or a file of it is missing or has changed.
    """
    Form.load(folder)  # another kind of folder is called that, and not damaged
    check(folder)
    compute = Arithmetic(
        device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
        dtype="float32", threads=torch.get_num_threads(), deterministic=True,
    )  # fmt: skip
    return Reader(folder, backend, compute)


def answers(
    reader: Reader, texts: Sequence[str], max_new_tokens: int, first: int = 0
) -> list[dict[str, Any]]:
    """One answer for each text: text, label, probabilities, reasoning, outcome.

    docs/own-data.md tells what they hold.

    Args:
        first: how many texts came before these.
    """
    prompts = reader.prompts(texts)
    asked = [row for row, text in enumerate(texts) if text.strip()]
    rows = [first + row for row in asked]
    decoding = Decoding(max_new_tokens=max_new_tokens)
    read = reader.read([prompts[row] for row in asked], rows, decoding)
    answers = dict(zip(asked, read, strict=True))
    lines = []
    for row, text in enumerate(texts):
        line: dict[str, Any] = {"text": text, "label": None, "probabilities": None, "reasoning": ""}
        if row not in answers:
            lines.append(line | {"outcome": "no_text"})
            continue
        answer, _, scores, _ = answers[row]
        line |= {"label": answer.predicted or None, "reasoning": answer.reasoning}
        if len(scores):
            chances = softmax(scores).round(6).tolist()
            line["probabilities"] = dict(zip(reader.form.labels, chances, strict=True))
        lines.append(line | {"outcome": answer.outcome})
    return lines
