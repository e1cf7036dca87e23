"""Files that are made from others are in step with them."""

import pytest

import environment


@pytest.mark.parametrize("form", environment.FORMS)
def test_conda_users_get_the_same_pins(form: str) -> None:
    """`make environment` renews the files."""
    assert (environment.ENVS / form).read_text() == environment.conda(form)


def test_every_pin_is_exact() -> None:
    for file in environment.ENVS.glob("*.txt"):
        assert all(pin.count("==") == 1 for pin in environment.pins(file.name))
    assert "torch==2.13.0" in environment.pins("vllm.txt")
