"""Tables as Markdown and as pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown whose columns are aligned, so that it reads well as plain text too."""
    from tabulate import tabulate

    head, *body = (
        [" ".join(cell.splitlines()).replace("|", "\\|") for cell in line]
        for line in (columns, *rows)
    )
    return tabulate(body, head, tablefmt="github", disable_numparse=True) + "\n"


def html(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as a page of its own; numbers stand to the right."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>\n"

    body = "".join(line(cells, "td") for cells in rows)
    body = re.sub(r"<td>([-+]?[\d.]+(?:e-?\d+)?)</td>", r"<td class=number>\1</td>", body)
    return (
        f"{_PAGE}<table>\n<thead>{line(columns, 'th')}</thead>\n<tbody>\n{body}</tbody></table>\n"
    )


_PAGE = """<!doctype html>
<meta charset="utf-8">
<style>
  body { font: 14px/1.4 system-ui, sans-serif; color: #1f2933; margin: 1.5em; background: white }
  table { border-collapse: collapse }
  th { text-align: left; border-bottom: 2px solid #2f6f9f; vertical-align: bottom }
  th, td { padding: 0.3em 0.8em 0.3em 0; max-width: 28em; overflow-wrap: break-word }
  td { border-bottom: 1px solid #e8f0f6; vertical-align: top }
  .number { text-align: right; font-variant-numeric: tabular-nums }
</style>
"""
