"""A loopback server of OpenAI's chat interface: a real small model, or a script of bad manners.

    with serve(scripted("joy")) as server:           # every reply says joy
        endpoint.ask(server.endpoint(), ...)
    assert len(server.asked) == 3

`serve` takes a function from what was asked to what is answered, so a test decides by number, by
content, or by how often the same was asked: `small_model(folder)` generates, `scripted(...)` plays
faults and then behaves, `refusing(key, answer)` checks the key first.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from infuse.config.endpoints import Endpoint
from infuse.config.reasonings import Decoding
from infuse.data.encoder import Encoder
from infuse.inference.generation import continue_prompts
from infuse.models import loading
from patience import PATIENCE


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        number: its place among all requests, from 0.
        again: how often the same messages were asked before.
        headers: names in lower case.
    """

    number: int
    again: int
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def text(self) -> str:
        """What the last message says."""
        return str(self.body["messages"][-1]["content"])


@dataclass(frozen=True)
class Answer:
    """What is sent back.

    Attributes:
        body: text as it is, anything else as JSON.
        delay: seconds until it is sent; the end of the server ends them.
        cut: close the connection after so many bytes of the body.
        length: the Content-Length that is told, where it is not the true one.
        drip: seconds between any two bytes of the body.
    """

    body: Any = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None
    length: int | None = None
    drip: float = 0.0


Answers = Callable[[Asked], Answer]


@dataclass
class Server:
    """A running server.

    Attributes:
        asked: the requests in the order of their arrival.
        peak: how many were at work at a time, at most. One that the client gave up counts on.
    """

    url: str
    asked: list[Asked] = field(default_factory=list)
    peak: int = 0

    def endpoint(self, **changes: Any) -> Endpoint:
        """A section of the config that names this server."""
        return Endpoint.model_validate({
            "url": self.url, "model": "m", "concurrency": 4, "attempts": 3, "timeout": PATIENCE,
        } | changes)  # fmt: skip


@contextmanager
def serve(answer: Answers) -> Iterator[Server]:
    """A server on a free port of 127.0.0.1; it stops with the block."""
    lock, ending, at_work = threading.Lock(), threading.Event(), 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            nonlocal at_work
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                again = sum(prior.body["messages"] == sent["messages"] for prior in server.asked)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(len(server.asked), again, self.path, headers, sent)
                server.asked.append(asked)
                at_work += 1
                server.peak = max(server.peak, at_work)
            try:
                known = self.path == "/v1/chat/completions"
                reply = answer(asked) if known else error(404, f"no such path: {self.path}")
                ending.wait(reply.delay)
            finally:
                with lock:  # before the client can know, so that its next request is not a peak
                    at_work -= 1
            if not ending.is_set():
                self._send(reply)

        def _send(self, reply: Answer) -> None:
            text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
            data = text.encode()
            length = len(data) if reply.length is None else reply.length
            self.close_connection = reply.cut is not None or length != len(data)
            kind = "text/html" if isinstance(reply.body, str) else "application/json"
            headers = {"Content-Type": kind, "Content-Length": str(length), **reply.headers}
            if self.close_connection:  # told, since a next request on it would be lost
                headers["Connection"] = "close"
            self.send_response(reply.status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if reply.drip:
                for place in range(len(data)):
                    self.wfile.write(data[place : place + 1])
                    self.wfile.flush()
                    if ending.wait(reply.drip):
                        return
            else:
                self.wfile.write(data[: reply.cut])

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # the client had enough
                self.close_connection = True

        def finish(self) -> None:
            try:
                super().finish()
            except OSError:
                self.connection.close()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with loopback(Handler) as url:
        server = Server(f"{url}/v1")
        try:
            yield server
        finally:
            ending.set()


@contextmanager
def loopback(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server on a free port of this machine, until the block ends; its address."""

    class Loopback(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    with Loopback(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()


def completion(
    content: Any, finish: Any = "stop", usage: tuple[int, int] | None = (7, 2), **message: Any
) -> dict[str, Any]:
    """The body of a chat completion; `usage` is its prompt and completion tokens."""
    body: dict[str, Any] = {
        "id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [
            {
                "index": 0, "finish_reason": finish,
                "message": {"role": "assistant", "content": content, "refusal": None, **message},
            }
        ],
    }  # fmt: skip
    if usage is not None:
        read, written = usage
        body["usage"] = {
            "prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written,
        }  # fmt: skip
    return body


def error(status: int, message: str, code: str | None = None, **headers: str) -> Answer:
    """An error as OpenAI tells it."""
    details = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer({"error": details}, status, names)


def scripted(text: str | None = None, *faults: Answer) -> Answers:
    """To each conversation first the faults, one after the other, then `text`; None: an echo."""

    def answer(asked: Asked) -> Answer:
        if asked.again < len(faults):
            return faults[asked.again]
        return Answer(completion(asked.text if text is None else text))

    return answer


def refusing(key: str, answer: Answers) -> Answers:
    """`answer` for those who have the key; others are told, as by OpenAI, what they sent."""

    def checked(asked: Asked) -> Answer:
        sent = asked.headers.get("authorization", "")
        if sent != f"Bearer {key}":
            return error(401, f"Incorrect API key provided: {sent.removeprefix('Bearer ')}.")
        return answer(asked)

    return checked


def small_model(folder: Path, name: str = "m") -> Answers:
    """What the causal model in a folder, with its tokenizer, writes; other model names get a 404.

    It takes a user message with or without a system message, max_tokens, temperature, seed.
    """
    tokenizer, model = loading.load_tokenizer(folder), loading.load_model(folder).eval()
    lock = threading.Lock()

    def answer(asked: Asked) -> Answer:
        body = asked.body
        if body["model"] != name:
            return error(404, f"The model `{body['model']}` does not exist")
        *system, user = [message["content"] for message in body["messages"]]
        encoder = Encoder(tokenizer, *system)
        sampling = {part: body[part] for part in ("temperature", "seed") if part in body}
        decoding = Decoding(max_new_tokens=body["max_tokens"], **sampling)
        with lock:
            prompts = encoder.chats([user])
            continuation = continue_prompts(model, prompts, [0], {encoder.end_of_turn}, decoding)[0]
        used = len(prompts[0]), len(continuation.tokens) + (continuation.finish == "stop")
        return Answer(completion(encoder.text(continuation.tokens), continuation.finish, used))

    return answer
