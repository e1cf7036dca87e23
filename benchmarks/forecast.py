"""Does the forecast tell what jobs then take? Time and memory, told and measured, as ratios.

Run as: python benchmarks/forecast.py [--cores 1] [PART ...]    (parts: time, memory)

time: the true workflow on the default experiment; the forecast of each training and writing against
the seconds that its provenance then tells. memory: models of growing size in a process each; the
forecast against the growth of resident memory over two steps. Prints a Markdown table; the last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import numpy as np
import yaml

from infuse.config.compute import Compute
from infuse.config.recipe import Recipe

Row = dict[str, Any]
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
RECIPE = Recipe.model_validate(CONFIG["classifier"]["recipe"])
# layers, width, words, tokens of a pass, whether activations are computed again
MODELS = [
    (8, 512, 8000, 4096, False),
    (8, 512, 8000, 4096, True),
    (4, 1024, 64000, 8192, False),
    (4, 1024, 64000, 8192, True),
]


def snakemake(tree: Path, cores: int, *arguments: str) -> None:
    """One call in the copy of the workflow."""
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    said = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", str(cores), *arguments],
        cwd=tree, env=os.environ | {"PATH": paths}, text=True, capture_output=True, check=False,
    )  # fmt: skip
    if said.returncode:
        raise SystemExit(said.stdout + said.stderr)


def artifacts(tree: Path, stage: str, name: str) -> list[Path]:
    """What the forecast calls so: reasonings by their section of the config, others by theirs."""
    if stage == "reasonings":
        (spec,) = tree.glob("results/specs/arms/*.json")
        return [tree / json.loads(spec.read_text())["inputs"][f"{stage} {name}"]]
    found = tree.glob(f"results/artifacts/{stage}/{name}-*")
    return [path for path in found if re.fullmatch(rf"{name}(-seed\d+)?-\w+", path.name)]


def time_rows(cores: int) -> Iterator[Row]:
    """Seconds of each kind of training and writing of the default experiment."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        ignore = shutil.ignore_patterns("__pycache__")
        for part in ("envs", "experiments", "profiles", "report", "rules", "scripts"):
            shutil.copytree(ROOT / part, tree / part, ignore=ignore)
        for name in ("Snakefile", "config.yaml"):
            shutil.copy(ROOT / name, tree)
        snakemake(tree, cores, "--until", "training_set", "--", "all")
        snakemake(tree, cores, "costs")
        snakemake(tree, cores, "--until", "predictions", "--", "all")
        (file,) = tree.glob("results/*/forecast/*/forecast.csv")
        with file.open() as stream:
            lines = [*csv.DictReader(stream)]
        for line in lines:
            stage, name = line["what"].split(" ", 1)
            provenances = [
                json.loads((folder / "provenance.json").read_text())
                for folder in artifacts(tree, stage, name)
            ]
            expected = sum(
                int(n) * f for n, f in zip(line["h:mm:ss"].split(":"), (3600, 60, 1), strict=True)
            )
            took = sum(provenance["cost"]["seconds"] for provenance in provenances)
            what = f"{line['what']}, {line['runs']} runs"
            yield {"what": what, "unit": "s", "told": expected, "measured": took}


def memory_rows(_: int) -> Iterator[Row]:
    """MB that a training adds to a process."""
    for layers, width, words, tokens, recomputed in MODELS:
        arguments = [str(int(value)) for value in (layers, width, words, tokens, recomputed)]
        said = subprocess.run(
            [sys.executable, __file__, "--one", *arguments],
            text=True, capture_output=True, check=True,
        )  # fmt: skip
        forecast_megabytes, measured = json.loads(said.stdout.splitlines()[-1])
        how = ", recomputing" if recomputed else ""
        what = f"{layers} x {width}, {words:,} words, passes of {tokens:,} tokens{how}"
        yield {"what": what, "unit": "MB", "told": forecast_megabytes, "measured": measured}


def one_model(layers: int, width: int, words: int, tokens: int, recomputed: int) -> None:
    """Print the forecast of memory, and what two steps add to this process, in MB."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from infuse.data.examples import Documents
    from infuse.models import loading, shapes
    from infuse.training import cost_model
    from infuse.training.optimizers import new_optimizer
    from infuse.training.step import Engine

    compute = Compute.model_validate(CONFIG["compute"]) | {
        "layout": "packed", "micro_tokens": tokens, "threads": 2,
        "gradient_checkpointing": "always" if recomputed else "never",
    }  # fmt: skip
    loading.set_threads(compute)
    size = LlamaConfig(
        hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers, vocab_size=words,
        num_attention_heads=width // 64, num_key_value_heads=width // 128,
        tie_word_embeddings=True, architectures=["LlamaForCausalLM"],
    )  # fmt: skip
    count = tokens // 256
    lengths, starts = np.full(count, 256), np.ones(count, np.int32)
    documents = Documents(
        np.random.default_rng(0).integers(0, words, tokens).astype(np.int32),
        np.concatenate([[0], np.cumsum(lengths)]), starts, np.zeros_like(starts), starts,
        np.arange(count),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        size.save_pretrained(folder)
        shape = shapes.shape(Path(folder), RECIPE.tuning)
        computed = cost_model.memory(shape, Path(folder), compute, RECIPE, bool(recomputed), tokens)
    before = _resident()
    model = loading.tune(LlamaForCausalLM(size), RECIPE, 0)
    engine = Engine(model, compute)
    model.train()
    optimizer = new_optimizer(model, RECIPE)
    for step in range(2):
        engine.step(documents, np.arange(count), 1.0, step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([computed / 1e6, (peak - before) * 1.048576]))


def _resident() -> float:
    """MiB that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Run the parts, print the table, then the same as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", default=["time", "memory"])
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--one", nargs=5, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one_model(*arguments.one)
        return
    rows = []
    print("| what | told | measured | unit | told / measured |\n|---|---|---|---|---|", flush=True)
    for part in arguments.parts:
        for row in globals()[f"{part}_rows"](arguments.cores):
            rows.append(row | {"ratio": row["told"] / row["measured"]})
            cells = [f"{row['told']:,.0f}", f"{row['measured']:,.0f}", row["unit"]]
            print(f"| {row['what']} | {' | '.join(cells)} | {rows[-1]['ratio']:.2f} |", flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
