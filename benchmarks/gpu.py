"""How fast does one GPU train? Ours, fast and deterministic, against the Hugging Face Trainer.

Run as: python benchmarks/gpu.py [--lengths NAME ...] [--sides NAME ...] [--warm-up 10] [--steps 30]

Llama-3.2-1B's shapes with random weights, full fine-tuning in bfloat16 on random tokens, all of
them targets. It needs torch and transformers alone; the Trainer's rows need accelerate, too. Prints
a Markdown table; the last line is one JSON object. Tokens are real ones, never padding.
"""

from __future__ import annotations

import argparse
import functools
import gc
import inspect
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import numpy as np
import torch
import transformers
from torch.nn.attention import varlen
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, TrainerCallback

if "enable_gqa" not in inspect.signature(varlen.varlen_attn).parameters:
    # Older ones need no word for it; nor do they take one.
    def _without_word(*told: Any, plain: Any = varlen.varlen_attn, **more: Any) -> Any:
        return plain(*told, **{name: value for name, value in more.items() if name != "enable_gqa"})

    varlen.varlen_attn = _without_word

from infuse.config.compute import Compute
from infuse.config.recipe import Recipe, TokenBatching
from infuse.data.examples import Documents
from infuse.models import loading, shapes
from infuse.training import batching, cost_model
from infuse.training.optimizers import new_optimizer
from infuse.training.step import Engine

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SHEET, PRODUCTS = 989e12, 790e12  # FLOP/s of an H100 or H200: its data sheet; measured products
SIZES: dict[str, dict[str, Any]] = {
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
           "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
           "vocab_size": 128256, "tie_word_embeddings": True,
           "max_position_embeddings": 131072, "rope_theta": 500000.0},
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
             "vocab_size": 500, "tie_word_embeddings": True, "max_position_embeddings": 4096},
}  # fmt: skip
LENGTHS: dict[str, Callable[[np.random.Generator, int, int], Any]] = {
    "one document a window": lambda _, window, count: np.full(count, window),
    "two documents a window": lambda _, window, count: np.full(2 * count, window // 2),
    "about a sixteenth of a window": lambda drawn, window, count: drawn.integers(
        window // 24, window // 12, 17 * count
    ),
    # Texts of 10 to 80 tokens in a chat of 45, and a label.
    "emotion rows": lambda drawn, window, count: np.clip(
        drawn.gamma(3.2, 7.0, count * window // 66).astype(int) + 46, 50, 140
    ),
}
RECIPE = Recipe.model_validate({
    "epochs": 1, "max_length": 8192, "batching": {"kind": "rows", "rows": 1},
    "optimizer": "adamw", "weights": "float32", "weight_decay": 0.0, "learning_rate": 2e-5,
    "schedule": "constant", "warmup_steps": 0, "max_grad_norm": 1.0, "evaluations_per_epoch": 0,
    "tuning": {"kind": "full"},
})  # fmt: skip
Row = dict[str, Any]


def drawn_documents(name: str, size: Row, window: int, windows: int) -> Documents:
    """Random documents with lengths of this kind, about so many windows full."""
    drawn = np.random.default_rng(0)
    lengths = np.asarray(LENGTHS[name](drawn, window, windows))
    starts, rows = np.ones(len(lengths), np.int32), np.arange(len(lengths))
    return Documents(
        drawn.integers(0, size["vocab_size"], lengths.sum()).astype(np.int32),
        np.concatenate([[0], np.cumsum(lengths)]), starts, np.zeros_like(starts), starts, rows,
    )  # fmt: skip


def new_model(size: Row) -> LlamaForCausalLM:
    """Random weights, the same each time."""
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**size))


def ours(
    documents: Documents, steps: list[batching.Rows], arguments: Any, deterministic: bool
) -> tuple[list[float], list[float]]:
    """Seconds and loss of each step of our engine."""
    compute = Compute.model_validate({
        "device": DEVICE, "dtype": "bfloat16", "threads": torch.get_num_threads(),
        "layout": "packed", "micro_tokens": arguments.window, "gradient_checkpointing": "auto",
        "deterministic": deterministic, "compile": True,
    })  # fmt: skip
    recipe = RECIPE | {"weights": arguments.weights}
    loading.set_threads(compute)
    model = loading.tune(new_model(SIZES[arguments.size]), recipe, 0)
    engine = Engine(model, compute)
    model.train()
    optimizer = new_optimizer(model, recipe)
    for group in optimizer.param_groups:
        group["lr"] = recipe.learning_rate
    took, losses = [], []
    for number, rows in enumerate(steps):
        start = _now()
        losses.append(engine.step(documents, rows, recipe.max_grad_norm, number)[0])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        took.append(_now() - start)
    return took, losses


def theirs(
    documents: Documents, steps: list[batching.Rows], arguments: Any, setup: Row
) -> tuple[list[float], list[float]]:
    """The same of transformers' Trainer, on the same steps as windows of packed documents."""
    from transformers import Trainer, TrainingArguments

    loading.set_threads({"device": DEVICE, "deterministic": False, "threads": 1, "dtype": ""})
    attention = setup["attention"]
    windows = [
        part
        for rows in steps
        for part in batching.micro_batches(documents.lengths, rows, arguments.window, False)
    ]
    each = len(windows) // len(steps)
    model = new_model(SIZES[arguments.size]).to(getattr(torch, arguments.weights))
    model.set_attn_implementation(attention)

    def collate(chosen: list[int]) -> Row:
        rows = windows[chosen[0]]
        ids = np.concatenate([documents[row] for row in rows]).astype(np.int64)
        places = np.concatenate([np.arange(n) for n in documents.lengths[rows]])
        labels = np.where(places == 0, -100, ids)  # the first token of a document has no context
        parts = {"input_ids": ids, "position_ids": places, "labels": labels}
        return {name: torch.from_numpy(value)[None] for name, value in parts.items()}

    watch = _Watch()
    with tempfile.TemporaryDirectory() as folder:
        told = TrainingArguments(
            folder, max_steps=len(steps), per_device_train_batch_size=1, bf16=True,
            gradient_accumulation_steps=each, learning_rate=RECIPE.learning_rate,
            lr_scheduler_type="constant", weight_decay=0.0, max_grad_norm=RECIPE.max_grad_norm,
            logging_steps=1, save_strategy="no", report_to=[], disable_tqdm=True,
            use_cpu=DEVICE == "cpu", train_sampling_strategy="sequential",
            gradient_checkpointing=setup["recomputed"],
            gradient_checkpointing_kwargs={"use_reentrant": False} if setup["recomputed"] else None,
            torch_compile=setup["compiled"], optim="adamw_torch_fused",
        )  # fmt: skip
        trainer = Trainer(
            model, told, train_dataset=list(range(len(windows))), data_collator=collate,
            callbacks=[watch],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return watch.took, watch.losses


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Times each step of a Trainer."""

    def __init__(self) -> None:
        self.took: list[float] = []
        self.losses: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.start = _now()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.took.append(_now() - self.start)

    def on_log(self, *_: Any, logs: Row, **__: Any) -> None:
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))


def _now() -> float:
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


SIDES: dict[str, Any] = {
    "ours, fast": functools.partial(ours, deterministic=False),
    "ours, deterministic": functools.partial(ours, deterministic=True),
    "Trainer, recomputing": functools.partial(
        theirs, setup={"attention": "sdpa", "recomputed": True, "compiled": False}
    ),
    "Trainer, sdpa": functools.partial(
        theirs, setup={"attention": "sdpa", "recomputed": False, "compiled": False}
    ),
    "Trainer, flex attention, compiled": functools.partial(
        theirs, setup={"attention": "flex_attention", "recomputed": False, "compiled": True}
    ),
}


def measured(arguments: argparse.Namespace) -> Iterator[Row]:
    """One row for each kind of lengths and each side, or why there is none."""
    size = SIZES[arguments.size]
    with tempfile.TemporaryDirectory() as folder:
        LlamaConfig(**size, architectures=["LlamaForCausalLM"]).save_pretrained(folder)
        shape = shapes.shape(Path(folder), RECIPE.tuning)
    count = arguments.warm_up + arguments.steps
    for name in arguments.lengths:
        documents = drawn_documents(name, size, arguments.window, arguments.windows * count)
        packing = TokenBatching(
            kind="tokens", bin_tokens=arguments.window, bin_rows=len(documents),
            bins=arguments.windows, drop_last=True,
        )  # fmt: skip
        steps = batching.steps(documents.lengths, packing, 1, 0)[:count]
        timed = steps[-arguments.steps :]
        visited = documents.lengths[np.concatenate(timed)].astype(float)
        for side in arguments.sides:
            if DEVICE == "cuda":
                torch.cuda.reset_peak_memory_stats()
            line = {"lengths": name, "side": side, "mean_squared_over_mean": _lbar(visited)}
            try:
                took, losses = SIDES[side](documents, steps, arguments)
            except (ImportError, RuntimeError, ValueError, torch.OutOfMemoryError) as failure:
                yield line | {"failed": f"{type(failure).__name__}: {str(failure)[:200]}"}
                continue
            finally:
                gc.collect()
                torch.compiler.reset()
                if DEVICE == "cuda":
                    torch.cuda.empty_cache()
            took = took[-len(timed) :]
            tokens = visited.sum() / len(timed)
            flops = cost_model.training_flops(shape, RECIPE.tuning, documents, timed) / len(timed)
            middle = statistics.median(took)
            peak = torch.cuda.max_memory_allocated() / 2**30 if DEVICE == "cuda" else None
            yield line | {
                "tokens_a_second": tokens / middle,
                "with_padding": arguments.windows * arguments.window / middle,
                "slowest_over_median": max(took) / middle,
                "flops_a_second": flops / middle,
                "of_989": flops / middle / SHEET,
                "of_790": flops / middle / PRODUCTS,
                "peak_gib": peak,
                "losses": [round(loss, 4) for loss in losses],
            }


def _lbar(lengths: np.ndarray[Any, Any]) -> float:
    """The mean length that a token sees: sum of squares over sum."""
    return float((lengths**2).sum() / lengths.sum())


def power() -> str:
    """The GPU's power limit."""
    asked = ["nvidia-smi", "--query-gpu=power.limit", "--format=csv,noheader"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "not known"


def main() -> None:
    """Measure, print the table, then the same as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="1b")
    parser.add_argument("--lengths", nargs="+", choices=LENGTHS, default=list(LENGTHS))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--window", type=int, default=16384, help="tokens of a pass")
    parser.add_argument("--windows", type=int, default=2, help="passes of a step")
    parser.add_argument("--warm-up", type=int, default=10, help="steps that do not count")
    parser.add_argument("--steps", type=int, default=30, help="steps that are timed")
    parser.add_argument("--weights", choices=["float32", "bfloat16"], default="float32")
    arguments = parser.parse_args()
    rows = []
    columns = ("tokens/s", "with padding", "TFLOP/s", "% of 989", "% of 790", "peak GiB", "spread")
    print(f"| lengths | side | {' | '.join(columns)} |\n|{'---|' * (2 + len(columns))}")
    for row in measured(arguments):
        rows.append(row)
        if "failed" in row:
            cells = [row["failed"], *[""] * (len(columns) - 1)]
        else:
            cells = [
                f"{row['tokens_a_second']:,.0f}", f"{row['with_padding']:,.0f}",
                f"{row['flops_a_second'] / 1e12:.3g}", f"{100 * row['of_989']:.3g}",
                f"{100 * row['of_790']:.3g}",
                "" if row["peak_gib"] is None else f"{row['peak_gib']:.1f}",
                f"{row['slowest_over_median']:.2f}",
            ]  # fmt: skip
        print(f"| {row['lengths']} | {row['side']} | {' | '.join(cells)} |", flush=True)
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else platform.processor() or "cpu"
    print(json.dumps({
        "rows": rows, "arguments": vars(arguments), "device": device, "power_limit": power(),
        "date": datetime.now(UTC).date().isoformat(), "python": platform.python_version(),
        "torch": torch.__version__, "transformers": transformers.__version__,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
