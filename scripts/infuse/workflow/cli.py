"""What scripts on a whole experiment share: its config files, its plan, mistakes in one line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from infuse.config.experiment import load, read_change
from infuse.config.revisions import pinned
from infuse.core.errors import UserError, first_line
from infuse.core.locks import join
from infuse.workflow import dvc_store
from infuse.workflow.plan import Plan, build

ONCE = "is given twice, and all but the last would be lost: give it once, with all of them behind"


class _Once(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, _: Any = None) -> None:
        if getattr(namespace, self.dest):
            parser.error(f"{self.option_strings[0]} {ONCE}")
        setattr(namespace, self.dest, values)


def _absolute(path: str) -> Path:
    return Path(path).absolute()


def parser(description: str | None) -> argparse.ArgumentParser:
    """One that takes an experiment as Snakemake does."""
    experiment_parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    experiment_parser.add_argument(
        "--configfile", "--configfiles", type=_absolute, nargs="+", action=_Once, default=[],
        metavar="FILE", help="as for snakemake; without one, the default experiment",
    )  # fmt: skip
    experiment_parser.add_argument(
        "--config", "-C", nargs="+", action=_Once, default=[], metavar="KEY=VALUE",
        help="as for snakemake",
    )  # fmt: skip
    experiment_parser.add_argument(
        "--directory", "-d", type=_absolute, metavar="DIR",
        help="as for snakemake: where results/ is, if not here",
    )  # fmt: skip
    return experiment_parser


def once(arguments: Sequence[str]) -> None:
    """Refuse what Snakemake takes: a config option that is given twice, of which it drops one.

    Raises:
        UserError: one is.
    """
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    files = [option for option in options if option.startswith("--configf")]
    values = [
        option
        for option in options
        if option == "--config" or option.startswith(("--config=", "-C"))
    ]
    for name, times in (("--configfile", files), ("--config", values)):
        if len(times) > 1:
            raise UserError(f"{name} {ONCE}")


def changes(configfiles: Iterable[Path], values: Iterable[str]) -> list[dict[str, Any]]:
    """What an experiment changes of the default, in the order in which it does.

    Raises:
        UserError: a file or a value can't be read.
    """
    return [*map(read_change, configfiles), _values(values)]


def _values(entries: Iterable[str]) -> dict[str, Any]:
    """The change that entries KEY=VALUE of --config make; a value is read as in a file.

    Raises:
        UserError: an entry is none.
    """
    change = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals:
            raise UserError(f"--config: expected KEY=VALUE, found {entry!r}")
        try:
            change[key] = yaml.safe_load(value)
        except yaml.YAMLError as failure:
            raise UserError(f"--config {key}: not YAML ({first_line(failure)})") from None
    return change


def plan(arguments: argparse.Namespace) -> Plan:
    """The plan of the experiment that was asked for, while no other run is at work there.

    Raises:
        UserError: one is, or the experiment can't be meant.
    """
    if arguments.directory:
        os.chdir(arguments.directory)
    if not Path("results").is_dir():
        raise UserError(f"{Path.cwd()}: no folder results here; --directory names where it is")
    if not join(Path("results/.lock"), Path(".snakemake/locks")):
        raise UserError("another run, or a job that outlived one, is at work in this folder")
    files = arguments.configfile
    config = pinned(load(*changes(files, arguments.config)))
    return build(config, [file.parent for file in files])


def pulls(arguments: argparse.Namespace) -> str:
    """What a user types to have what that experiment needs."""
    return dvc_store.pull_command(arguments.configfile, arguments.config, arguments.directory)
