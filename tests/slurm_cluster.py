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
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MinJobAge=600
KillWait=60
SchedulerParameters=sched_interval=2,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
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
    host = socket.gethostname().split(".")[0]
    for folder in ("state", "spool"):
        (root / folder).mkdir(parents=True)
    _known(host)
    CONFIG.parent.mkdir(exist_ok=True)
    CONFIG.write_text(
        OURS + SETTINGS.format(host=host, root=root, cores=max(os.cpu_count() or 1, 2))
    )
    signed = subprocess.run(["munge", "-n"], capture_output=True, check=False)
    keys = None if signed.returncode == 0 else _munged()
    try:
        start_controller()
        subprocess.run(["slurmd"], check=True)
        wait_until(lambda: "idle" in said("sinfo", "-h", "-o", "%T"))
        yield
    finally:
        for name in ("slurmctld", "slurmd"):
            stop(root / f"{name}.pid")
        _end_jobs()
        if keys:
            stop(keys)
        CONFIG.unlink()


def start_controller() -> None:
    """Start the controller; it goes on from the state that the last one left."""
    subprocess.run(["slurmctld"], check=True)


def stop(file: Path) -> None:
    """End the process whose number a file holds, and wait for its end."""
    if not file.exists():
        return
    number = int(file.read_text())
    os.kill(number, signal.SIGTERM)
    wait_until(lambda: not _alive(number))


def _alive(process: int) -> bool:
    """Whether a process is there, and not only its number until its parent has asked for it."""
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def _end_jobs() -> None:
    """End what a cancelled job has left: without control groups, Slurm loses sight of some."""
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if b"SLURM_CLUSTER_NAME=tests\0" in environ.read_bytes():
                os.kill(int(environ.parent.name), signal.SIGKILL)


def said(*command: str) -> str:
    """What a command of Slurm prints; "" while the controller does not answer."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def jobs() -> set[str]:
    """The numbers of the jobs that run."""
    return set(said("squeue", "-h", "-t", "R", "-o", "%A").split())


def _known(host: str) -> None:
    hosts = Path("/etc/hosts")
    if not re.search(rf"\b{re.escape(host)}\b", hosts.read_text()):
        with hosts.open("a") as file:
            file.write(f"127.0.0.1 {host}\n")


def _munged() -> Path:
    """Start what signs Slurm's messages; the file that holds its process's number."""
    place = Path("/run/munge")
    place.mkdir(mode=0o755, exist_ok=True)
    shutil.chown(place, "munge")
    user = ["setpriv", "--reuid", "munge", "--regid", "munge", "--clear-groups"]
    subprocess.run([*user, shutil.which("munged") or "munged"], check=True)
    return place / "munged.pid"
