"""A true Slurm of one node on loopback, from Debian's packages, without systemd or accounting."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from patience import wait_until

CONFIG = Path("/etc/slurm/slurm.conf")  # jobs find no other
OURS = "# of the tests of reasoning-infused; it goes with them\n"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
SETTINGS = """ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AuthInfo=cred_expire=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MinJobAge=600
KillWait=60
SchedulerParameters=sched_interval=2,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=urgent Nodes={host} PriorityTier=9 MaxTime=INFINITE State=UP
"""


def lacking() -> str | None:
    """Why no cluster can be started here, if so."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"Slurm is not installed ({', '.join(missing)}): make test-slurm"
    if os.geteuid() != 0:
        return "a cluster of one node is started by root alone"
    if CONFIG.exists() and not CONFIG.read_text().startswith(OURS):
        return f"this machine has a Slurm of its own: {CONFIG}"
    return None


@contextmanager
def cluster(root: Path) -> Iterator[None]:
    """A cluster that runs while this does; its state and logs lie in `root`."""
    for folder in ("state", "spool"):
        (root / folder).mkdir(parents=True)
    CONFIG.parent.mkdir(exist_ok=True)
    cores = max(os.cpu_count() or 1, 2)
    CONFIG.write_text(OURS + SETTINGS.format(host=host(), root=root, cores=cores))
    signed = subprocess.run(["munge", "-n"], capture_output=True, check=False)
    keys = None if signed.returncode == 0 else _munged()
    try:
        with _known(host()):
            start_controller()
            start_node()
            yield
    finally:
        for name in ("slurmctld", "slurmd"):
            stop(root / f"{name}.pid")
        _end_jobs()
        if keys:
            stop(keys)
        CONFIG.unlink()


def host() -> str:
    """The name of this machine, and of the node."""
    return socket.gethostname().split(".")[0]


def start_controller() -> None:
    """Start the controller; it goes on from the state that the last one left."""
    subprocess.run(["slurmctld"], check=True)


def start_node() -> None:
    """Start what runs jobs on the node, and wait until the controller knows of it."""
    subprocess.run(["slurmd"], check=True)
    wait_until(lambda: re.search(r"(idle|mixed|allocated)$", said("sinfo", "-h", "-o", "%T"), re.M))


def crash_node(root: Path) -> None:
    """End all of Slurm and of its jobs on the node at once, as where its power fails."""
    jobs = set(_of_jobs())
    parents = {_status(process).parent for process in jobs}
    keepers = {process for process in parents if _status(process).name == "slurmstepd"}
    for process in [int((root / "slurmd.pid").read_text()), *keepers, *jobs]:
        _kill(process)
    told = f"NodeName={host()}", "State=DOWN", "Reason=crashed"
    subprocess.run(["scontrol", "update", *told], check=True)


def stop(file: Path) -> None:
    """End the process whose number a file holds, and wait for its end."""
    if not file.exists():
        return
    number = int(file.read_text())
    os.kill(number, signal.SIGTERM)
    wait_until(lambda: not alive(number))


def alive(process: int) -> bool:
    """Whether a process is there, and not only its number until its parent has asked for it."""
    return _status(process).state != "Z"


class Script(NamedTuple):
    """A script of the workflow that runs in a job: its process, the job, and what it makes."""

    process: int
    job: str
    id: str


def running(stage: str) -> Iterator[Script]:
    """The scripts of a stage that run in jobs."""
    for process in _of_jobs():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
            if words[1:2] == [f"scripts/{stage}.py"] and alive(process):
                environ = Path(f"/proc/{process}/environ").read_text().split("\0")
                job = next(pair for pair in environ if pair.startswith("SLURM_JOB_ID="))
                yield Script(process, job.partition("=")[2], Path(words[2]).stem)


def clear() -> None:
    """End all jobs, and wait until the node is free."""
    subprocess.run(["scancel", "-u", "root"], check=False)
    _end_jobs()
    wait_until(lambda: "idle" in said("sinfo", "-h", "-o", "%T"))


def _end_jobs() -> None:
    """Without control groups, Slurm loses sight of some of a job's processes."""
    for process in _of_jobs():
        _kill(process)


def _of_jobs() -> Iterator[int]:
    """The processes of all jobs."""
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if b"SLURM_CLUSTER_NAME=tests\0" in environ.read_bytes():
                yield int(environ.parent.name)


class Status(NamedTuple):
    """Name, state and parent of a process."""

    name: str
    state: str
    parent: int


GONE = Status("", "Z", 0)


def _status(process: int) -> Status:
    """What a process is; that it is gone, where it is."""
    try:
        before, _, after = Path(f"/proc/{process}/stat").read_text().rpartition(")")
    except OSError:
        return GONE
    state, parent, *_ = after.split()
    return Status(before.partition("(")[2], state, int(parent))


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def said(*command: str) -> str:
    """What a command of Slurm prints; "" while the controller does not answer."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@contextmanager
def _known(host: str) -> Iterator[None]:
    """Let the machine's name lead to itself, where it does not, as long as this goes on."""
    hosts = Path("/etc/hosts")
    before = hosts.read_text()
    if re.search(rf"\b{re.escape(host)}\b", before):
        yield
        return
    line = f"127.0.0.1 {host} {OURS}"
    hosts.write_text(before + line)
    try:
        yield
    finally:
        hosts.write_text(hosts.read_text().replace(line, ""))


def _munged() -> Path:
    """Start what signs Slurm's messages; the file that holds its process's number."""
    place = Path("/run/munge")
    place.mkdir(mode=0o755, exist_ok=True)
    shutil.chown(place, "munge")
    user = ["setpriv", "--reuid", "munge", "--regid", "munge", "--clear-groups"]
    subprocess.run([*user, shutil.which("munged") or "munged"], check=True)
    return place / "munged.pid"
