"""Does preparing triples stay small and linear? Time and memory at growing sizes, as ratios.

Run as: python benchmarks/triples.py [--rows 35000 70000] [--characters 20000] [--folder DIR]

Makes a chat-shaped parquet file of so many rows, runs `scripts/triples.py` on it and then
`scripts/tokens.py` on what that has made, each as its own process, and prints for each stage and
size, once it is done, seconds, peak resident memory, and both relative to the first size and per
row. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from infuse.core.manifest import seal

GROUP = 500
KEY = "benchmark"


def make(path: Path, rows: int, characters: int) -> None:
    """A file in the form of open-r1/Mixture-of-Thoughts, of random words."""
    random, words = np.random.default_rng(rows), np.array([f"{word} " for word in _words()], "S")
    with pq.ParquetWriter(path, _schema(), compression="zstd") as file:
        for start in range(0, rows, GROUP):
            chats = []
            for row in range(start, min(start + GROUP, rows)):
                drawn = words[random.integers(0, 5000, characters // 8)]  # all are of one length
                thought = drawn.tobytes().decode().rstrip()
                chats.append(
                    [
                        {"role": "user", "content": f"question {row}"},
                        {"role": "assistant", "content": f"<think>{thought}</think>answer {row}"},
                    ]
                )
            file.write_table(pa.table({"messages": chats}, _schema()))


def measure(folder: Path, rows: int, characters: int) -> Iterator[dict[str, Any]]:
    """Seconds of wall time and peak resident MB of one run of each stage, as it ends."""
    source = folder / "chats.parquet"
    make(source, rows, characters)
    base = folder / f"base-{KEY}"
    # Libraries that this process held would count as the stages' memory too.
    with multiprocessing.get_context("spawn").Pool(1) as apart:
        apart.apply(make_base, (base,))
    triples = {
        "params": {
            "source": {"kind": "files", "files": []},
            "columns": {"kind": "chat", "messages": "messages"},
            "train_share": 0.8, "rows": None, "max_reasoning_characters": None,
        },
        "settings": {"files": [str(source)]}, "inputs": {},
    }  # fmt: skip
    tokens = {
        "params": {"max_length": 16_384}, "settings": {"threads": 1},
        "inputs": {"base": str(base), "triples": str(folder / f"triples-{KEY}")},
    }  # fmt: skip
    size = {"rows": rows, "input_mb": rows * characters / 1e6}
    for stage, spec in (("triples", triples), ("tokens", tokens)):
        yield {"stage": stage} | size | _run(folder, stage, spec)


def make_base(folder: Path) -> None:
    """As much of a base model as a tokenizer is, of 4,000 tokens and the words of the chats."""
    from infuse.models.loading import scratch_tokenizer

    scratch_tokenizer(_words().tolist(), 4000).save_pretrained(folder)
    spec = {"stage": "base", "name": "base", "key": KEY, "facts": {}, "cost": {}, "lineage": {}}
    seal(folder, spec)


def _run(folder: Path, stage: str, spec: dict[str, Any]) -> dict[str, Any]:
    """One run of a stage."""
    spec = {
        "stage": stage, "name": f"{stage} {KEY}", "key": KEY, "version": 0, **spec,
        "output": str(folder / f"{stage}-{KEY}"), "work": str(folder / "unfinished" / stage),
    }  # fmt: skip
    (folder / "spec.json").write_text(json.dumps(spec))
    script = ROOT / f"scripts/{stage}.py"
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, script, folder / "spec.json", "--log", folder / "log"],
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit((folder / "log").read_text())
    return {
        "seconds": round(time.monotonic() - start, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
    }


def _words() -> Any:
    random = np.random.default_rng(0)
    return np.array(["".join(random.choice(list("abcdefghij"), 7)) for _ in range(5000)])


def _schema() -> pa.Schema:
    turn = pa.struct([("role", pa.string()), ("content", pa.string())])
    return pa.schema([("messages", pa.list_(turn))])


def main() -> None:
    """Measure each size in a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[35_000, 70_000])
    parser.add_argument("--characters", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="where there is room")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    print("stage    rows     MB in   seconds  peak MB  time per row x  memory x", flush=True)
    for rows in arguments.rows:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            for row in measure(Path(folder), rows, arguments.characters):
                results.append(row)
                first = next(other for other in results if other["stage"] == row["stage"])
                per_row = row["seconds"] / row["rows"] / (first["seconds"] / first["rows"])
                print(
                    f"{row['stage']:<8s} {row['rows']:<8d} {row['input_mb']:<7.0f}"
                    f" {row['seconds']:<8.1f} {row['peak_mb']:<8.0f}"
                    f" {per_row:<15.2f} {row['peak_mb'] / first['peak_mb']:.2f}",
                    flush=True,
                )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
