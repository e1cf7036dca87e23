"""Which chip computes: what is known of GPUs, and what is refused before hours are spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from infuse.errors import UserError

GIB = 2**30
# What helps where memory is too small, given the section `compute`.
SAVING = (
    "lower compute.micro_tokens ({micro_tokens}), set compute.gradient_checkpointing to always"
    " ({gradient_checkpointing}), or recipe.optimizer to paged_adamw_8bit"
)


@dataclass(frozen=True)
class Chip:
    """A GPU, as its data sheet tells.

    Attributes:
        memory: in GiB.
        flops: dense products in bfloat16, in TFLOP/s.
        watts: of the board, at most.
    """

    name: str
    memory: float
    flops: float
    watts: float


KNOWN = {
    "a40": Chip("NVIDIA A40", 44.7, 149.7, 300),
    "a100-40": Chip("NVIDIA A100 40 GB", 39.5, 312, 400),
    "a100-80": Chip("NVIDIA A100 80 GB", 79.2, 312, 400),
    "l40s": Chip("NVIDIA L40S", 44.7, 362, 350),
    "rtx4090": Chip("NVIDIA GeForce RTX 4090", 23.6, 165.2, 450),
    "h100": Chip("NVIDIA H100 80 GB", 79.2, 989, 700),
    "h200": Chip("NVIDIA H200", 139.8, 989, 700),
}


def require(compute: Mapping[str, Any]) -> None:
    """Refuse to start where the config's chip is not.

    Raises:
        UserError: torch finds no GPU, or one that has no bfloat16 where the config asks for it.
    """
    if compute["device"] != "cuda":
        return
    if not torch.cuda.is_available():
        raise UserError("compute.device: cuda, but torch finds no GPU here")
    if compute["dtype"] == "bfloat16" and not torch.cuda.is_bf16_supported(
        including_emulation=False
    ):
        name = torch.cuda.get_device_name()
        raise UserError(f"compute.dtype: bfloat16, but {name} has none; expected float32")
