"""Other processors, as the switches of five libraries make this one compute.

They say which instructions torch, oneDNN, MKL, OpenBLAS and numpy compute with, and in how many
threads. The switches are of x86-64, and one that a processor does not heed changes nothing.
"""

from __future__ import annotations

AVX512 = " ".join(f"AVX512{part}" for part in ("F", "CD", "_SKX", "_CLX", "_CNL", "_ICL", "_SPR"))
PROCESSORS: dict[str, dict[str, str]] = {
    "this one": {},
    "SSE": {
        "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "MKL_CBWR": "COMPATIBLE",
        "OPENBLAS_CORETYPE": "Prescott", "NPY_DISABLE_CPU_FEATURES": f"FMA3 AVX2 {AVX512}",
    },
    "AVX": {
        "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "AVX",
        "MKL_ENABLE_INSTRUCTIONS": "AVX", "OPENBLAS_CORETYPE": "Sandybridge",
        "NPY_DISABLE_CPU_FEATURES": f"FMA3 AVX2 {AVX512}",
    },
    "AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2", "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": AVX512,
    },
    "AVX2, products as on any": {
        "ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE", "OPENBLAS_CORETYPE": "Nehalem",
    },
    "two threads": {
        "THREADS": "2", "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2",
        "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE",
    },
}  # fmt: skip
