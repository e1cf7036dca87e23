"""From a state to the logits of the model: its output layer, and what the architecture adds.

Granite and Cohere scale the logits, Gemma caps them: cap * tanh(logits / cap) (arXiv 2408.00118).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from infuse.models.hf import PreTrainedModel


@dataclass(frozen=True)
class Head:
    """An output layer with all that follows it.

    Attributes:
        layer: from states to logits as they come; over a vocabulary, or over labels.
        scale: what these are multiplied with.
        cap: what their size then stays below; None: there is none.
    """

    layer: torch.nn.Module
    scale: float = 1.0
    cap: float | None = None

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """Logits [..., words] of states [..., width]."""
        logits: torch.Tensor = self.layer(states)
        if self.scale != 1:
            logits = logits * self.scale
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)


def head_of(model: PreTrainedModel) -> Head:
    """The head of a language model, or of one that gives labels, which nothing follows."""
    labels = getattr(model, "score", None)
    if labels is not None:
        return Head(labels)
    config = model.config.get_text_config()
    cap = getattr(config, "final_logit_softcapping", None)
    return Head(model.get_output_embeddings(), _scale(config), cap)


def _scale(config: object) -> float:
    """Each architecture has a word of its own; Granite and MiniCPM divide where others multiply."""
    for word in ("logit_scale", "lm_head_multiplier", "logits_scaling"):
        value = getattr(config, word, None)
        if value is not None:
            divides = getattr(config, "model_type", "").startswith(("granite", "minicpm"))
            return 1 / value if divides else float(value)
    return 1.0
