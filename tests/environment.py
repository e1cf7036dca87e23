"""The conda form of the pins: made from envs/requirements.txt, kept in step by a test."""

from __future__ import annotations

from pathlib import Path

PINS = Path(__file__).parents[1] / "envs/requirements.txt"


def conda() -> str:
    """The content of envs/environment.yaml."""
    pins = [line for line in PINS.read_text().splitlines() if line and not line.startswith("#")]
    lines = [
        "# Made from requirements.txt by `make environment`.",
        "name: reasoning-infused",
        "channels: [conda-forge, nodefaults]",
        "dependencies:",
        "  - python=3.11",
        "  - pip",
        "  - pip:",
        *(f"      - {pin}" for pin in pins),
    ]
    return "\n".join(lines) + "\n"
