"""Files that are made from others are in step with them."""

from pathlib import Path

import environment

ROOT = Path(__file__).parents[1]


def test_conda_users_get_the_same_pins() -> None:
    """`make environment` renews the file."""
    assert (ROOT / "envs/environment.yaml").read_text() == environment.conda()


def test_every_pin_is_exact() -> None:
    pins = [line for line in environment.PINS.read_text().splitlines() if line[:1] not in ("", "#")]
    assert all(pin.count("==") == 1 for pin in pins)
    assert "torch==2.13.0" in pins
