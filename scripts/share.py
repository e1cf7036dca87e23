"""Publish an experiment's artifacts by DVC, or pull those that it needs.

Run as:
    python scripts/share.py publish --configfile experiments/mine.yaml
    python scripts/share.py pull    --configfile experiments/mine.yaml

The remote is DVC's: dvc remote add --default NAME URL
"""

from infuse.core.errors import in_one_line
from infuse.workflow import cli, dvc_store


def main() -> None:
    """Do what was asked, and say in one line what was done."""
    parser = cli.parser(__doc__)
    parser.add_argument("what", choices=["publish", "pull"])
    arguments = parser.parse_args()
    plan = cli.plan(arguments)
    if arguments.what == "publish":
        here = dvc_store.publish(plan, cli.pulls(arguments))
        print(f"{len(here)} artifacts are published; commit their pointers, results/**/*.dvc")
    else:
        print(f"{len(dvc_store.pull(plan))} artifacts were pulled")
        if left := dvc_store.left_behind(plan):
            print(
                f"{len(left)} more are published. Tables and figures need none of them, but"
                " results/layers.csv and results/browse.html may: dvc pull"
            )


if __name__ == "__main__":
    with in_one_line(OSError):
        main()
