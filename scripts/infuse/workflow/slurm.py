"""Slurm, as far as the workflow looks at it: before the start, and when jobs have failed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from infuse.core.errors import UserError, few, meant, quoted

# As the executor's plugin tells it: the job of Snakemake, and what Slurm writes of it.
SUBMITTED = re.compile(r"^Job (\S+) has been submitted with SLURM jobid \d+ \(log: (.+)\)\.$", re.M)
# As Snakemake tells the logs of a job that failed; Slurm's is the last.
FAILED = re.compile(r"^ +log: (?:.*, )?(/.+) \(check log file\(s\) for error details\)$", re.M)
MORE_TIME = (
    "the same command goes on from the saved state; or give it more (runtime in your profile, or"
    " --set-resources RULE:runtime=MINUTES)"
)
# What stands in the log of a job that was ended, why it was, and what helps.
ENDED = [
    (
        r"exceeded memory limit|oom.kill|Out Of Memory",
        "took more memory than it asked for",
        "give it more (mem_mb in your profile, or --set-resources RULE:mem_mb=MB), or lower"
        " compute.micro_tokens",
    ),
    (r"DUE TO TIME LIMIT", "ran out of time", MORE_TIME),
    (r"DUE TO NODE FAILURE", "was on a node that failed", "the same command goes on"),
    (
        r"stopped by SIG|DUE TO PREEMPTION|CANCELLED AT",
        "was told to stop, since its time was nearly over, or it was cancelled or preempted",
        MORE_TIME,
    ),
]
OURS = re.compile(r"^\w+ \S+: error: .*$", re.M)  # what a script says of a mistake


def require(partitions: Iterable[str]) -> None:
    """Hold what jobs ask for against the Slurm that is here.

    Args:
        partitions: their names; several for a job have commas between.

    Raises:
        UserError: there is no Slurm, it does not answer, or a partition is not there.
    """
    for program in ("sbatch", "sinfo"):
        if shutil.which(program) is None:
            raise UserError(
                f"executor: slurm, but {program} is not on the path: start on a login node of your"
                " cluster, or leave the profile out"
            )
    said = subprocess.run(
        ["sinfo", "-h", "-a", "-o", "%R"], capture_output=True, text=True, check=False
    )
    if said.returncode:
        failure, *_ = said.stderr.strip().splitlines() or ["without a word"]
        raise UserError(
            f"executor: slurm, but Slurm does not answer ({failure}): ask whoever runs the cluster"
        )
    known = sorted(set(said.stdout.split()))
    for wanted in partitions:
        for name in wanted.split(","):
            if name not in known:
                expected = f"expected one of {few(known)}{meant(name, known)}"
                raise UserError(f"slurm_partition: {quoted(name)} is not there, {expected}")


def failures(run_log: str) -> Iterator[str]:
    """Why jobs of a run have failed, a line for each reason.

    A job that failed, and went well when it was submitted again, is none of them.

    Args:
        run_log: all that Snakemake has said.
    """
    last = dict(SUBMITTED.findall(run_log))  # of a job, its last submission
    failed = set(FAILED.findall(run_log))
    logs = defaultdict[str, list[str]](list)
    for path in filter(Path.is_file, (Path(log) for log in last.values() if log in failed)):
        if reason := _reason(path.read_text(encoding="utf-8", errors="replace")):
            logs[reason].append(os.path.relpath(path))
    for reason, (first, *others) in logs.items():
        yield f"{reason} ({first}{f' and {len(others)} more' if others else ''})"


def _reason(log: str) -> str | None:
    """Why a job ended, by its log; None where it says nothing of it."""
    if mistake := OURS.search(log):
        return mistake[0]
    for words, why, helps in ENDED:
        if re.search(words, log):
            return f"Slurm: a job {why}: {helps}"
    return None
