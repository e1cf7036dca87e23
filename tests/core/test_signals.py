"""What a run does with the signals that ask it to end."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from infuse.core import signals


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    signals.listen()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("first", signals.SIGNALS)
def test_a_step_is_brought_to_its_end_however_often_sigterm_comes(first: signal.Signals) -> None:
    """Slurm sends it by two ways at the end of a job's time."""
    ended = False
    with pytest.raises(signals.Stopped) as stop, signals.held() as asked:
        assert not asked()
        for number in (first, signal.SIGTERM, signal.SIGTERM):
            signal.raise_signal(number)
        ended = asked()
    assert ended and stop.value.code == 128 + first


@pytest.mark.parametrize("first", signals.SIGNALS)
def test_a_person_who_asks_again_does_not_wait(first: signal.Signals) -> None:
    with pytest.raises(signals.Stopped) as stop, signals.held():
        signal.raise_signal(first)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it went on")
    assert stop.value.code == 128 + signal.SIGINT
    with pytest.raises(signals.Stopped):  # the next step begins anew
        signal.raise_signal(signal.SIGTERM)
