"""Asking a model behind an OpenAI-compatible endpoint; every reply is kept on disk.

A reply's file bears the hash of its request, so nothing is asked twice and a killed run goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from email.utils import mktime_tz, parsedate_tz
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
from pydantic import BaseModel, TypeAdapter, ValidationError

from infuse.config.endpoints import ApiSampling, Endpoint
from infuse.core.errors import UserError
from infuse.core.files import write_json
from infuse.core.hashing import fingerprint
from infuse.core.progress import Progress
from infuse.inference.api_replies import Fault, Reply, answered, read

log = logging.getLogger("infuse")
for _library in ("openai", "httpx2", "httpcore2"):  # below warnings they tell urls and headers
    logging.getLogger(_library).setLevel(logging.WARNING)

FIRST_WAIT, LONGEST_WAIT = 1.0, 120.0  # seconds before a request is sent again
HOPELESS = 5  # so many requests in a row without a reply end the run
SAMPLING = set(ApiSampling.model_fields)


def ask(
    endpoint: Endpoint,
    conversations: Sequence[Sequence[Mapping[str, str]]],
    sampling: ApiSampling,
    answers: Path,
) -> list[Reply]:
    """The reply to each conversation, in their order; equal ones are asked once.

    Args:
        conversations: messages with role and content; without a `system_role`, the instruction goes
            in front of the user's message.
        answers: the folder where replies are kept, and looked for first.

    Raises:
        UserError: the key is missing, the server refuses a request or the key, or requests are
            left without a reply after all attempts. What came until then is kept.
    """
    requests: dict[Path, dict[str, Any]] = {}
    files = []
    for conversation in conversations:
        request = {
            "url": endpoint.url,
            "model": endpoint.model,
            "messages": _messages(conversation, endpoint.system_role),
            **sampling.model_dump(include=SAMPLING, exclude_none=True),
        }
        name = fingerprint(request, 64)
        files.append(answers / name[:2] / f"{name}.json")
        requests[files[-1]] = request
    stored = {file: _read(file, request) for file, request in requests.items()}
    replies = {file: reply for file, reply in stored.items() if reply is not None}
    if len(replies) < len(requests):
        asyncio.run(_Run(endpoint, requests, replies).finish())
    return [answered(replies[file]) for file in files]


def _messages(conversation: Sequence[Mapping[str, str]], system_role: bool) -> list[dict[str, str]]:
    first, *others = (dict(message) for message in conversation)
    if system_role or first["role"] != "system":
        return [first, *others]
    user, *others = others
    return [user | {"content": f"{first['content']}\n\n{user['content']}"}, *others]


def cost(endpoint: Endpoint, replies: Sequence[Reply]) -> float | None:
    """What the replies' tokens cost, in the currency of the prices (for a million tokens).

    None without prices, and where a server did not tell the tokens of a reply.
    """
    total, prices = 0.0, endpoint.prices
    for reply in replies:
        if prices is None or reply.prompt_tokens is None or reply.completion_tokens is None:
            return None
        total += reply.prompt_tokens * prices.input + reply.completion_tokens * prices.output
    return None if prices is None else total / 1e6


def usage(endpoint: Endpoint, replies: Sequence[Reply]) -> dict[str, Any]:
    """Tokens of the replies that tell them, how many do not, the cost, and texts without a reply.

    A text that was refused by a status has no tokens: where one is paid for, no server tells it.
    """
    counts = [(reply.prompt_tokens, reply.completion_tokens) for reply in replies]
    return {
        "prompt_tokens": sum(asked or 0 for asked, _ in counts),
        "completion_tokens": sum(written or 0 for _, written in counts),
        "without_usage": sum(None in pair for pair in counts),
        "cost": cost(endpoint, replies),
        "refused": sum(reply.finish == "refused" for reply in replies),
        "too_long": sum(reply.finish == "too_long" for reply in replies),
    }


_REPLY = TypeAdapter(Reply)


class _Kept(BaseModel):
    """The content of a reply's file."""

    request: dict[str, Any]
    reply: dict[str, Any]  # as the server wrote it, thoughts included
    sha256: str  # of the reply


def _read(file: Path, request: Mapping[str, Any]) -> Reply | None:
    """The kept reply; None where there is none, or what lies there is damaged or foreign."""
    try:
        kept = _Kept.model_validate_json(file.read_bytes())
        reply = _REPLY.validate_python(kept.reply)
    except (OSError, ValidationError):
        return None
    same = kept.request == request and kept.sha256 == fingerprint(kept.reply, 64)
    return reply if same else None


def _keep(file: Path, request: dict[str, Any], reply: Reply) -> None:
    kept = _Kept(request=request, reply=asdict(reply), sha256=fingerprint(asdict(reply), 64))
    with suppress(FileNotFoundError):  # another process has just kept the same reply
        write_json(file, kept.model_dump())


class _Run:
    """Requests on their way: what came, what failed, and when to stop."""

    def __init__(
        self,
        endpoint: Endpoint,
        requests: Mapping[Path, dict[str, Any]],
        replies: dict[Path, Reply],
    ) -> None:
        self.endpoint, self.requests, self.replies = endpoint, requests, replies
        self.key = _key(endpoint)
        self.progress = Progress(len(requests), "replies", len(replies))
        self.again = self.failed = self.in_a_row = 0
        self.limit = "max_tokens"  # not every server knows its successor, max_completion_tokens
        self.trouble = ""
        self.stop = asyncio.Event()

    async def finish(self) -> None:
        """Fill `replies`, or raise UserError."""
        endpoint = self.endpoint
        transport = openai.DefaultAsyncHttpxClient(
            trust_env=not _is_loopback(endpoint.url),  # a proxy can't reach this machine
            follow_redirects=False,  # another host was not asked for
        )
        waiting = iter([item for item in self.requests.items() if item[0] not in self.replies])
        async with openai.AsyncOpenAI(
            base_url=endpoint.url, api_key=self.key or "none", max_retries=0,
            timeout=endpoint.timeout, http_client=transport,
        ) as self.client:  # fmt: skip
            await asyncio.gather(*(self.work(waiting) for _ in range(endpoint.concurrency)))
        if len(self.replies) < len(self.requests):
            raise UserError(
                f"endpoint: {endpoint.url} {self.trouble}; {len(self.replies)} of "
                f"{len(self.requests)} replies are kept, and the same command goes on"
            )

    async def work(self, waiting: Iterator[tuple[Path, dict[str, Any]]]) -> None:
        """Take requests one after another, as several workers do at a time."""
        for file, request in waiting:
            reply = await self.persist(request)
            if reply is not None:
                self.in_a_row = 0
                self.replies[file] = reply
                _keep(file, request, reply)
                self.progress.advance(1, f"{self.again} sent again" if self.again else "")
            if self.stop.is_set():
                return

    async def persist(self, request: Mapping[str, Any]) -> Reply | None:
        """The reply, or None if no attempt brings one or the run is to stop."""
        attempts = self.endpoint.attempts
        for attempt in range(1, attempts + 1):
            try:
                return await self.attempt(request)
            except Fault as fault:
                reason, wait = self.plain(str(fault)), _wait(attempt, fault.retry_after)
                if fault.final:
                    self.trouble = reason
                    self.stop.set()
            log.debug("attempt %d of %d: %s", attempt, attempts, reason)
            if attempt < attempts:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.stop.wait(), wait)
            if self.stop.is_set():
                return None
            self.again += attempt < attempts
        log.info("no reply in %d attempts: %s", attempts, reason)
        self.failed += 1
        self.in_a_row += 1
        self.trouble = (
            f"left {self.failed} request(s) unanswered, {attempts} attempts each: {reason}"
        )
        if self.in_a_row >= HOPELESS:
            self.stop.set()
        return None

    async def attempt(self, request: Mapping[str, Any]) -> Reply:
        """Send once."""
        seconds, limit = self.endpoint.timeout, self.limit
        body = {part: request[part] for part in request if part not in ("url", "max_new_tokens")}
        body[limit] = request["max_new_tokens"]
        headers: dict[str, str | openai.Omit] = {  # or the library has them from the environment
            "Authorization": f"Bearer {self.key}" if self.key else openai.omit,
            "OpenAI-Organization": openai.omit,
            "OpenAI-Project": openai.omit,
        }
        try:
            async with asyncio.timeout(seconds):  # the library's holds for each read alone
                completion = await self.client.chat.completions.with_raw_response.create(
                    **body, extra_headers=headers
                )
            response = completion.http_response
        except (TimeoutError, openai.APITimeoutError):
            raise Fault(f"no answer within {seconds:g} s") from None
        except openai.APIStatusError as error:
            response = error.response
        except openai.APIConnectionError as error:
            raise Fault(str(error.__cause__ or error) or "connection error") from None
        if response.status_code == 401:
            variable = self.endpoint.key_variable
            refused = f"refuses the key in ${variable} (401)"
            raise Fault(refused if variable else "wants a key (401): set key_variable", final=True)
        system = any(message["role"] == "system" for message in request["messages"])
        after = response.headers.get("retry-after", "")
        try:
            reply = read(response.status_code, response.content, after, system)
        except Fault as fault:
            if fault.final and limit == "max_tokens" and "max_completion_tokens" in response.text:
                self.limit = "max_completion_tokens"
                return await self.attempt(request)
            raise
        return replace(reply, text=self.redacted(reply.text), reason=self.plain(reply.reason))

    def plain(self, words: str) -> str:
        """One short line, without the key and without what a terminal would obey."""
        visible = "".join(c if c.isprintable() else " " for c in self.redacted(words))
        line = " ".join(visible.split()) or ascii(words.strip())[1:-1]
        return line if len(line) <= 200 else f"{line[:199]}…"

    def redacted(self, text: str) -> str:
        """Without the key; a few characters are no secret, and may stand in any text."""
        return text.replace(self.key, "[key]") if len(self.key) >= 8 else text


def _key(endpoint: Endpoint) -> str:
    """The key, "" if none is needed."""
    variable = endpoint.key_variable
    key = os.environ.get(variable, "").strip() if variable else ""
    if variable and not key:
        raise UserError(f"endpoint: {endpoint.url} needs a key: ${variable} is not set")
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"endpoint: the key in ${variable} has characters that no header can bear")
    return key


def _wait(attempt: int, retry_after: str) -> float:
    """Seconds to wait after the n-th attempt: ever longer, no shorter than a server told, and never
    longer than `LONGEST_WAIT`.
    """
    wait = FIRST_WAIT * 2.0 ** min(attempt - 1, 30) * random.uniform(0.5, 1)
    return min(max(wait, _seconds(retry_after)), LONGEST_WAIT)


def _seconds(retry_after: str) -> float:
    """A Retry-After, seconds or a date, as seconds from now; 0 where it is neither."""
    with suppress(ValueError):
        return float(retry_after)
    with suppress(ValueError, TypeError, OverflowError):
        date = parsedate_tz(retry_after)
        return mktime_tz(date) - time.time() if date else 0.0
    return 0.0


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
