"""A server on loopback with OpenAI's chat interface: a true small model, and faults on demand."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from infuse.documents import Encoder
from infuse.generation import continue_prompts

Speak = Callable[[Mapping[str, Any]], tuple[str, str, int, int]]


@dataclass(frozen=True)
class Fault:
    """What the server does in place of an answer.

    Attributes:
        delay: s, before anything is sent.
        cut: send this share of the body, then drop the connection.
    """

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: float = 1.0


@dataclass
class Server:
    """What is known of a running server.

    Attributes:
        fault: called with the number of the request (0, 1, ...) and its body; None: answer well.
        key: requests without it get 401.
        seen: the body of each request, in the order of arrival.
        peak: most requests that were under way at once.
    """

    speak: Speak
    fault: Callable[[int, Mapping[str, Any]], Fault | None] = lambda _number, _body: None
    key: str | None = None
    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    peak: int = 0
    _open: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def respond(self, authorization: str | None, body: dict[str, Any]) -> Fault:
        """Status, headers and body for one request."""
        with self._lock:
            number = len(self.seen)
            self.seen.append(body)
            self._open += 1
            self.peak = max(self.peak, self._open)
        try:
            if self.key is not None and authorization != f"Bearer {self.key}":
                said = f"Incorrect API key provided: {authorization}."
                return Fault(
                    401, json.dumps({"error": {"message": said, "code": "invalid_api_key"}})
                )
            return self.fault(number, body) or Fault(body=completion(*self.speak(body)))
        finally:
            with self._lock:
                self._open -= 1


def completion(text: str | None, finish: str = "stop", read: int = 3, wrote: int = 2) -> str:
    """A chat completion as JSON."""
    return json.dumps(
        {
            "object": "chat.completion",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": finish,
                }
            ],
            "usage": {
                "prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote
            },
        }
    )  # fmt: skip


def echo(body: Mapping[str, Any]) -> tuple[str, str, int, int]:
    """An answer that tells the last message."""
    return f"you said {body['messages'][-1]['content']}", "stop", 3, 2


def small_model(model: Any, tokenizer: Any) -> Speak:
    """Greedy answers of a true model to the conversation, as its chat template has it."""
    lock = threading.Lock()

    def speak(body: Mapping[str, Any]) -> tuple[str, str, int, int]:
        system, user = ("".join(m["content"] for m in body["messages"] if m["role"] == role)
                        for role in ("system", "user"))  # fmt: skip
        encoder = Encoder(tokenizer, system, "26 Jul 2024")
        prompt = encoder.chats([user])[0]
        with lock:
            (said,) = continue_prompts(
                model, [prompt], [0], encoder.end_of_turn, {"max_new_tokens": body["max_tokens"]}
            )
        return encoder.text(said.tokens), said.finish, len(prompt), len(said.tokens)

    return speak


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Run a server on a free port of 127.0.0.1 until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            given = server.respond(self.headers["Authorization"], body)
            time.sleep(given.delay)
            content = given.body.encode()
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: int(given.cut * len(content))])
            self.close_connection = given.cut < 1

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        server.url = f"http://127.0.0.1:{listener.server_port}/v1"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()
