"""Starts the ranks of one training, on this node or on all nodes of a Slurm job."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infuse.core.errors import UserError, first_line
from infuse.core.signals import Deserted
from infuse.workflow.spec import Spec

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

PATIENCE = 600  # seconds that a rank may take to save its state
# How those ranks end that did not end of themselves.
FOLLOWING = {Deserted().code, -signal.SIGTERM, 128 + signal.SIGTERM}
ON_EACH_NODE = "INFUSE_ON_EACH_NODE"


def wanted(spec: Spec) -> bool:
    """Whether this process is to start ranks, and is none itself."""
    return spec.settings.distributed.processes > 1 and "RANK" not in os.environ


def launch(spec: Spec) -> int:
    """Run this command as all ranks of a training; its exit code.

    Each node's ranks are those of `torchrun`. Where there are several nodes, Slurm's `srun` starts
    this command on each of them.

    Raises:
        UserError: the job has another number of nodes than the config; a rank has ended.
    """
    nodes = spec.settings.distributed.nodes
    if nodes > 1 and ON_EACH_NODE not in os.environ:
        given = os.environ.get("SLURM_JOB_NUM_NODES", "1")
        if given != str(nodes):
            raise UserError(
                f"distributed.nodes: expected a Slurm job of {nodes} nodes, found {given};"
                " set the rule's resources nodes and tasks"
            )
        each = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1"]
        return subprocess.run(
            [*each, sys.executable, *sys.argv], env=os.environ | {ON_EACH_NODE: "1"}, check=False
        ).returncode
    return _ranks_of_this_node(spec)


def tell_launcher(log: logging.Logger) -> None:
    """Let errors of a rank go to the file from which the launcher reads them."""
    path = Path(os.environ["TORCHELASTIC_ERROR_FILE"])
    handler = logging.FileHandler(path, mode="w", encoding="utf-8", delay=True)
    handler.setLevel(logging.ERROR)
    handler.setFormatter(_AsTorchReads())
    log.addHandler(handler)


class _AsTorchReads(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"message": record.getMessage(), "timestamp": int(record.created)})


@contextlib.contextmanager
def left_at_once() -> Iterator[None]:
    """End a rank without Python's own end, for which threads of torch may wait, and it for them."""
    if "RANK" not in os.environ:
        yield
        return
    code: Any = 0
    try:
        yield
    except SystemExit as end:
        code = end.code
    except BaseException:
        logging.getLogger("infuse").exception("")
        code = 1
    logging.shutdown()
    os._exit(int(code or 0))


def _ranks_of_this_node(spec: Spec) -> int:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # we tell it shorter
    many = spec.settings.distributed
    config = LaunchConfig(
        min_nodes=many.nodes, max_nodes=many.nodes, nproc_per_node=many.ranks,
        run_id=spec.key, rdzv_backend="c10d", rdzv_endpoint=_meeting_place(many.nodes),
        max_restarts=0, logs_specs=DefaultLogsSpecs(), shutdown_timeout=PATIENCE,
    )  # fmt: skip
    try:
        elastic_launch(config, sys.executable)(*sys.argv)
    except SignalException as signalled:
        return 128 + signalled.sigval
    except ChildFailedError as ended:
        complaint = _complaint(ended.failures)
        if complaint is not None:
            raise UserError(complaint) from None
        return 1
    except (OSError, RuntimeError) as failure:
        raise UserError(f"the ranks did not find each other ({first_line(failure)})") from None
    return 0


def _complaint(failures: Mapping[int, ProcessFailure]) -> str | None:
    """Why the ranks ended, where rank 0 has not told it."""
    kept = "the last saved state is kept"
    own = [rank for rank, failure in failures.items() if failure.exitcode not in FOLLOWING]
    if not own:
        return f"the ranks were stopped, or lost each other; {kept}"
    # The launcher may have had to kill others, so what was told goes before what was not.
    rank = min(own, key=lambda rank: (failures[rank].exitcode == -signal.SIGKILL, rank))
    failure = failures[rank]
    if failure.exitcode < 0:
        return f"rank {rank} ended with signal {-failure.exitcode}; {kept}"
    return None if rank == 0 else failure.message.removeprefix("error: ")


def _meeting_place(nodes: int) -> str:
    if nodes == 1:
        return "localhost:0"
    listed = ["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]]
    names = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    port = 20_000 + int(os.environ["SLURM_JOB_ID"]) % 20_000  # one of this job alone
    return f"{names[0]}:{port}"
