"""Which GPU computes, and what is refused before hours are spent."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import torch

from infuse.config.compute import Arithmetic
from infuse.core import locks
from infuse.core.errors import UserError

GIB = 2**30
SLOTS = Path(tempfile.gettempdir(), f"reasoning-infused-{os.getuid()}")  # of this machine alone
# What helps where memory is too small, given the section `compute`.
SAVING = (
    "lower compute.micro_tokens ({micro_tokens}), set compute.gradient_checkpointing to always"
    " ({gradient_checkpointing}), or recipe.optimizer to paged_adamw_8bit"
)


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


def enough(ranks: int) -> None:
    """Refuse to start more ranks on this machine than it has GPUs.

    Raises:
        UserError: it has fewer.
    """
    found = len(_visible())
    if found < ranks:
        raise UserError(f"distributed.ranks: expected a GPU for each of {ranks}, found {found}")


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


def require(compute: Arithmetic) -> None:
    """Refuse to start on a GPU that is not here, or is not up to it.

    Raises:
        UserError: torch finds no GPU, or one that has no bfloat16 where the config asks for it.
    """
    if not torch.cuda.is_available():
        raise UserError("compute.device: cuda, but torch finds no GPU here")
    if compute.dtype == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        name = torch.cuda.get_device_name()
        raise UserError(f"compute.dtype: bfloat16, but {name} has none; expected float32")
