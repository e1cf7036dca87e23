"""What tables are made of: numbers as text; and tables as files.

Shares are in percent. Means are over seeds. An interval (95 %) counts seeds and texts as draws,
where there are several seeds. What is not defined is left empty.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from infuse.core.files import write_text
from infuse.core.render import html, markdown
from infuse.data.answers import OUTCOMES
from infuse.evaluation.scores import Row

Table = list[dict[str, str]]
NOT_RUN = "not run"
FOUR = "{:.4f}".format  # digits of what is no share


def percent(share: float) -> str:
    """A share in percent with two decimals."""
    return f"{100 * share:.2f}"


def points(share: float) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * share:+.2f}"


def p_value(p: float) -> str:
    """A p with two digits; what is too small for a number is not 0."""
    return f"{p:.2g}" if p else "<1e-300"


def formatted(value: float | None, form: Callable[[float], str]) -> str:
    """A number as text; nothing where there is none."""
    return "" if value is None else form(value)


def mean(rows: Sequence[Row], name: str) -> float | None:
    """The mean over seeds; None where one of them has no value."""
    values = [row[name] for row in rows]
    return None if None in values else float(np.mean(values))


def mean_of(means: Sequence[Row], arm: str | None, against: str | None = "") -> Row:
    """The row of `MEANS` of an arm, or of what it has over another."""
    return next(row for row in means if (row["arm"], row["against"]) == (arm, against))


def accuracy_of(arm: str, classifiers: Sequence[Row], means: Sequence[Row]) -> dict[str, str]:
    """Accuracy, its interval and its sources, for one arm."""
    rows = [row for row in classifiers if row["arm"] == arm]
    accuracy = mean_of(means, arm)
    return {
        "accuracy %": percent(accuracy["mean"]),
        "low": percent(accuracy["low"]),
        "high": percent(accuracy["high"]),
        "by seed": " ".join(percent(row["accuracy"]) for row in rows),
        "n": str(accuracy["n"]),
        "steps": " ".join(dict.fromkeys(str(row["steps"] or "") for row in rows)),
        **{
            outcome.replace("_", " "): formatted(mean(rows, outcome), "{:g}".format)
            for outcome in OUTCOMES
        },
        "closed set %": formatted(mean(rows, "closed_set_accuracy"), percent),
    }


def plain(rows: Sequence[Row]) -> Table:
    """Rows of numbers as they are, fractions with four digits; nothing where there is none."""
    return [
        {
            name.replace("_", " "): f"{value:.4f}" if isinstance(value, float) else str(value)
            for name, value in row.items()
            if value is not None
        }
        for row in rows
    ]


def csv_text(table: Table) -> str:
    """A table as the content of a .csv file."""
    columns, cells = _laid_out(table)
    return "".join(map(_csv_line, [columns, *cells]))


def _csv_line(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)  # the line's end, "\r\n", has a lone "\r" quoted as well
    return text.getvalue().removesuffix("\r\n") + "\n"


def _laid_out(table: Table) -> tuple[list[str], list[list[str]]]:
    """The columns that any line has, and the cells of each line."""
    columns = list(dict.fromkeys(name for line in table for name in line))
    return columns, [[line.get(name, "") for name in columns] for line in table]


def write(path: Path, table: Table) -> None:
    """Write a table as .csv, .md and .html."""
    columns, cells = _laid_out(table)
    write_text(path.with_suffix(".csv"), csv_text(table))
    write_text(path.with_suffix(".md"), markdown(columns, cells))
    write_text(path.with_suffix(".html"), html(columns, cells))
