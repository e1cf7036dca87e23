"""One page that holds its data, its looks and its program, and loads nothing."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from pathlib import Path
from string import Template

PARTS = Path(__file__).with_name("browse")
PROGRAM = (
    "data", "dom", "state", "select", "words", "charts", "pieces", "arms", "confusion", "texts",
    "detail", "reasonings", "ratings", "about", "main",
)  # fmt: skip


def page(title: str, data: str) -> str:
    """The page, as HTML.

    Its policy lets the browser run and apply what stands here, known by its SHA-256, and load
    nothing: whatever a text of the data holds, it stays a text.

    Args:
        data: of `packing.pack`.
    """
    style = _read("style.css")
    parts = "\n".join(_read(f"{name}.js") for name in PROGRAM)
    program = f'"use strict";\n(() => {{\n{parts}\nmain().catch(failed);\n}})();\n'
    allowed = {"script-src": _hash(program), "style-src": _hash(style)}
    policy = ["default-src 'none'", *(f"{kind} '{hashed}'" for kind, hashed in allowed.items())]
    policy += ["base-uri 'none'", "form-action 'none'"]
    return Template(_read("page.html")).substitute(
        title=escape(title), policy="; ".join(policy), style=style, program=program, data=data
    )


def _read(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
