"""The conda forms of the pins: made from envs/*.txt, kept in step by a test.

python tests/environment.py
"""

from __future__ import annotations

from pathlib import Path

ENVS = Path(__file__).parents[1] / "envs"
FORMS = {"environment.yaml": "everything.txt", "vllm.yaml": "vllm.txt"}


def pins(file: str) -> list[str]:
    """The lines of a list of pins, those of the lists that it requires included."""
    lines = []
    for line in (ENVS / file).read_text().splitlines():
        if line.startswith("--requirement "):
            lines += pins(line.removeprefix("--requirement "))
        elif line and not line.startswith("#"):
            lines.append(line)
    return lines


def conda(form: str) -> str:
    """The content of one of `FORMS`."""
    lines = [
        f"# Made from {FORMS[form]} by `make environment`.",
        "name: reasoning-infused",
        "channels: [conda-forge, nodefaults]",
        "dependencies:",
        "  - python=3.11",
        "  - pip",
        "  - pip:",
        *(f"      - {pin}" for pin in pins(FORMS[form])),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for name in FORMS:
        (ENVS / name).write_text(conda(name))
