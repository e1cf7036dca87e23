"""Which chip computes: what is known of GPUs, and what is refused before hours are spent."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from infuse.core import locks
from infuse.core.errors import UserError

GIB = 2**30
SLOTS = Path(tempfile.gettempdir(), f"reasoning-infused-{os.getuid()}")  # of this machine alone
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


def claim(folder: Path = SLOTS) -> None:
    """Take one of several GPUs for this process, until it ends; to be called before CUDA starts.

    Whoever runs several jobs on a machine would otherwise have them all on its first GPU. A cluster
    that shows a job a single GPU has chosen already.

    Args:
        folder: where the machine's jobs leave their locks.

    Raises:
        UserError: others have taken all of them.
    """
    gpus = _visible()
    if len(gpus) < 2:
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    for gpu in gpus:
        if locks.take(folder / f"gpu-{gpu}"):
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            return
    raise UserError(f"all {len(gpus)} GPUs are taken: start with --resources gpu={len(gpus)}")


def _visible() -> list[str]:
    """The GPUs that this process may use."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu.strip() for gpu in named.split(",") if gpu.strip()]
    try:
        asked = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return []


def require(compute: Mapping[str, Any]) -> None:
    """Refuse to start on a GPU that is not here, or is not up to it.

    Raises:
        UserError: torch finds no GPU, or one that has no bfloat16 where the config asks for it.
    """
    if not torch.cuda.is_available():
        raise UserError("compute.device: cuda, but torch finds no GPU here")
    if compute["dtype"] == "bfloat16" and not torch.cuda.is_bf16_supported(
        including_emulation=False
    ):
        name = torch.cuda.get_device_name()
        raise UserError(f"compute.dtype: bfloat16, but {name} has none; expected float32")
