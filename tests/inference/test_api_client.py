"""The client against real servers on this machine: a real small model, and bad manners."""

from __future__ import annotations

import io
import json
import logging
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tiny
from infuse.config.endpoints import ApiSampling, Endpoint, Prices
from infuse.config.reasonings import Decoding
from infuse.core.errors import UserError
from infuse.core.hashing import fingerprint
from infuse.data.encoder import Encoder
from infuse.inference import api_client
from infuse.inference.api_replies import Reply
from infuse.inference.generation import continue_prompts
from loopback_server import Answer, Asked, completion, error, refusing, scripted, serve, small_model
from patience import PATIENCE

KEY = "sk-planted-0123456789"
GREEDY = ApiSampling(temperature=0.0, max_new_tokens=8, seed=3)
calm = settings(max_examples=12, suppress_health_check=list(HealthCheck))

FAULTS = {
    "408": (error(408, "too late"), "408 too late"),
    "409": (error(409, "locked"), "409 locked"),
    "429": (error(429, "slow down", Retry_After="2"), "429 slow down"),
    "500": (error(500, "oops"), "500 oops"),
    "503 html": (Answer("<h1>busy</h1>", 503), "503 <h1>busy</h1>"),
    "cut in the body": (Answer(completion("joy"), cut=40), "without sending complete message body"),
    "nothing at all": (Answer(completion("joy"), cut=0), "without sending complete message body"),
    "length too long": (Answer(completion("joy"), length=9999), "complete message body"),
    "length too short": (Answer(completion("joy"), length=30), "no chat completion (not JSON"),
    "an error that is cut": (Answer(completion("joy"), 500, cut=40), "complete message body"),
    "html": (Answer("<html>welcome</html>"), "no chat completion (not JSON"),
    "empty": (Answer(""), "no chat completion (not JSON"),
    "blank": (Answer(" \n" * 20, drip=0.001), "no chat completion (not JSON"),
    "a list": (Answer([]), "no chat completion (expected an object)"),
    "an error in a 200": (Answer({"error": {"message": "x", "code": 429}}), "429 x"),
    "no choices": (Answer({"choices": []}), "no chat completion (no choices)"),
    "no end": (Answer(completion("jo", None)), "no whole reply (finish_reason None)"),
    "an unknown end": (Answer(completion("jo", "abort")), "no whole reply (finish_reason 'abort')"),
    "content of another type": (Answer(completion(5)), "content that is no text"),
    "half a character": (Answer('{"choices": [{"message": {"content": "\\ud83d"}}]}'), "not JSON"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_client, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(api_client, "LONGEST_WAIT", 0.002)


def chats(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": text}] for text in texts]


def texts(replies: list[Reply]) -> list[str]:
    return [reply.text for reply in replies]


def refusal(section: Endpoint, conversations: Any, answers: Path) -> str:
    """The one line with which `ask` ends."""
    with pytest.raises(UserError) as caught:
        api_client.ask(section, conversations, GREEDY, answers)
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    return line


# A real model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny.model().save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_replies_are_what_the_model_writes(
    folder: Path, tmp_path: Path, temperature: float
) -> None:
    said = ["i feel so happy", "the day was long, and i felt sad <|eot_id|> again", "  12 ! "]
    conversations = [
        [{"role": "system", "content": "Emotion?"}, {"role": "user", "content": text}]
        for text in said
    ]
    sampling = GREEDY | {"temperature": temperature, "max_new_tokens": 24}
    with serve(small_model(folder)) as server:
        replies = api_client.ask(server.endpoint(), conversations, sampling, tmp_path)
    encoder, model = Encoder(tiny.tokenizer(), "Emotion?"), tiny.model()
    decoding = Decoding(max_new_tokens=24, temperature=temperature, seed=3)
    for text, reply in zip(said, replies, strict=True):
        prompts = encoder.chats([text])
        (written,) = continue_prompts(model, prompts, [0], {encoder.end_of_turn}, decoding)
        length = len(written.tokens) + (written.finish == "stop")
        answer = encoder.text(written.tokens)
        assert reply == Reply(answer, written.finish, len(prompts[0]), length)
    assert all(reply.completion_tokens for reply in replies)


def test_an_unknown_model_is_told_in_the_servers_words(folder: Path, tmp_path: Path) -> None:
    with serve(small_model(folder)) as server:
        section = server.endpoint(model="gpt-0")
        assert refusal(section, chats("a"), tmp_path) == (
            f"endpoint: {server.url} refuses a request (404): The model `gpt-0` does not exist; "
            "0 of 1 replies are kept, and the same command goes on"
        )
    assert len(server.asked) == 1


# What is sent


def test_a_request_bears_the_config_and_nothing_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ADMIN_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-mine")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-mine")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/elsewhere")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"Authorization: Bearer {KEY}")
    with serve(scripted("joy")) as server:
        api_client.ask(server.endpoint(), chats("a"), GREEDY, tmp_path)
    asked = server.asked[0]
    assert asked.body == {
        "model": "m", "messages": chats("a")[0], "temperature": 0.0, "max_tokens": 8, "seed": 3,
    }  # fmt: skip
    assert KEY not in str(asked.headers) and "of-mine" not in str(asked.headers)
    assert "authorization" not in asked.headers


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_no_proxy_comes_between_us_and_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with serve(scripted("proxy")) as proxy, serve(scripted("joy")) as server:
        for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(variable, proxy.url.removesuffix("/v1"))
        section = server.endpoint(url=server.url.replace("127.0.0.1", name))
        assert texts(api_client.ask(section, chats("a"), GREEDY, tmp_path)) == ["joy"]
    assert not proxy.asked


def test_what_counts_as_this_machine() -> None:
    here = [
        "http://127.0.0.1:80/v1",
        "http://127.8.8.8",
        "http://[::1]:8000/v1",
        "http://LOCALHOST",
    ]
    there = ["https://api.openai.com/v1", "http://10.0.0.1", "http://localhost.example.org", ""]
    assert all(api_client._is_loopback(url) for url in here)
    assert not any(api_client._is_loopback(url) for url in there)


def test_a_redirection_is_not_followed(tmp_path: Path) -> None:
    with serve(scripted("joy")) as other:
        moved = Answer("", 307, {"Location": f"{other.url}/chat/completions"})
        with serve(lambda _: moved) as server:
            assert "refuses a request (307)" in refusal(server.endpoint(), chats("a"), tmp_path)
    assert not other.asked


def test_models_that_want_the_newer_name_of_the_limit_get_it(tmp_path: Path) -> None:
    def newer(asked: Asked) -> Answer:
        if "max_tokens" in asked.body:
            return error(400, "'max_tokens' is not supported. Use 'max_completion_tokens' instead.")
        return Answer(completion(str(asked.body["max_completion_tokens"])))

    with serve(newer) as server:
        section = server.endpoint(concurrency=1, attempts=1)
        replies = api_client.ask(section, chats("a", "b", "c"), GREEDY, tmp_path)
    assert texts(replies) == ["8", "8", "8"]
    assert sum("max_tokens" in asked.body for asked in server.asked) == 1


# Order and concurrency


@calm
@given(st.permutations(range(6)), st.integers(1, 8))
def test_replies_stand_in_the_order_of_requests(order: list[int], concurrency: int) -> None:
    def late(asked: Asked) -> Answer:
        return Answer(completion(asked.text), delay=0.003 * order[int(asked.text)])

    said = [str(place) for place in range(6)]
    with tempfile.TemporaryDirectory() as answers, serve(late) as server:
        section = server.endpoint(concurrency=concurrency)
        replies = api_client.ask(section, chats(*said), GREEDY, Path(answers))
    assert texts(replies) == said
    assert server.peak <= concurrency


@pytest.mark.parametrize("concurrency", [1, 3])
def test_as_many_requests_at_a_time_as_the_config_says(tmp_path: Path, concurrency: int) -> None:
    together = threading.Barrier(concurrency)

    def in_company(asked: Asked) -> Answer:
        together.wait(PATIENCE)  # breaks where fewer come
        return Answer(completion("joy"))

    with serve(in_company) as server:
        section = server.endpoint(concurrency=concurrency, attempts=1)
        api_client.ask(section, chats(*"abcdefghi"), GREEDY, tmp_path)
    assert server.peak == concurrency


# The replies on disk


def test_equal_conversations_are_asked_once_and_a_second_run_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    with serve(refusing(KEY, scripted())) as server:
        section = server.endpoint(key_variable="THE_KEY")
        first = api_client.ask(section, chats("a", "b", "a"), GREEDY, tmp_path)
        assert len(server.asked) == 2
    monkeypatch.delenv("THE_KEY")
    assert api_client.ask(section, chats("a", "b", "a"), GREEDY, tmp_path) == first
    assert texts(first) == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"temperature": 0.5}, 1),
        ({"max_new_tokens": 9}, 1),
        ({"seed": 4}, 1),
        ({"model": "other"}, 1),
        ({"attempts": 9, "timeout": 9.0}, 0),
        ({"concurrency": 1, "prices": {"input": 1.0, "output": 1.0}}, 0),
    ],
)  # fmt: skip
def test_what_a_reply_depends_on_is_asked_anew(
    tmp_path: Path, change: dict[str, Any], again: int
) -> None:
    with serve(scripted("joy")) as server:
        section = server.endpoint()
        api_client.ask(section, chats("a"), GREEDY, tmp_path)
        if change.keys() <= Endpoint.model_fields.keys():
            api_client.ask(section | change, chats("a"), GREEDY, tmp_path)
        else:
            api_client.ask(section, chats("a"), GREEDY | change, tmp_path)
    assert len(server.asked) == 1 + again


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: "",
        lambda text: text[: len(text) // 2],
        lambda _: "[1, 2]",
        lambda _: '{"request": {}, "reply": null}',
        lambda text: text.replace('"a"', '"another text"'),
        lambda text: text.replace('"stop"', '"tired"'),
        lambda text: text.replace('"joy"', "5"),
        lambda text: text.replace('"completion_tokens": 2', '"completion_tokens": "many"'),
    ],
)
def test_a_damaged_or_foreign_file_is_asked_again(
    tmp_path: Path, damage: Callable[[str], str]
) -> None:
    with serve(scripted("joy")) as server:
        section = server.endpoint()
        before = api_client.ask(section, chats("a"), GREEDY, tmp_path)
        (file,) = tmp_path.rglob("*.json")
        whole = file.read_text()
        assert damage(whole) != whole
        file.write_text(damage(whole))
        assert api_client.ask(section, chats("a"), GREEDY, tmp_path) == before
        assert len(server.asked) == 2
        assert file.read_text() == whole


def _ask_and_die(url: str, answers: str) -> None:
    tiny.die_at("os.rename", ".json", 4)
    section = Endpoint(url=url, model="m", concurrency=2, attempts=1)
    api_client.ask(section, chats(*"abcdefgh"), GREEDY, Path(answers))


def test_a_killed_run_keeps_what_was_answered(tmp_path: Path) -> None:
    with serve(scripted()) as server:
        tiny.killed(_ask_and_die, server.url, str(tmp_path))
        kept = len(list(tmp_path.rglob("*.json")))
        before = len(server.asked)
        replies = api_client.ask(server.endpoint(), chats(*"abcdefgh"), GREEDY, tmp_path)
        assert kept == 3
        assert len(server.asked) - before == 8 - kept
    assert texts(replies) == list("abcdefgh")


def test_two_at_once_may_keep_the_same_replies(tmp_path: Path) -> None:
    said = [str(place) for place in range(40)]
    got: list[list[str]] = []
    with serve(scripted()) as server:
        asking = [
            threading.Thread(
                target=lambda: got.append(
                    texts(api_client.ask(server.endpoint(), chats(*said), GREEDY, tmp_path))
                )
            )
            for _ in range(2)
        ]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
    assert got == [said, said]
    assert len(list(tmp_path.rglob("*.json"))) == 40


# Faults


@pytest.mark.parametrize("fault", FAULTS)
def test_each_passing_fault_is_outlived(tmp_path: Path, fault: str) -> None:
    with serve(scripted(None, FAULTS[fault][0])) as server:
        replies = api_client.ask(server.endpoint(), chats("a", "b"), GREEDY, tmp_path)
    assert replies == [Reply("a", "stop", 7, 2), Reply("b", "stop", 7, 2)]
    assert len(server.asked) == 4


@calm
@given(
    st.lists(st.lists(st.sampled_from(sorted(FAULTS)), max_size=3), min_size=1, max_size=4),
    st.integers(1, 4),
)
def test_fewer_faults_than_attempts_change_nothing(
    faults: list[list[str]], concurrency: int
) -> None:
    said = [str(place) for place in range(len(faults))]

    def troubled(asked: Asked) -> Answer:
        names = faults[int(asked.text)]
        return scripted(None, *(FAULTS[name][0] for name in names))(asked)

    with tempfile.TemporaryDirectory() as answers, serve(troubled) as server:
        section = server.endpoint(concurrency=concurrency, attempts=4)
        replies = api_client.ask(section, chats(*said), GREEDY, Path(answers))
        asked = len(server.asked)
        assert api_client.ask(section, chats(*said), GREEDY, Path(answers)) == replies
        assert asked == len(server.asked)
    assert replies == [Reply(text, "stop", 7, 2) for text in said]
    assert asked == len(said) + sum(map(len, faults))
    assert server.peak <= concurrency


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_stays_is_told_and_the_rest_is_kept(tmp_path: Path, fault: str) -> None:
    answer, reason = FAULTS[fault]
    ill = True

    def partly(asked: Asked) -> Answer:
        return answer if ill and asked.text == "b" else scripted()(asked)

    with serve(partly) as server:
        section = server.endpoint()
        line = refusal(section, chats("a", "b", "c"), tmp_path)
        start = f"endpoint: {server.url} left 1 request(s) unanswered, 3 attempts each: "
        assert line.startswith(start) and reason in line
        assert line.endswith("; 2 of 3 replies are kept, and the same command goes on")
        assert sum(asked.text == "b" for asked in server.asked) == 3
        ill, before = False, len(server.asked)
        assert texts(api_client.ask(section, chats(*"abc"), GREEDY, tmp_path)) == ["a", "b", "c"]
        assert len(server.asked) == before + 1


@pytest.mark.parametrize(
    "slow",
    [Answer(completion("joy"), delay=60), Answer(completion("joy"), drip=0.05)],
    ids=["silent", "one byte at a time"],
)
def test_a_timeout_is_of_the_whole_attempt(tmp_path: Path, slow: Answer) -> None:
    with serve(scripted("joy", slow)) as server:
        section = server.endpoint(timeout=0.4, attempts=999)  # the machine may be slow too
        assert texts(api_client.ask(section, chats("a"), GREEDY, tmp_path)) == ["joy"]
        assert "no answer within 0.4 s" in refusal(
            section | {"attempts": 1}, chats("other"), tmp_path
        )


@pytest.mark.parametrize("status", [400, 403, 404, 422])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no\nsuch \x1b[31mthing" + "!" * 999}}, "no such [31mthing!!!"),
        ({"detail": "nothing here"}, "nothing here"),
        ({"error": "a plain word"}, "a plain word"),
        ("<h1>gone</h1>", "<h1>gone</h1>"),
        ("", "without a reason"),
    ],
)
def test_a_refusal_ends_the_run_at_once(tmp_path: Path, status: int, body: Any, words: str) -> None:
    def picky(asked: Asked) -> Answer:
        return Answer(body, status) if asked.text == "b" else scripted()(asked)

    with serve(picky) as server:
        line = refusal(server.endpoint(concurrency=1), chats(*"abcd"), tmp_path)
    assert line.startswith(f"endpoint: {server.url} refuses a request ({status}): {words}")
    assert line.endswith("; 1 of 4 replies are kept, and the same command goes on")
    assert len(line) < 360 and line.isprintable()
    assert [asked.text for asked in server.asked] == ["a", "b"]


def test_an_empty_account_is_no_passing_fault(tmp_path: Path) -> None:
    broke = Answer({"error": {"message": "pay first", "code": "insufficient_quota"}}, 429)
    with serve(lambda _: broke) as server:
        line = refusal(server.endpoint(concurrency=1), chats("a", "b"), tmp_path)
    assert "refuses a request (429): pay first; 0 of 2" in line
    assert len(server.asked) == 1


def test_replies_that_are_on_their_way_when_another_is_refused_are_kept(tmp_path: Path) -> None:
    together = threading.Barrier(2)

    def picky(asked: Asked) -> Answer:
        together.wait(PATIENCE)
        return error(400, "no") if asked.text == "b" else Answer(completion("joy"), delay=0.3)

    with serve(picky) as server:
        line = refusal(server.endpoint(concurrency=2), chats("a", "b"), tmp_path)
    assert "(400): no; 1 of 2 replies are kept" in line


def test_a_server_that_never_answers_is_not_asked_for_ever(tmp_path: Path) -> None:
    with serve(lambda _: error(500, "down")) as server:
        section = server.endpoint(concurrency=1)
        line = refusal(section, chats(*map(str, range(200))), tmp_path)
    assert (
        f"left {api_client.HOPELESS} request(s) unanswered, 3 attempts each: 500 down; 0 of" in line
    )
    assert len(server.asked) == 3 * api_client.HOPELESS


def test_requests_that_fail_between_others_do_not_end_the_run(tmp_path: Path) -> None:
    def every_second(asked: Asked) -> Answer:
        return error(500, "odd") if int(asked.text) % 2 else scripted()(asked)

    with serve(every_second) as server:
        section = server.endpoint(concurrency=1, attempts=1)
        line = refusal(section, chats(*map(str, range(30))), tmp_path)
    assert "left 15 request(s) unanswered" in line and "15 of 30 replies" in line


def test_a_dead_server(tmp_path: Path) -> None:
    with socket.socket() as taken, serve(scripted()) as server:
        taken.bind(("127.0.0.1", 0))  # and nobody listens there
        section = server.endpoint(url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
        assert "connection attempts failed" in refusal(section, chats("a"), tmp_path)


# Waiting


@given(st.integers(1, 2000), st.floats() | st.floats(0, 1000))
def test_a_wait_is_no_shorter_than_the_server_says_and_never_endless(
    attempt: int, seconds: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api_client, "FIRST_WAIT", 1.0)
        patch.setattr(api_client, "LONGEST_WAIT", 120.0)
        wait = api_client._wait(attempt, str(seconds))
        least = min(2.0 ** min(attempt - 1, 30) / 2, 120.0)
    assert least <= wait <= 120
    if seconds >= 0:
        assert wait >= min(seconds, 120)


def test_a_retry_after_may_be_a_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000.5)
    assert api_client._seconds(formatdate(1_000_060, usegmt=True)) == 59.5
    assert api_client._seconds(formatdate(0, usegmt=True)) < 0


@given(st.text())
def test_any_retry_after_is_survived(header: str) -> None:
    assert 0 <= api_client._wait(1, header) <= api_client.LONGEST_WAIT


def test_a_retry_after_reaches_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[tuple[int, str]] = []

    def waited(attempt: int, after: str) -> float:
        waits.append((attempt, after))
        return 0.0

    monkeypatch.setattr(api_client, "_wait", waited)
    faults = (
        error(429, "slow", Retry_After="7"),
        error(503, "busy", Retry_After="8"),
        error(500, ""),
    )
    with serve(scripted("joy", *faults)) as server:
        api_client.ask(server.endpoint(attempts=4), chats("a"), GREEDY, tmp_path)
    assert waits == [(1, "7"), (2, "8"), (3, "")]


# What a reply may be


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        (completion("joy", "stop"), Reply("joy", "stop", 7, 2)),
        (completion("jo", "length"), Reply("jo", "length", 7, 2)),
        (completion("", "stop"), Reply("", "stop", 7, 2)),
        (completion("joy", "eos"), Reply("joy", "stop", 7, 2)),
        (completion(None, "length"), Reply("", "length", 7, 2)),  # hidden reasoning took all tokens
        (
            completion("jo", "content_filter"),
            Reply("", "refused", 7, 2, "finish_reason content_filter"),
        ),
        (completion(None), Reply("", "stop", 7, 2)),
        (completion("joy", usage=(-1, 2**40)), Reply("joy", "stop", None, None)),
        (completion("<think>fear?</think> joy"), Reply("joy", "stop", 7, 2)),
        (completion("joy", usage=None), Reply("joy", "stop", None, None)),
        (completion("joy", usage=None) | {"usage": None}, Reply("joy", "stop", None, None)),
        (completion(None, refusal="I can't."), Reply("", "refused", 7, 2, "I can't.")),
        (completion("☕\u2028\x00'\"\\"), Reply("☕\u2028\x00'\"\\", "stop", 7, 2)),
    ],
)
def test_replies_as_servers_write_them(tmp_path: Path, body: Any, reply: Reply) -> None:
    with serve(lambda _: Answer(body)) as server:
        section = server.endpoint(attempts=1)
        assert api_client.ask(section, chats("a"), GREEDY, tmp_path) == [reply]
        assert api_client.ask(section, chats("a"), GREEDY, tmp_path) == [reply]
    assert len(server.asked) == 1


def test_cost_is_tokens_by_prices_and_unknown_where_tokens_are() -> None:
    replies = [Reply("", "stop", 1000, 20), Reply("", "length", 3000, 30)]
    free = Endpoint(url="http://127.0.0.1", model="m")
    priced = free | {"prices": Prices(input=2.0, output=10.0)}
    assert api_client.cost(priced, replies) == pytest.approx(0.0085)
    assert api_client.cost(priced, []) == 0
    assert api_client.cost(free, replies) is None
    untold = [*replies, Reply("", "stop", 5, None)]
    assert api_client.cost(priced, untold) is None
    assert api_client.usage(priced, untold) == {
        "prompt_tokens": 4005, "completion_tokens": 50, "without_usage": 1, "cost": None,
        "refused": 0, "too_long": 0,
    }  # fmt: skip


# Texts that get no reply


@pytest.mark.parametrize("finish", ["refused", "too_long"])
def test_a_text_that_gets_no_reply_is_asked_once_and_ends_nothing(
    tmp_path: Path, finish: str
) -> None:
    code = {"refused": "content_filter", "too_long": "context_length_exceeded"}[finish]

    def picky(asked: Asked) -> Answer:
        return error(400, "not this one", code) if asked.text == "b" else scripted()(asked)

    with serve(picky) as server:
        section = server.endpoint(prices={"input": 1.0, "output": 1.0})
        replies = api_client.ask(section, chats(*"abc"), GREEDY, tmp_path)
        assert api_client.ask(section, chats(*"abc"), GREEDY, tmp_path) == replies
    assert texts(replies) == ["a", "", "c"]
    assert replies[1] == Reply("", finish, 0, 0, "400 not this one")  # type: ignore[arg-type]
    assert len(server.asked) == 3
    counts = api_client.usage(section, replies)
    assert counts[finish] == 1 and counts["refused"] + counts["too_long"] == 1
    assert counts["cost"] == pytest.approx(18e-6) and counts["without_usage"] == 0


def test_a_text_too_long_leaves_the_name_of_the_limit(tmp_path: Path) -> None:
    """vLLM names both limits when it refuses a text for its length."""
    words = "'max_tokens' or 'max_completion_tokens' is too large: its maximum context length is 9"

    def picky(asked: Asked) -> Answer:
        return error(400, words) if asked.text == "a" else scripted()(asked)

    with serve(picky) as server:
        section = server.endpoint(concurrency=1)
        replies = api_client.ask(section, chats("a", "b"), GREEDY, tmp_path)
    assert [reply.finish for reply in replies] == ["too_long", "stop"]
    assert all("max_tokens" in asked.body for asked in server.asked)


def test_replies_that_were_kept_with_their_thoughts_are_read_anew(tmp_path: Path) -> None:
    """As files from before: without a reason, and with thoughts in the text."""
    with serve(scripted("joy")) as server:
        section = server.endpoint()
        api_client.ask(section, chats("a"), GREEDY, tmp_path)
        (file,) = tmp_path.rglob("*.json")
        kept = json.loads(file.read_text())
        del kept["reply"]["reason"]
        kept["reply"]["text"] = "<think>joy?</think> fear"
        file.write_text(json.dumps(kept | {"sha256": fingerprint(kept["reply"], 64)}))
        assert texts(api_client.ask(section, chats("a"), GREEDY, tmp_path)) == ["fear"]
        assert len(server.asked) == 1


def test_without_a_system_role_the_instruction_stands_before_the_text(tmp_path: Path) -> None:
    conversation = [{"role": "system", "content": "Emotion?"}, *chats("a")[0]]

    def picky(asked: Asked) -> Answer:
        if asked.body["messages"][0]["role"] == "system":
            return error(400, "System role not supported")
        return scripted()(asked)

    with serve(picky) as server:
        line = refusal(server.endpoint(), [conversation], tmp_path)
        assert "takes no system message (400 System role not supported): set system_role: " in line
        section = server.endpoint(system_role=False)
        said = api_client.ask(section, [conversation, *chats("b")], GREEDY, tmp_path)
    assert texts(said) == ["Emotion?\n\na", "b"]


# Keys


@pytest.fixture
def secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Path]:
    """A folder for answers; afterwards the planted key is found nowhere."""
    monkeypatch.setenv("THE_KEY", KEY)
    every = logging.StreamHandler(logged := io.StringIO())
    loggers = logging.getLogger(), logging.getLogger("infuse")
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    loggers[0].addHandler(every)
    yield tmp_path
    loggers[0].removeHandler(every)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    captured = capfd.readouterr()
    for text in (*map(str, files), *map(Path.read_text, files), *captured, logged.getvalue()):
        assert KEY[:8] not in text


def test_a_wrong_key_is_refused_without_being_told(secret: Path) -> None:
    with serve(refusing("another key", scripted())) as server:
        section = server.endpoint(key_variable="THE_KEY", concurrency=1)
        line = refusal(section, chats("a", "b"), secret)
    assert line.startswith(f"endpoint: {server.url} refuses the key in $THE_KEY (401); 0 of 2")
    assert len(server.asked) == 1
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("status", [200, 307, 400, 403, 404, 418, 429, 500])
@pytest.mark.parametrize("shape", ["message", "text", "header", "long"])
def test_a_key_that_a_server_repeats_goes_no_further(secret: Path, status: int, shape: str) -> None:
    def parrot(asked: Asked) -> Answer:
        sent = asked.headers["authorization"]
        if shape == "header":
            headers = {"Retry-After": sent, "X-Request-Id": sent, "Location": sent}
            return Answer({"error": {"message": "x"}}, status, headers)
        words = {"message": f"you sent {sent}", "text": sent, "long": "." * 180 + sent}[shape]
        if shape == "text":
            return Answer(words, status)
        return Answer({"error": {"message": words}}, status)

    with serve(parrot) as server:
        section = server.endpoint(key_variable="THE_KEY", attempts=2)
        line = refusal(section, chats("a"), secret)
    assert KEY[:8] not in line


def test_a_key_in_a_reply_is_taken_out(secret: Path) -> None:
    with serve(lambda asked: Answer(completion(f"<{asked.headers['authorization']}>"))) as server:
        section = server.endpoint(key_variable="THE_KEY")
        for _ in range(2):
            replies = api_client.ask(section, chats("a"), GREEDY, secret)
            assert texts(replies) == ["<Bearer [key]>"]


def test_attempts_are_logged_and_the_library_is_quiet(
    secret: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(scripted("joy", FAULTS["500"][0])) as server:
        section = server.endpoint(key_variable="THE_KEY")
        api_client.ask(section, chats("a"), GREEDY, secret)
    logged = [(record.name, record.getMessage()) for record in caplog.records]
    logged = [line for line in logged if line[0] != "asyncio"]
    assert {name for name, _ in logged} == {"infuse"}
    assert logged[0][1] == "attempt 1 of 3: 500 oops"
    assert logged[-1][1].startswith("1 / 1 replies") and logged[-1][1].endswith("1 sent again")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "needs a key: $THE_KEY is not set"),
        (" \n", "needs a key: $THE_KEY is not set"),
        ("sk-ä", "the key in $THE_KEY has characters that no header can bear"),
        ("sk-a\nX-Other: b", "the key in $THE_KEY has characters that no header can bear"),
    ],
)
def test_an_unusable_key_is_told_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, words: str
) -> None:
    monkeypatch.delenv("THE_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("THE_KEY", value)
    with serve(scripted()) as server:
        line = refusal(server.endpoint(key_variable="THE_KEY"), chats("a"), tmp_path)
    assert words in line and "sk-" not in line
    assert not server.asked


def test_the_white_space_around_a_key_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", f"{KEY}\r\n")
    with serve(refusing(KEY, scripted("joy"))) as server:
        section = server.endpoint(key_variable="THE_KEY")
        assert texts(api_client.ask(section, chats("a"), GREEDY, tmp_path)) == ["joy"]


def test_a_short_key_is_no_secret_and_leaves_replies_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", "EMPTY")
    with serve(scripted("EMPTY room")) as server:
        section = server.endpoint(key_variable="THE_KEY")
        assert texts(api_client.ask(section, chats("a"), GREEDY, tmp_path)) == ["EMPTY room"]


def test_a_server_that_wants_a_key_where_none_is_named(tmp_path: Path) -> None:
    with serve(refusing(KEY, scripted())) as server:
        line = refusal(server.endpoint(), chats("a"), tmp_path)
    assert "wants a key (401): set key_variable; 0 of 1" in line


def test_kept_replies_tell_what_was_asked(tmp_path: Path) -> None:
    with serve(scripted("joy")) as server:
        api_client.ask(server.endpoint(), chats("a"), GREEDY, tmp_path)
    (file,) = tmp_path.rglob("*.json")
    assert file.parent.parent == tmp_path and file.name.startswith(file.parent.name)
    kept = json.loads(file.read_text())
    assert len(kept.pop("sha256")) == 64
    assert kept == {
        "request": {
            "url": server.url, "model": "m", "messages": chats("a")[0],
            "temperature": 0.0, "max_new_tokens": 8, "seed": 3,
        },
        "reply": {
            "text": "joy", "finish": "stop", "reason": "",
            "prompt_tokens": 7, "completion_tokens": 2,
        },
    }  # fmt: skip
    assert not list(tmp_path.rglob("*.part"))
