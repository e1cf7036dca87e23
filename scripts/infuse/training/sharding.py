"""A model of which each rank has a part (FSDP2, arXiv 2304.11277), and tensors of that kind.

What is whole lies in the host's memory of rank 0. The other ranks have the form of it, on the meta
device. Weights go to them one by one, in parts. So a model may be larger than a device, and larger
than the host's memory of all ranks but the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist


def shard(
    model: torch.nn.Module, layers: Iterable[torch.nn.Module], device: str
) -> torch.nn.Module:
    """Split rank 0's model over all ranks; what the others have of it need be no more than forms.

    Weights in 4 bits are an exception: each rank has all of them on its device already, since they
    are made there.

    Args:
        layers: of the model, of which one is whole at a time.
        device: where the parts will lie.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    whole: list[torch.Tensor] = []

    def form(value: torch.Tensor) -> torch.Tensor:
        if dist.get_rank() == 0:
            whole.append(value.cpu())
        return value.to("meta")

    in_4_bits = not all(weight.is_floating_point() for weight in model.parameters())
    if not in_4_bits:
        _replace(model, form)
    mesh = init_device_mesh(device, (dist.get_world_size(),))
    for part in [*layers, model]:
        fully_shard(part, mesh=mesh)
    if not in_4_bits:
        whole.reverse()
        _replace(model, lambda value: _dealt(value, whole, device))
    return model


def _dealt(value: Any, whole: list[torch.Tensor], device: str) -> torch.Tensor:
    """The own part of a weight, or all of a buffer, from the last of rank 0's whole tensors.

    Args:
        value: its form.
    """
    first = dist.get_rank() == 0
    if not _in_parts(value):
        buffer = whole.pop().contiguous() if first else torch.empty_like(value, device="cpu")
        dist.broadcast(buffer, 0)
        return buffer.to(device)
    own = torch.empty_like(value.to_local(), device="cpu")
    if first:
        parts = whole.pop().chunk(dist.get_world_size())
        for rank, part in enumerate(parts[1:], 1):
            dist.send(part.contiguous(), rank)
        own.copy_(parts[0])
    elif own.numel():  # a weight may have fewer rows than there are ranks
        dist.recv(own, 0)
    return _part(own, value)


def full(value: torch.Tensor) -> torch.Tensor:
    """A tensor of which each rank has a part, as a whole on each."""
    whole: torch.Tensor = getattr(value, "full_tensor", lambda: value)()
    return whole


def kept(value: torch.Tensor) -> torch.Tensor:
    """A tensor of which each rank has a part, as a whole on rank 0, and elsewhere its form.

    All ranks must ask for it. A tensor that is whole already is given back.
    """
    return full(value).to(_host()) if _in_parts(value) else value


def like(value: torch.Tensor, model: torch.Tensor) -> torch.Tensor:
    """A whole tensor of the host's memory, in parts as another one is."""
    if not _in_parts(model):
        return value.to(model.device)
    parts, rank = value.chunk(dist.get_world_size()), dist.get_rank()
    own = parts[rank] if rank < len(parts) else value[:0]
    return _part(own.clone(), model)  # a view would keep the whole


def gather(module: torch.nn.Module) -> None:
    """Make a sharded model an ordinary one again: whole on rank 0, and elsewhere its form."""
    from torch.distributed.fsdp import FSDPModule

    parts: list[Any] = list(module.modules())
    sharded = [part for part in parts if isinstance(part, FSDPModule)]
    for part in sharded:
        part.reshard()
    _replace(module, _gathered)
    for part in parts:
        if getattr(part, "quant_state", None) is not None:  # what 4 bits stand for
            part.quant_state.to("cpu")
    for part in sharded:
        part.__class__ = type(part).__bases__[1]  # whose `to` knows ordinary weights


def _gathered(value: Any) -> torch.Tensor:
    whole = kept(value).to(_host())
    if _in_parts(value):  # FSDP's state would keep the part as long as the model lives
        value.to_local().untyped_storage().resize_(0)
    return whole


def _host() -> str:
    """Where this rank has what is whole."""
    return "cpu" if dist.get_rank() == 0 else "meta"


def _in_parts(value: torch.Tensor) -> bool:
    return hasattr(value, "full_tensor")


def _part(own: torch.Tensor, model: Any) -> torch.Tensor:
    """What a rank has of a tensor that lies on the ranks as another one does."""
    from torch.distributed.tensor import DTensor

    mesh, shape, stride = model.device_mesh, model.shape, model.stride()
    own = own.to(mesh.device_type)
    return DTensor.from_local(own, mesh, model.placements, shape=shape, stride=stride)


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
