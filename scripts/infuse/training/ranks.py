"""One training on several processes, each with a GPU or some threads of its own.

`torchrun` starts them and tells each its rank. All take the same steps of the same rows. A step's
forward passes are dealt out among them, and torch.distributed adds up the gradients. So a step has
the same loss as on one rank, but for rounding. What rank 0 writes is kept.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from infuse.config.compute import Compute
from infuse.core.errors import UserError, first_line
from infuse.core.signals import Deserted
from infuse.models import gpus
from infuse.models.loading import set_threads
from infuse.training.batching import Rows
from infuse.training.sharding import shard

log = logging.getLogger("infuse")


@dataclass(frozen=True)
class Ranks:
    """A process among those of a training.

    Attributes:
        rank: 0, 1, ..., count - 1.
        sharded: whether weights, gradients and optimizer state are split over the ranks (FSDP2,
            arXiv 2304.11277); else each has all of them (DDP, arXiv 2006.15704). The whole of a
            sharded model lies nowhere but in the host's memory of rank 0.
    """

    rank: int = 0
    count: int = 1
    sharded: bool = False

    @property
    def loading(self) -> dict[str, Any]:
        """How a model is loaded here: one that is sharded has no weights but on rank 0."""
        return {"device_map": "meta"} if self.sharded and self.rank > 0 else {}

    def own(self, seed: int) -> int:
        """The seed of this rank's own draws; the first rank's are those of one alone.

        On a CPU, torch reads the last 32 bits of a seed. Steps have seeds in a row, so ranks' seeds
        lie far apart.
        """
        return seed + self.rank * 2_654_435_769

    def share(self, passes: Sequence[Rows]) -> list[tuple[Rows, bool]]:
        """The passes of this rank, and whether they count.

        All ranks get equally many, since they meet in each. A rank that has too few repeats a row,
        which does not count.
        """
        each = -(-len(passes) // self.count)
        own = [(part, True) for part in passes[self.rank :: self.count]]
        return own + [(passes[0][:1], False)] * (each - len(own))

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all ranks, the same on each."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether it is true on a rank, the same on each; no rank goes on before all are here."""
        return flag if self.count == 1 else bool(self.sum(torch.tensor([int(flag)])).item())

    def told(self, path: Path) -> Path:
        """The path that rank 0 has; no rank goes on before rank 0 is here."""
        paths = [path]
        if self.count > 1:
            dist.broadcast_object_list(paths)
        return paths[0]

    def agree(self, **facts: Any) -> None:
        """See that all ranks have the same facts.

        Raises:
            UserError: on every rank, where one has another.
        """
        every: list[dict[str, Any]] = [{}] * self.count
        dist.all_gather_object(every, facts)
        for rank, others in enumerate(every):
            for name, value in others.items():
                if value != every[0][name]:
                    raise UserError(
                        f"rank {rank} has {name} {value}, rank 0 has {every[0][name]}: all ranks"
                        " need the same environment and the same files"
                    )

    def spread(
        self, model: torch.nn.Module, layers: Iterable[torch.nn.Module], device: str
    ) -> torch.nn.Module:
        """The model so that its backward pass adds up the gradients of all ranks.

        Args:
            layers: of the model; where it is sharded, one is whole at a time.
            device: where the model lies, or will lie in parts.
        """
        if self.count == 1:
            return model
        if not self.sharded:
            from torch.nn.parallel import DistributedDataParallel

            return DistributedDataParallel(
                model, forward_sync_buffers=False, gradient_as_bucket_view=True
            )
        return shard(model, layers, device)


ALONE = Ranks()


@contextlib.contextmanager
def joined(compute: Compute, sharded: bool) -> Iterator[Ranks]:
    """Wait for all ranks that `torchrun` has started, and be one of them until the block ends.

    Raises:
        Deserted: another rank has ended.
        UserError: there are fewer GPUs than ranks.
    """
    ranks = Ranks(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")), sharded)
    if ranks.count == 1:
        yield ALONE
        return
    if compute.device == "cuda":
        gpus.enough(int(os.environ["LOCAL_WORLD_SIZE"]))
    set_threads(compute)  # it chooses the GPU, before CUDA starts
    # What ranks tell each other lies in the host's memory, gradients on the device.
    dist.init_process_group("gloo" if compute.device == "cpu" else "cpu:gloo,cuda:nccl")
    try:
        yield ranks
    except RuntimeError as failure:
        if isinstance(failure, dist.DistError) or "gloo" in str(failure):
            log.info("another rank is gone: %s", first_line(failure))
            raise Deserted from failure
        raise
    # After a failure the others must not hear of its end before the launcher does.
    dist.destroy_process_group()


@contextlib.contextmanager
def meeting(module: Any, now: bool) -> Iterator[None]:
    """Add up the gradients of all ranks in this backward pass, or leave it to a later one."""
    if hasattr(module, "set_requires_gradient_sync"):
        module.set_requires_gradient_sync(now)
        yield
    elif not now and hasattr(module, "no_sync"):
        with module.no_sync():
            yield
    else:
        yield
