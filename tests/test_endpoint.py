"""The true client against true servers on loopback: one that speaks, and one that misbehaves."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tiny
from infuse import endpoint
from infuse.errors import UserError
from server import Fault, Server, completion, echo, serving, small_model

SAMPLING = {"temperature": 0.0, "max_new_tokens": 8, "seed": 1}
KEY = "sk-planted-0123456789abcdef"
# Each passes when it is asked again.
PASSING = [
    Fault(429, '{"error": {"message": "slow down"}}', {"Retry-After": "0"}),
    Fault(429, "", {"Retry-After": email.utils.formatdate(0, usegmt=True)}),
    Fault(429, "", {"Retry-After": "soon"}),
    Fault(408), Fault(409), Fault(500, "<html>"), Fault(502), Fault(503), Fault(529),
    Fault(body=completion("half of it"), cut=0.5),
    Fault(body=completion("nothing of it"), cut=0.0),
    Fault(body=""), Fault(body="<html>hello</html>"), Fault(body="[]"),
    Fault(body='{"choices": []}'),
    Fault(body=completion(None)), Fault(body='{"choices": [{"message": {"content": 3}}]}'),
    Fault(body=completion("x", read=-1)),
]  # fmt: skip


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(endpoint, "LONGEST_WAIT", 0.01)


def section(server: Server, **change: Any) -> dict[str, Any]:
    """The endpoint as the config gives it."""
    return {
        "url": server.url, "model": "small", "key_variable": None, "concurrency": 4,
        "attempts": 4, "timeout": 10.0, "prices": None,
    } | change  # fmt: skip


def conversations(count: int) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": f"text {number}"}] for number in range(count)]


def expected(count: int) -> list[endpoint.Reply]:
    return [endpoint.Reply(f"you said text {n}", "stop", 3, 2) for n in range(count)]


def faults(script: Mapping[int, Fault]) -> Callable[[int, Mapping[str, Any]], Fault | None]:
    return lambda number, _body: script.get(number)


def test_a_small_model_answers_and_is_asked_once(tmp_path: Path) -> None:
    speak = small_model(tiny.model(), tiny.tokenizer())
    asked = [*conversations(6), conversations(1)[0]]
    with serving(Server(speak)) as server:
        first = endpoint.ask(section(server), asked, SAMPLING, tmp_path)
        assert len(server.seen) == 6
        assert first[6] == first[0]
        for said, messages in zip(first, asked, strict=True):
            text, finish, read, wrote = speak({"messages": messages, "max_tokens": 8})
            assert said == endpoint.Reply(text, finish, read, wrote)
        assert endpoint.ask(section(server), asked, SAMPLING, tmp_path) == first
        assert len(server.seen) == 6
        for change in ({"seed": 2}, {"temperature": 0.5}, {"max_new_tokens": 9}):
            endpoint.ask(section(server), asked[:1], SAMPLING | change, tmp_path)
        endpoint.ask(section(server, model="other"), asked[:1], SAMPLING, tmp_path)
        assert len(server.seen) == 10
    used = endpoint.usage({"prices": {"input": 2.0, "output": 8.0}}, first)
    assert used["tokens"] == sum(reply.completion_tokens or 0 for reply in first)
    assert used["cost"] == pytest.approx((2 * used["prompt_tokens"] + 8 * used["tokens"]) / 1e6)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    script=st.dictionaries(st.integers(0, 8), st.sampled_from(PASSING), max_size=3),
    concurrency=st.integers(1, 5),
)
def test_faults_that_pass_leave_no_trace(
    script: dict[int, Fault], concurrency: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With fewer faults than attempts, the replies are those of a calm server, in order."""
    with serving(Server(echo, faults(script))) as server:
        where = section(server, concurrency=concurrency)
        replies = endpoint.ask(where, conversations(6), SAMPLING, tmp_path_factory.mktemp("kept"))
        assert replies == expected(6)
        assert len(server.seen) == 6 + sum(number < len(server.seen) for number in script)
        assert server.peak <= concurrency


@pytest.mark.parametrize("fault", PASSING, ids=range(len(PASSING)))
def test_each_fault_is_overcome(fault: Fault, tmp_path: Path) -> None:
    with serving(Server(echo, faults(dict.fromkeys(range(3), fault)))) as server:
        replies = endpoint.ask(section(server), conversations(1), SAMPLING, tmp_path)
    assert replies == expected(1)
    assert len(server.seen) == 4


def test_a_server_that_hangs_is_asked_again(tmp_path: Path) -> None:
    with serving(Server(echo, faults({0: Fault(body=completion("late"), delay=1.5)}))) as server:
        where = section(server, timeout=0.3)
        assert endpoint.ask(where, conversations(1), SAMPLING, tmp_path) == expected(1)


def test_a_long_wait_is_asked_for_and_kept_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(endpoint.asyncio, "sleep", sleep)
    monkeypatch.setattr(endpoint, "LONGEST_WAIT", 60.0)
    soon = email.utils.formatdate(time.time() + 30, usegmt=True)
    script = {n: Fault(429, "", {"Retry-After": told}) for n, told in enumerate(["7", soon, "999"])}
    with serving(Server(echo, faults(script))) as server:
        endpoint.ask(section(server), conversations(1), SAMPLING, tmp_path)
    assert waits[0] == 7 and 20 < waits[1] <= 30 and waits[2] == 60


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(401, '{"error": {"message": "who?"}}'), "refuses the key in INFUSE_KEY (401)"),
        (Fault(403), "refuses the key in INFUSE_KEY (403)"),
        (Fault(404, '{"error": {"message": "no model small"}}'), ": HTTP 404: no model small"),
        (Fault(400, '{"error": {"message": "too\\n\\nlong"}}'), ": HTTP 400: too long"),
        (Fault(422, "not JSON"), ": HTTP 422: not JSON"),
        (Fault(429, '{"error": {"message": "pay", "code": "insufficient_quota"}}'),
         ": HTTP 429: pay"),
    ],
)  # fmt: skip
def test_what_will_not_pass_is_said_at_once(
    fault: Fault, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFUSE_KEY", KEY)
    with serving(Server(echo, lambda *_: fault)) as server:
        where = section(server, concurrency=1, key_variable="INFUSE_KEY")
        with pytest.raises(UserError) as refusal:
            endpoint.ask(where, conversations(5), SAMPLING, tmp_path)
        assert str(refusal.value) in (f"{server.url} {reason}", f"{server.url}{reason}")
        assert len(server.seen) == 1


def test_without_the_variable_nothing_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INFUSE_KEY", raising=False)
    with serving(Server(echo)) as server, pytest.raises(UserError, match="INFUSE_KEY is not set"):
        where = section(server, key_variable="INFUSE_KEY")
        endpoint.ask(where, conversations(1), SAMPLING, tmp_path)
    assert not server.seen


def test_failures_are_counted_and_the_rest_is_kept(tmp_path: Path) -> None:
    def sick(_: int, body: Mapping[str, Any]) -> Fault | None:
        return Fault(500, "oh") if body["messages"][-1]["content"] in ("text 1", "text 4") else None

    with serving(Server(echo, sick)) as server:
        with pytest.raises(UserError) as failure:
            endpoint.ask(section(server), conversations(7), SAMPLING, tmp_path)
        assert str(failure.value) == (
            f"{server.url}: 2 of 7 requests failed 4 times, at last with HTTP 500: oh;"
            " the other replies are kept, run again to go on"
        )
        server.fault = lambda *_: None
        server.seen.clear()
        assert endpoint.ask(section(server), conversations(7), SAMPLING, tmp_path) == expected(7)
        assert len(server.seen) == 2


def test_a_dead_server_is_given_up(tmp_path: Path) -> None:
    with serving(Server(echo)) as server:
        pass
    with pytest.raises(UserError, match="10, one after another, requests failed 4 times"):
        endpoint.ask(section(server), conversations(500), SAMPLING, tmp_path)


def test_the_newer_name_of_the_limit_is_found_out(tmp_path: Path) -> None:
    def modern(_: int, body: Mapping[str, Any]) -> Fault | None:
        said = "Unsupported parameter: use 'max_completion_tokens' instead."
        return (
            Fault(400, json.dumps({"error": {"message": said}})) if "max_tokens" in body else None
        )

    with serving(Server(echo, modern)) as server:
        where = section(server, concurrency=1)
        assert endpoint.ask(where, conversations(4), SAMPLING, tmp_path) == expected(4)
        assert len(server.seen) == 5
        assert all(body["max_completion_tokens"] == 8 for body in server.seen[1:])


def test_untold_tokens_are_unknown_and_not_free(tmp_path: Path) -> None:
    bare = json.loads(completion("so"))
    del bare["usage"]
    with serving(Server(echo, lambda *_: Fault(body=json.dumps(bare)))) as server:
        replies = endpoint.ask(section(server), conversations(2), SAMPLING, tmp_path)
    used = endpoint.usage({"prices": {"input": 1.0, "output": 1.0}}, replies)
    assert used == {"prompt_tokens": 0, "tokens": 0, "untold": 2, "cost": None}


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"url": 1}', b"\xff"])
def test_a_damaged_answer_on_disk_is_asked_for_again(damage: str | bytes, tmp_path: Path) -> None:
    with serving(Server(echo)) as server:
        endpoint.ask(section(server), conversations(1), SAMPLING, tmp_path)
        (file,) = tmp_path.rglob("*.json")
        file.write_bytes(damage.encode() if isinstance(damage, str) else damage)
        replies = endpoint.ask(section(server), conversations(1), SAMPLING, tmp_path)
    assert replies == expected(1) and len(server.seen) == 2


def planted(folder: Path, *texts: str) -> Iterator[str]:
    """Where the key stands."""
    for file in folder.rglob("*"):
        if file.is_file() and KEY[:12].encode() in file.read_bytes():
            yield str(file)
    yield from (text for text in texts if KEY[:12] in text)


@pytest.mark.parametrize(
    "fault",
    [
        None,
        Fault(body=completion(f"your key is {KEY}")),
        Fault(400, json.dumps({"error": {"message": f"not for {KEY}"}})),
        Fault(500, f"trace of {KEY}"),
        Fault(body=f"no JSON but {KEY}"),
        Fault(body="x" * 40 + KEY),
    ],
    ids=["none", "in an answer", "in a refusal", "in a failure", "in a bad reply", "cut"],
)
def test_the_key_is_written_nowhere(
    fault: Fault | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("INFUSE_KEY", KEY)
    caplog.set_level("DEBUG")
    said = ""
    with serving(Server(echo, lambda *_: fault, key=KEY)) as server:
        where = section(server, key_variable="INFUSE_KEY")
        try:
            said = str(endpoint.ask(where, conversations(3), SAMPLING, tmp_path))
        except UserError as refusal:
            said = str(refusal)
        server.key = "another"
        with pytest.raises(UserError) as wrong:
            endpoint.ask(where, [[{"role": "user", "content": "new"}]], SAMPLING, tmp_path)
    captured = capfd.readouterr()
    assert not list(
        planted(tmp_path, said, str(wrong.value), caplog.text, captured.out, captured.err)
    )
