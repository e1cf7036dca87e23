"""One training on several processes, each with a GPU or some threads of its own.

`torchrun` starts them and tells each its rank. All take the same steps of the same rows. A step's
forward passes are dealt out among them, and torch.distributed adds up the gradients. So a step has
the same loss as on one rank, but for rounding. What rank 0 writes is kept.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
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
            device: on which the model lies; where it is sharded, its parts will lie there, and its
                weights are taken from rank 0.
        """
        if self.count == 1:
            return model
        if not self.sharded:
            from torch.nn.parallel import DistributedDataParallel

            return DistributedDataParallel(
                model, forward_sync_buffers=False, gradient_as_bucket_view=True
            )
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        # Weights in 4 bits lie on the device of each rank: they can't be loaded without it.
        dealt = all(weight.is_floating_point() for weight in model.parameters())
        whole: list[torch.Tensor] = []

        def form(value: torch.Tensor) -> torch.Tensor:
            if self.rank == 0:
                whole.append(value.cpu())
            return value.to("meta")

        if dealt:
            _replace(model, form)
        mesh = init_device_mesh(device, (self.count,))
        for part in [*layers, model]:
            fully_shard(part, mesh=mesh)
        if dealt:
            whole.reverse()
            _replace(model, lambda value: self._deal(value, whole, device))
        return model

    def _deal(self, value: torch.Tensor, whole: list[torch.Tensor], device: str) -> torch.Tensor:
        """This rank's part of a weight, or all of a buffer, of rank 0's last whole tensor."""
        if not hasattr(value, "to_local"):
            first = self.rank == 0
            buffer = whole.pop().contiguous() if first else torch.empty_like(value, device="cpu")
            dist.broadcast(buffer, 0)
            return buffer.to(device)
        own = torch.empty_like(value.to_local(), device="cpu")
        if self.rank == 0:
            parts = whole.pop().chunk(self.count)
            for rank, part in enumerate(parts[1:], 1):
                dist.send(part.contiguous(), rank)
            own.copy_(parts[0])
        elif own.numel():  # a weight may have fewer rows than there are ranks
            dist.recv(own, 0)
        return _part(own, value)


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


def full(value: torch.Tensor) -> torch.Tensor:
    """A tensor of which each rank has a part, as a whole on each."""
    whole: torch.Tensor = getattr(value, "full_tensor", lambda: value)()
    return whole


def kept(value: torch.Tensor) -> torch.Tensor:
    """A tensor of which each rank has a part, as a whole in the host's memory of rank 0.

    Other ranks get its form alone, on the meta device. All must ask for it. A tensor that is whole
    already is given back.
    """
    return full(value).to(_host()) if hasattr(value, "full_tensor") else value


def like(value: torch.Tensor, model: torch.Tensor) -> torch.Tensor:
    """A whole tensor of the host's memory, in parts as another one is."""
    if not hasattr(model, "device_mesh"):
        return value.to(model.device)
    mesh: Any = model.device_mesh
    parts, rank = value.chunk(mesh.size()), mesh.get_local_rank()
    own = parts[rank] if rank < len(parts) else value[:0]
    return _part(own.clone(), model)  # a view would keep the whole


def gather(module: torch.nn.Module) -> None:
    """Make a sharded model an ordinary one again, whole in the host's memory of rank 0.

    The other ranks have its form alone, on the meta device.
    """
    from torch.distributed.fsdp import FSDPModule

    parts: list[Any] = list(module.modules())
    sharded = [part for part in parts if isinstance(part, FSDPModule)]
    for part in sharded:
        part.reshard()
    _replace(module, _gathered)
    for part in parts:
        if getattr(part, "quant_state", None) is not None:
            part.quant_state.to("cpu")
    for part in sharded:
        part.__class__ = type(part).__bases__[1]  # whose `to` knows ordinary weights


def _gathered(value: torch.Tensor) -> torch.Tensor:
    whole = kept(value).to(_host())
    if hasattr(value, "to_local"):  # FSDP's state would keep the part as long as the model lives
        value.to_local().untyped_storage().resize_(0)
    return whole


def _host() -> str:
    """Where this rank has what is whole."""
    return "cpu" if dist.get_rank() == 0 else "meta"


def _part(own: torch.Tensor, model: Any) -> torch.Tensor:
    """What a rank has of a tensor that lies on the ranks as another one does."""
    from torch.distributed.tensor import DTensor

    mesh = model.device_mesh
    return DTensor.from_local(
        own.to(mesh.device_type), mesh, model.placements,
        shape=model.shape, stride=model.stride(),
    )  # fmt: skip


def _replace(module: torch.nn.Module, other: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Put another tensor in the place of each weight and buffer; tied ones stay one."""
    made: dict[int, torch.Tensor] = {}
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, value in tensors.items():
                if value is None:
                    continue
                if id(value) not in made:
                    new = other(value.detach())
                    is_weight = isinstance(value, torch.nn.Parameter)
                    made[id(value)] = (
                        torch.nn.Parameter(new, value.requires_grad) if is_weight else new
                    )
                tensors[name] = made[id(value)]  # type: ignore[assignment]
