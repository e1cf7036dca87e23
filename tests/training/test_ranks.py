"""A training on several processes takes the steps that it takes on one."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import tiny
from infuse.config.recipe import Full, Lora, RowBatching
from infuse.core.errors import UserError
from infuse.models import loading
from infuse.training import batching, loop, preflight
from infuse.training.checkpoints import History
from infuse.training.ranks import ALONE, Ranks, joined
from infuse.training.setup import engine_for
from infuse.training.step import Engine
from patience import PATIENCE

DOCUMENTS = tiny.random_documents(24, 2)
STEPS = batching.steps(DOCUMENTS.lengths, RowBatching(kind="rows", rows=6), 2, 1)
# No dropout: it draws by the rank, and so with another number of ranks otherwise.
LORA = tiny.LORA | {"dropout": 0.0}
LOOPBACK = {"MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}
IN_4_BITS = LORA | {"modules": ["all-linear"], "bits": 4}


@dataclass(frozen=True)
class Case:
    """A training that every rank takes part in.

    Attributes:
        base: a model's folder.
        labels: of a linear head; None: the vocabulary.
        until: the step after which all ranks die; None: none.
    """

    base: Path
    work: Path
    ranks: int
    tuning: Full | Lora = tiny.FULL
    layout: str = "packed"
    sharded: bool = False
    labels: int | None = None
    until: int | None = None

    def engine(self, ranks: Ranks) -> Engine:
        """As a training sets it up."""
        compute = tiny.COMPUTE | {"layout": self.layout, "micro_tokens": 48}
        return engine_for(self.base, tiny.tuned(self.tuning), compute, 5, self.labels, ranks=ranks)


def trained(case: Case) -> History:
    """The history of a training; its model lies in `case.work / "out"`."""

    def watch(step: int, _: Any) -> None:
        if case.until is not None and step > case.until:
            raise InterruptedError

    recipe = tiny.tuned(case.tuning) | {"evaluations_per_epoch": 1}
    with joined(tiny.COMPUTE, case.sharded) as ranks:
        engine = case.engine(ranks)
        history = loop.train(
            engine, DOCUMENTS, tiny.random_documents(5, 9), STEPS, recipe, 5, case.work, 3, watch
        )
        preflight.save(engine, tiny.tokenizer(), DOCUMENTS, case.work / "out")
    return history


class Largest(TorchDispatchMode):
    """Sees how many numbers the largest tensor has that is made, but on the meta device.

    A tensor of which there is a part (DTensor) counts as that part.
    """

    numbers = 0

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = operation(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if type(value) is torch.Tensor and not value.is_meta:
                self.numbers = max(self.numbers, value.numel())
        return made


def started(case: Case) -> tuple[int, int, set[str]]:
    """Of a start: the largest tensor that was made, and the numbers that are kept. Of what is
    gathered then: the devices. Where it is whole, it is left in `case.work`.
    """
    with joined(tiny.COMPUTE, case.sharded) as ranks:
        with Largest() as largest:
            engine = case.engine(ranks)
        shares = [getattr(weight, "_local_tensor", weight) for weight in engine.model.parameters()]
        numbers = sum(share.numel() for share in shares)
        engine.gather()
        tensors = dict(engine.model.named_parameters()) | dict(engine.model.named_buffers())
        if ranks.rank == 0:
            case.work.mkdir()
            save_file({name: value.detach() for name, value in tensors.items()}, start_of(case))
    return largest.numbers, numbers, {value.device.type for value in tensors.values()}


def start_of(case: Case) -> Path:
    return case.work / "start.safetensors"


def disagreeing(case: Case) -> str:
    """What all ranks are told, of which each has other documents."""
    documents = tiny.random_documents(5, int(os.environ.get("RANK", "0")))
    with joined(tiny.COMPUTE, False) as ranks:
        engine = Engine(tiny.model(), tiny.COMPUTE, ranks=ranks)
        with pytest.raises(UserError) as refusal:
            loop.train(engine, documents, None, STEPS, tiny.RECIPE, 5, case.work, 3)
    return str(refusal.value)


def dropped(case: Case, ranks: Ranks) -> list[bytes]:
    """What the first adapter's dropout leaves, in a step of four equal documents."""
    masks: list[bytes] = []
    documents = tiny.documents([48] * 4, [9] * 4)
    engine = case.engine(ranks)
    engine.model.train()
    dropout = next(m for m in engine.model.modules() if isinstance(m, torch.nn.Dropout) and m.p)
    dropout.register_forward_hook(lambda *call: masks.append((call[2] != 0).numpy().tobytes()))
    engine.step(documents, np.arange(4), 1.0, 7)
    return masks


def rank(place: int, tasks: Any, results: Any) -> None:
    """Take part, as one of several ranks, in what the tests ask for."""
    for task, case, port in iter(tasks.get, None):
        own = {"RANK": place, "WORLD_SIZE": case.ranks, "MASTER_PORT": port} | LOOPBACK
        os.environ.update({name: str(value) for name, value in own.items()})
        try:
            results.put((place, task(case)))
        except InterruptedError:
            results.put((place, None))
        except Exception as failure:
            results.put((place, failure))
        finally:
            if dist.is_initialized():  # a job would have ended
                dist.destroy_process_group()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class Team:
    """Processes that wait for a training; a smaller one leaves some of them out."""

    def __init__(self, size: int) -> None:
        context = tiny.forks()
        self.results: Any = context.Queue()
        self.tasks: list[Any] = [context.Queue() for _ in range(size)]
        self.members = [
            context.Process(target=rank, args=(place, queue, self.results), daemon=True)
            for place, queue in enumerate(self.tasks)
        ]
        for member in self.members:
            member.start()

    def do(self, task: Any, case: Case) -> list[Any]:
        """What each rank made of a task."""
        port = free_port()
        for queue in self.tasks[: case.ranks]:
            queue.put((task, case, port))
        answers = dict(self.results.get(timeout=PATIENCE) for _ in range(case.ranks))
        for answer in answers.values():
            if isinstance(answer, Exception):
                raise answer
        return [answers[place] for place in range(case.ranks)]


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    team = Team(4)
    yield team
    for queue in team.tasks:
        queue.put(None)
    for member in team.members:
        member.join(PATIENCE)


@pytest.fixture(scope="module", params=["llama"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model's folder: Llama's head is its embeddings, Mistral has one of its own."""
    folder = tmp_path_factory.mktemp("base")
    model = {"llama": tiny.model, "mistral": tiny.mistral}[request.param]()
    loading.save(model, tiny.tokenizer(), folder)
    return folder


def weights(case: Case) -> bytes:
    return (case.work / "out/model.safetensors").read_bytes()


def near(history: History, other: History) -> None:
    """All losses are the same but for rounding."""
    for part in ("steps", "evaluations"):
        pairs = zip(getattr(history, part), getattr(other, part), strict=True)
        for ours, theirs in pairs:
            for name, value in ours.items():
                assert value == pytest.approx(theirs[name], rel=1e-5, abs=1e-5), (part, name)


@pytest.mark.parametrize(
    ("tuning", "layout"),
    [*itertools.product([tiny.FULL, LORA], ["packed", "padded"]), (IN_4_BITS, "packed")],
    ids=lambda value: "4 bits" if value is IN_4_BITS else getattr(value, "kind", value),
)
def test_ranks_train_as_one_does(
    team: Team, base: Path, tuning: Full | Lora, layout: str, tmp_path: Path
) -> None:
    one_rank = Case(base, tmp_path / "1", 1, tuning, layout)
    alone = trained(one_rank)
    for count, sharded in ((2, layout == "padded"), (4, layout == "packed")):
        case = Case(base, tmp_path / f"{count} {sharded}", count, tuning, layout, sharded)
        histories = team.do(trained, case)
        near(histories[0], alone)
        assert all(history == histories[0] for history in histories)
        saved, own = (load_file(each.work / "out/model.safetensors") for each in (case, one_rank))
        assert saved.keys() == own.keys()
        assert all(torch.allclose(saved[name], own[name], atol=1e-4) for name in own)


def test_each_rank_draws_its_own_dropout(base: Path, tmp_path: Path) -> None:
    """As each rank would alone: what it draws depends on its place and the seed."""
    case = Case(base, tmp_path, 1, tiny.LORA)
    drawn = [dropped(case, Ranks(place, 1, False)) for place in range(4)]
    assert drawn[0] == dropped(case, ALONE)
    assert len({mask for masks in drawn for mask in masks}) == 16


@pytest.mark.parametrize("sharded", [False, True], ids=["whole", "sharded"])
def test_a_training_goes_on_with_other_ranks(
    team: Team, base: Path, sharded: bool, tmp_path: Path
) -> None:
    alone = trained(Case(base, tmp_path / "1", 1))
    work = tmp_path / "changing"
    for count, until in ((4, 4), (1, 5), (2, None)):
        case = Case(base, work, count, sharded=sharded, until=until)
        done = team.do(trained, case) if count > 1 else [interrupted(case)]
    near(done[0], alone)


def interrupted(case: Case) -> None:
    with pytest.raises(InterruptedError):
        trained(case)


@pytest.mark.parametrize("sharded", [False, True], ids=["whole", "sharded"])
def test_killed_and_resumed_the_bytes_are_the_same(
    team: Team, base: Path, sharded: bool, tmp_path: Path
) -> None:
    undisturbed = Case(base, tmp_path / "undisturbed", 2, sharded=sharded)
    team.do(trained, undisturbed)
    for until in (4, None):
        case = Case(base, tmp_path / "killed", 2, sharded=sharded, until=until)
        team.do(trained, case)
    assert weights(case) == weights(undisturbed)


@pytest.mark.parametrize(
    ("base", "tuning", "labels"),
    [("llama", tiny.FULL, None), ("mistral", LORA, None), ("llama", LORA, 3)],
    indirect=["base"],
    ids=["tied", "own head", "linear head"],
)
def test_a_sharded_start_is_that_of_one_rank_and_whole_on_the_first_alone(
    team: Team, base: Path, tuning: Full | Lora, labels: int | None, tmp_path: Path
) -> None:
    alone = Case(base, tmp_path / "1", 1, tuning, labels=labels)
    case = Case(base, tmp_path / "4", 4, tuning, sharded=True, labels=labels)
    _, every, _ = started(alone)
    first, *others = team.do(started, case)
    saved, own = (load_file(start_of(each)) for each in (case, alone))
    assert saved.keys() == own.keys()
    assert all(torch.equal(saved[name], own[name]) for name in own)
    widest = max(own.values(), key=torch.Tensor.numel)
    assert first[0] >= widest.numel() and first[2] == {"cpu"}
    for made, kept, devices in others:
        # Not even one weight was whole; each has a fourth, but for the rows that are left over.
        assert made <= -(-len(widest) // 4) * widest[0].numel()
        assert kept < 0.3 * every
        assert devices == {"meta"}


def test_ranks_with_other_data_are_refused(team: Team, base: Path, tmp_path: Path) -> None:
    said = set(team.do(disagreeing, Case(base, tmp_path, 2)))
    assert len(said) == 1
    assert said.pop().startswith("rank 1 has documents ")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_every_pass_counts_once(count: int) -> None:
    passes = [np.array([2 * place, 2 * place + 1]) for place in range(5)]
    shares = [Ranks(place, count).share(passes) for place in range(count)]
    assert len({len(share) for share in shares}) == 1
    counted = [tuple(part) for share in shares for part, counts in share if counts]
    assert sorted(counted) == [tuple(part) for part in passes]
