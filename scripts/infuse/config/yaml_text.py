"""What YAML makes of a config's text without a word, and was not meant.

YAML 1.1, which Snakemake reads, takes 010 for 8 and 1:30 for 90, and of a key that stands twice
the last.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from infuse.config.messages import refusal, shown

_OLD = re.compile(r"[-+]?(0[0-9_]+|[0-9_]+(:[0-5]?[0-9])+(\.[0-9_]*)?)")  # base 8, base 60
_PLAIN = re.compile(r"-?(0|[1-9][0-9]*)")
_LABELS = "task.labels["
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built


class _Line(yaml.SafeDumper):
    """Writes texts in double quotes, which hold no line break."""


_Line.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


def check(files: Iterable[str | Path]) -> None:
    """Refuse config files in which a key stands twice, or a number is not what is written.

    Whoever reads a file as YAML tells what can't be read.

    Raises:
        UserError: one line for each.
    """
    mistakes = []
    for file in map(Path, files):
        try:
            tree = yaml.compose(file.read_text(encoding="utf-8"), Loader=_Loader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        if tree is not None:
            mistakes += [f"{file.name}, {line}" for line in _misread(tree, "", set())]
    if mistakes:
        raise refusal(mistakes)


def flow(value: object) -> str:
    """A value as one line of YAML, which YAML 1.1 reads as that value again."""
    text = yaml.dump(
        value, Dumper=_Line, default_flow_style=True, width=math.inf, allow_unicode=True
    )
    return str(text).removesuffix("...\n").strip()


def _misread(node: yaml.Node, where: str, above: set[int]) -> Iterator[str]:
    if id(node) in above:  # an alias of what it stands in
        return
    above = above | {id(node)}
    if isinstance(node, yaml.ScalarNode):
        yield from _number(node, where)
    elif isinstance(node, yaml.SequenceNode):
        for index, part in enumerate(node.value):
            yield from _misread(part, f"{where}[{index}]", above)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            below = f"{where}.{key.value}".lstrip(".") if isinstance(key.value, str) else where
            line = key.start_mark.line + 1
            if isinstance(key.value, str) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in lines:
                    yield f"line {line}: {below} stands in line {lines[key.value]} already"
                lines[key.value] = line
                yield from _number(key, f"the key {below}")
            yield from _misread(value, below, above)


def _number(node: yaml.ScalarNode, where: str) -> Iterator[str]:
    """A number that nobody would write so; for a label, any but plain digits."""
    if node.style or node.tag not in (  # a style is that of quotes
        "tag:yaml.org,2002:int", "tag:yaml.org,2002:float",
    ):  # fmt: skip
        return
    a_label = where.startswith(_LABELS) and node.tag.endswith("int")
    if _OLD.fullmatch(node.value) or (a_label and not _PLAIN.fullmatch(node.value)):
        number = shown(yaml.safe_load(node.value))
        line = node.start_mark.line + 1
        yield (
            f"line {line}: {where}: YAML takes {node.value} for the number {number}"
            " (put quotes around it)"
        )
