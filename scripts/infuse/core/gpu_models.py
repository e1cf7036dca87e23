"""GPUs that costs can be told for, by their data sheets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SUSTAINED = 0.45  # of a data sheet's products, where nothing was measured: 0.35-0.60 are published
GpuName = Literal["a40", "a100-40", "a100-80", "l40s", "rtx4090", "h100", "h200"]


@dataclass(frozen=True)
class GpuModel:
    """A GPU, as its data sheet tells.

    Attributes:
        memory: in GiB.
        flops: dense products in bfloat16, in TFLOP/s.
        float32_flops: products in float32, in TFLOP/s; tensor cores would round them.
        bandwidth: of the memory, in GB/s.
        watts: of the board, at most.
    """

    name: str
    memory: float
    flops: float
    float32_flops: float
    bandwidth: float
    watts: float

    def products(self, dtype: str) -> float:
        """Operations that are sustained in a second, in bfloat16 or float32."""
        return SUSTAINED * 1e12 * (self.flops if dtype == "bfloat16" else self.float32_flops)


KNOWN: dict[GpuName, GpuModel] = {
    "a40": GpuModel("NVIDIA A40", 44.7, 149.7, 37.4, 696, 300),
    "a100-40": GpuModel("NVIDIA A100 40 GB", 39.5, 312, 19.5, 1555, 400),
    "a100-80": GpuModel("NVIDIA A100 80 GB", 79.2, 312, 19.5, 2039, 400),
    "l40s": GpuModel("NVIDIA L40S", 44.7, 362, 91.6, 864, 350),
    "rtx4090": GpuModel("NVIDIA GeForce RTX 4090", 23.6, 165.2, 82.6, 1008, 450),
    "h100": GpuModel("NVIDIA H100 80 GB", 79.2, 989, 67, 3350, 700),
    "h200": GpuModel("NVIDIA H200", 139.8, 989, 67, 4800, 700),
}
