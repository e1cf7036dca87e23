"""What computes a training step: a model, and the arithmetic that it runs under.

The loss of a step is the mean cross-entropy over all target tokens of the step's rows, however the
rows are laid out: padded on the right, or packed into one sequence in which attention is cut where
a document ends. Both are exact; which is faster depends on the processor.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from infuse.config.compute import Compute
from infuse.data.examples import Documents
from infuse.models.hf import GradientCheckpointingLayer, PreTrainedModel
from infuse.models.loading import backbone, whole
from infuse.training.attention import PACKED, places, rounded
from infuse.training.batching import Rows, micro_batches
from infuse.training.cross_entropy import cross_entropy
from infuse.training.ranks import ALONE, Ranks, meeting
from infuse.training.sharding import full, gather

log = logging.getLogger("infuse")


def passes(documents: Documents, rows: Rows, compute: Compute) -> list[Rows]:
    """The forward passes that a step's rows take."""
    padded = compute.layout == "padded"
    return micro_batches(documents.lengths, rows, compute.micro_tokens, padded)


def pass_size(used: int, compute: Compute) -> int:
    """Tokens of a packed pass with its padding: few sizes exist where layers are compiled."""
    if not compute.compile:
        return used
    size = rounded(used)
    return min(size, compute.micro_tokens) if used <= compute.micro_tokens else size


class _Loss(torch.nn.Module):
    """The loss of one pass, as a module: torch's distributed engines act where one is called."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        tokens: torch.Tensor,
        layout: dict[str, Any],
        states_at: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor | None,
        form: dict[str, Any],
    ) -> torch.Tensor:
        """Sum of the cross-entropy of `targets`, given the states at some places."""
        decoder, head = backbone(self.model)
        states = decoder(input_ids=tokens, use_cache=False, **layout).last_hidden_state
        return cross_entropy(states.flatten(0, 1)[states_at], head, targets, weights, **form)


@dataclass(frozen=True)
class Engine:
    """A model with the arithmetic it runs under; the model is set up for it.

    Attributes:
        compute: the config's section `compute`.
        label_weight: the share of the loss that falls on the labels' tokens; None: that of these
            tokens among all.
        ranks: the processes that share the training, of which this is one.
        label_smoothing: of a step's loss, as `cross_entropy` takes it; evaluations have none.
    """

    model: PreTrainedModel
    compute: Compute
    label_weight: float | None = None
    ranks: Ranks = ALONE
    label_smoothing: float = 0.0
    _loss: torch.nn.Module = field(init=False, repr=False)

    def __post_init__(self) -> None:
        device = self.compute.device
        model = whole(self.model if self.ranks.sharded else self.model.to(device))
        if self.compute.layout == "packed":
            model.set_attn_implementation(PACKED)
        if self.compute.gradient_checkpointing == "always":
            self._recompute()
        layers = [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]
        if self.compute.compile:
            # Layers are alike, so one of them is compiled and all of them use it: for each size of
            # a pass, number and longest length of its documents anew. These are powers of two, but
            # more than torch expects; beyond its limit it would go on with other rounding.
            torch._dynamo.config.recompile_limit = 512
            torch._dynamo.config.accumulated_recompile_limit = 4096
            torch._dynamo.config.fail_on_recompile_limit_hit = True
            for layer in layers:
                layer.compile(dynamic=False)
        object.__setattr__(self, "_loss", self.ranks.spread(_Loss(self.model), layers, device))

    def step(
        self, documents: Documents, rows: Rows, max_norm: float, seed: int
    ) -> tuple[float, float]:
        """Leave a step's clipped gradients on the weights; give mean loss and gradient norm.

        Where the GPU's memory does not suffice, activations are computed again in this step and all
        others, unless the config forbids it: that changes no value.

        Raises:
            torch.OutOfMemoryError: that does not help, or is forbidden.
        """
        try:
            return self._step(documents, rows, max_norm, seed)
        except torch.OutOfMemoryError:
            forbidden = self.compute.gradient_checkpointing != "auto" or self.ranks.count > 1
            if forbidden or self._recomputes:  # the other ranks would wait for this one
                raise
        log.info("the GPU's memory is full: activations are computed again from here on")
        self.model.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        self._recompute()
        return self._step(documents, rows, max_norm, seed)

    def _step(
        self, documents: Documents, rows: Rows, max_norm: float, seed: int
    ) -> tuple[float, float]:
        torch.manual_seed(self.ranks.own(seed))
        supervised, weights = int(documents.supervised[rows].sum()), self.weights(documents, rows)
        losses = []
        parts = self.ranks.share(self.passes(documents, rows))
        for place, (part, counts) in enumerate(parts, 1):
            with meeting(self._loss, place == len(parts)):
                part_loss = self.loss_sum(documents, part, weights, self.label_smoothing)
                loss = part_loss / supervised * counts
                # The ranks' gradients are averaged, and are to be summed.
                (loss * self.ranks.count).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(
            [weight for weight in self.model.parameters() if weight.grad is not None], max_norm
        )
        # A GPU is waited for once a step, not once a pass.
        *sums, norm_value = torch.stack([*losses, full(norm).float()]).tolist()
        total = self.ranks.sum(torch.tensor(sum(sums), dtype=torch.float64)).item()
        return total, norm_value

    def loss_sum(
        self,
        documents: Documents,
        rows: Rows,
        weights: tuple[float, float] | None = None,
        smoothing: float = 0.0,
    ) -> torch.Tensor:
        """Sum of the cross-entropy in nats over the target tokens of `rows`, in one pass.

        Args:
            weights: of each token of a label, and of each other; None: 1.
            smoothing: as `cross_entropy` takes it.
        """
        lengths, starts = documents.lengths[rows], documents.starts[rows]
        if self.compute.layout == "padded":
            width = int(lengths.max())
            inputs = np.zeros((len(rows), width), np.int64)
            for line, row in enumerate(rows):
                inputs[line, : lengths[line]] = documents[row]
            begins = np.arange(len(rows)) * width
            # Causal attention never looks right, so padding there needs no mask.
            layout: dict[str, Any] = {}
        else:
            used = int(lengths.sum())
            padding = pass_size(used, self.compute) - used
            inputs = np.zeros((1, used + padding), np.int64)
            inputs[0, :used] = np.concatenate([documents[row] for row in rows])
            begins = np.cumsum(lengths) - lengths
            laid = np.append(lengths, padding) if padding else lengths
            # Padding may be longer than the model has positions.
            positions = np.concatenate([*map(np.arange, lengths), np.zeros(padding, int)])[None]
            layout = places(laid, self.model.device) | {"position_ids": self._tensor(positions)}
        # The state at a token predicts the next, so targets are read one place earlier.
        wanted = np.concatenate(
            [
                np.arange(begin + start, begin + length)
                for begin, start, length in zip(begins, starts, lengths, strict=True)
            ]
        )
        tokens = self._tensor(inputs)
        targets = tokens.flatten()[self._tensor(wanted)]
        share = None
        if weights is not None:
            of_labels = np.concatenate([documents.is_label(row) for row in rows])
            share = self._tensor(np.where(of_labels, *weights).astype(np.float32))
        with self._autocast():
            form = {"compiled": self.compute.compile, "smoothing": smoothing}
            loss: torch.Tensor = self._loss(
                tokens, layout, self._tensor(wanted - 1), targets, share, form
            )
        return loss

    def weights(self, documents: Documents, rows: Rows) -> tuple[float, float] | None:
        """The weights for `loss_sum` by which a step's labels have `label_weight` of its loss; none
        where a step has labels alone, or no label.
        """
        if self.label_weight is None:
            return None
        every, labels = (
            int(count[rows].sum()) for count in (documents.supervised, documents.label_tokens)
        )
        if labels in (0, every):
            return None
        return self.label_weight * every / labels, (1 - self.label_weight) * every / (
            every - labels
        )

    def passes(self, documents: Documents, rows: Rows) -> list[Rows]:
        """The forward passes that `rows` take."""
        return passes(documents, rows, self.compute)

    @torch.no_grad()
    def evaluate(
        self, documents: Documents, given_up: Callable[[], bool] = lambda: False
    ) -> float | None:
        """Mean cross-entropy in nats over all target tokens; None once it is `given_up`."""
        self.model.eval()
        total, stop = 0.0, False
        for part, counts in self.ranks.share(self.passes(documents, np.arange(len(documents)))):
            stop = self.ranks.any(given_up())
            if stop:
                break
            total += self.loss_sum(documents, part).item() * counts
        self.model.train()
        every = self.ranks.sum(torch.tensor(total, dtype=torch.float64)).item()
        return None if stop else every / int(documents.supervised.sum())

    def gather(self) -> None:
        """Have the whole of a sharded model on rank 0; it can't be trained any more."""
        if self.ranks.sharded:
            gather(self._loss)

    @property
    def _recomputes(self) -> bool:
        return whole(self.model).is_gradient_checkpointing

    def _recompute(self) -> None:
        """Keep each layer's input alone, and compute the rest again where backward needs it."""
        whole(self.model).gradient_checkpointing_enable({"use_reentrant": False})

    def _tensor(self, values: np.ndarray[Any, Any]) -> torch.Tensor:
        return torch.from_numpy(values).to(self.model.device)

    def _autocast(self) -> torch.autocast:
        dtype = getattr(torch, self.compute.dtype)
        return torch.autocast(self.model.device.type, dtype, enabled=dtype != torch.float32)
