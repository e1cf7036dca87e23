"""GPUs that costs can be told for, by their data sheets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GpuName = Literal["a40", "a100-40", "a100-80", "l40s", "rtx4090", "h100", "h200"]


@dataclass(frozen=True)
class GpuModel:
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


KNOWN: dict[GpuName, GpuModel] = {
    "a40": GpuModel("NVIDIA A40", 44.7, 149.7, 300),
    "a100-40": GpuModel("NVIDIA A100 40 GB", 39.5, 312, 400),
    "a100-80": GpuModel("NVIDIA A100 80 GB", 79.2, 312, 400),
    "l40s": GpuModel("NVIDIA L40S", 44.7, 362, 350),
    "rtx4090": GpuModel("NVIDIA GeForce RTX 4090", 23.6, 165.2, 450),
    "h100": GpuModel("NVIDIA H100 80 GB", 79.2, 989, 700),
    "h200": GpuModel("NVIDIA H200", 139.8, 989, 700),
}
