"""What scripts on a whole experiment share: its config files, its plan, mistakes in one line."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from infuse.config.experiment import load, merge, read_change
from infuse.config.revisions import pinned
from infuse.core.errors import UserError
from infuse.core.locks import join
from infuse.workflow.plan import Plan, build


def parser(description: str | None) -> argparse.ArgumentParser:
    """One that takes config files as Snakemake does."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--configfile", type=Path, action="append", default=[],
        help="as for snakemake; without one, the default experiment",
    )  # fmt: skip
    return made


def plan(configfiles: Sequence[Path]) -> Plan:
    """The plan of the experiment in this folder, while no other run is at work there.

    Raises:
        UserError: one is, or the experiment can't be meant.
    """
    if not Path("Snakefile").is_file():
        raise UserError("expected to run in the folder of the Snakefile")
    if not join(Path("results/.lock"), Path(".snakemake/locks")):
        raise UserError("another run, or a job that outlived one, is at work in this folder")
    return build(pinned(load(functools.reduce(merge, map(read_change, configfiles), {}))))


def run(main: Callable[[], None]) -> None:
    """Run `main`; a mistake ends in one line and exit code 1."""
    try:
        main()
    except (UserError, OSError) as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(1)
