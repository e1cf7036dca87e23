"""What decides whether a job reruns: the key of its artifact.

The key is the hash of what determines an artifact: stage, stage version, the parameters that the
stage reads, and the keys of its inputs. It stands in the artifact's path, so what exists under a
path is the right one, whatever its time stamp says; and where nothing does, the job runs.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from infuse.core.hashing import fingerprint

SCRIPTS = Path(__file__).parents[2]


def rerun_key(stage: str, params: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """12 hexadecimal digits.

    Args:
        inputs: role -> key of an input.
    """
    # Tables have arms in their order, and the first of a kind is what others are held against.
    order = [list(params["arms"])] if isinstance(params.get("arms"), Mapping) else []
    return fingerprint([stage, stage_version(stage), params, inputs, *order])


@cache
def stage_version(stage: str) -> int:
    """The integer that `scripts/<stage>.py` states as VERSION, read without importing it."""
    for line in ast.parse((SCRIPTS / f"{stage}.py").read_text(encoding="utf-8")).body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "VERSION":
            return int(ast.literal_eval(line.value))
    raise LookupError(f"scripts/{stage}.py states no VERSION")
