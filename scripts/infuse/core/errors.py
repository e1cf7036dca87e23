"""The one exception that is meant for the user's eyes, and how values stand in its words."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import difflib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

VALUE = 80  # characters of a value, or of a list of names, that a message shows
LINE = 600  # characters of a line of a message
SCREEN = 4000  # characters of a message


class UserError(Exception):
    """A mistake in the config or the data, told in one line: where, what, what was expected.

    Scripts and the Snakefile print it without a traceback and exit with a code other than 0.
    It is never longer than a screen, whatever the config or the data hold.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_bounded(message))


class UnreadError(UserError):
    """A file is there and can't be read: nothing is known of what it holds."""


@contextlib.contextmanager
def in_one_line(*others: type[Exception]) -> Iterator[None]:
    """Tell a mistake in one line on standard error, and exit with code 1.

    Args:
        others: exceptions that are a mistake too.
    """
    mistakes: tuple[type[Exception], ...] = (UserError, *others)
    try:
        yield
    except mistakes as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(1)


def _bounded(message: str) -> str:
    """At most a screen of it: long lines lose their middle, many lines their end."""
    lines = [
        line if len(line) <= LINE else f"{line[: LINE - 200]} ... {line[-190:]}"
        for line in message.split("\n")
    ]
    shown, left = list[str](), SCREEN
    for line in lines:
        left -= len(line)
        if left < 0:
            shown.append(f"  ... and {len(lines) - len(shown)} more")
            break
        shown.append(line)
    return "\n".join(shown)


def cut(text: str) -> str:
    """The beginning of a text, as much as a message shows of a value."""
    return text if len(text) <= VALUE else f"{text[:VALUE]} ..."


def quoted(value: Any) -> str:
    """A wrong value in a message; what does not print stands as its code."""
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta | decimal.Decimal):
        return f"{type(value).__name__} {value}"
    return cut(repr(value))


def counted(names: Iterable[str]) -> str:
    """Names, or a counter of them, with how often each comes: the most frequent first."""
    return ", ".join(f"{name} {count}" for name, count in Counter(names).most_common())


def few(parts: Iterable[str]) -> str:
    """The first parts of a list, as many as a message shows, and how many more there are."""
    names = [cut(part) for part in parts]
    shown, room = names[:1], VALUE - sum(map(len, names[:1]))
    for name in names[1:]:
        room -= len(name) + 2
        if room < 0:
            break
        shown.append(name)
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def meant(name: str, valid: list[str]) -> str:
    """The valid name that was probably meant, as the end of a line."""
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.7)
    return f", did you mean {close[0]!r}?" if close else ""


def not_installed(failure: Exception) -> str | None:
    """How to install a package, where its lack is the failure."""
    missing = failure.name if isinstance(failure, ModuleNotFoundError) else None
    package = (missing or "infuse").partition(".")[0]
    if package == "infuse":
        return None
    return f"{package} is not installed: pip install -r envs/everything.txt"


def first_line(error: Exception) -> str:
    """What an error of a library says first, or its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
