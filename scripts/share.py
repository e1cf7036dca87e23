"""Publish an experiment's artifacts by DVC, or pull those that it needs.

    python scripts/share.py publish --configfile experiments/mine.yaml
    python scripts/share.py pull    --configfile experiments/mine.yaml

The remote is DVC's: dvc remote add --default NAME URL
"""

import argparse
import functools
import sys
from pathlib import Path

from infuse import sharing
from infuse.config import load, merge, read_change
from infuse.errors import UserError
from infuse.interruption import join
from infuse.plan import build


def main() -> None:
    """Do what was asked, and say in one line what was done; mistakes end in exit code 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["publish", "pull"])
    parser.add_argument(
        "--configfile", type=Path, action="append", default=[],
        help="as for snakemake; without one, the default experiment",
    )  # fmt: skip
    arguments = parser.parse_args()
    try:
        if not Path("Snakefile").is_file():
            raise UserError("expected to run in the folder of the Snakefile")
        if not join(Path("results/.lock"), Path(".snakemake/locks")):
            raise UserError("another run, or a job that outlived one, is at work in this folder")
        plan = build(load(functools.reduce(merge, map(read_change, arguments.configfile), {})))
        if arguments.what == "publish":
            here = sharing.publish(plan, sharing.pull_command(arguments.configfile))
            print(f"{len(here)} artifacts are published; commit their pointers, results/**/*.dvc")
        else:
            print(f"{len(sharing.pull(plan))} artifacts were pulled")
    except (UserError, OSError) as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
