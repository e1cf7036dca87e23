"""Files that are made from others are in step with them."""

import pytest

import pins


@pytest.mark.parametrize("form", pins.FORMS)
def test_conda_users_get_the_same_pins(form: str) -> None:
    """`make environment` renews the files."""
    assert (pins.ENVS / form).read_text() == pins.conda(form)


def test_every_pin_is_exact() -> None:
    for file in pins.ENVS.glob("*.txt"):
        assert all(pin.count("==") == 1 for pin in pins.pins(file.name))
    assert "torch==2.13.0" in pins.pins("vllm.txt")
