"""Push an experiment's training sets, reasoner and classifiers to the hub, with their cards.

Run as:
    python scripts/push.py --to NAMESPACE --configfile experiments/mine.yaml
    python scripts/push.py --to NAMESPACE --configfile experiments/mine.yaml --confirm

NAMESPACE is a user or an organization. Without --confirm nothing is sent, and a table shows what
would be. New repositories are private.
"""

import shlex
import sys

from infuse.core.errors import in_one_line
from infuse.core.render import markdown
from infuse.workflow import cli, hub_upload


def main() -> None:
    """Show what there is to push, and push it if that was confirmed."""
    parser = cli.parser(__doc__)
    parser.add_argument("--to", required=True, metavar="NAMESPACE")
    parser.add_argument("--confirm", action="store_true", help="send it")
    arguments = parser.parse_args()
    plan = cli.plan(arguments)
    absent = [node.path for node in plan.own if not hub_upload.is_here(node)]
    if absent:
        print(f"Note: not made yet, so not pushed: {', '.join(absent)}", file=sys.stderr)
    pulls = cli.pulls(arguments)
    repositories = hub_upload.repositories(plan, arguments.to, pulls)
    rows = ([r.id, r.kind, str(len(r.files)), f"{r.megabytes:.1f}"] for r in repositories)
    print(markdown(["repository", "kind", "files", "MB"], rows))
    if arguments.confirm:
        hub_upload.push(repositories)
        print(f"{len(repositories)} repositories are as they are here")
    else:
        print(f"Nothing was sent. To do it: {shlex.join(['python', *sys.argv, '--confirm'])}")


if __name__ == "__main__":
    with in_one_line(OSError):
        main()
