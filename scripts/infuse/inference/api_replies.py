"""What a server's answer means: a reply, a text that gets none, or a fault that may pass.

A reply is whole, or it is none: where a server does not say that the model has come to its end, or
to the limit, there is no reply. A text that the server will never answer (refused, too long) has an
empty one. Words by which servers say so are those of OpenAI, Azure, Anthropic, Google, DeepSeek,
Alibaba, OpenRouter, LiteLLM, vLLM, SGLang, llama.cpp, Ollama and text-generation-inference.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic_core import from_json

from infuse.core.errors import UserError, counted

log = logging.getLogger("infuse")

Finish = Literal["stop", "length", "refused", "too_long"]


@dataclass(frozen=True)
class Reply:
    """What the model wrote, and why it ended.

    Attributes:
        text: "" where it was refused or its text is too long for the model.
        finish: stop, the model's own end; length, the limit; refused, by a filter or the model
            itself; too_long, the text does not fit the model's context.
        prompt_tokens: as the server counts them, None: not told.
        reason: the server's words, where there is no text.
    """

    text: str
    finish: Finish
    prompt_tokens: int | None
    completion_tokens: int | None
    reason: str = ""


class Fault(Exception):
    """Why there is no reply; whether another attempt would fail too; the server's Retry-After."""

    def __init__(self, reason: str, final: bool = False, retry_after: str = "") -> None:
        super().__init__(reason)
        self.final, self.retry_after = final, retry_after


def read(status: int, content: bytes, retry_after: str = "", system: bool = False) -> Reply:
    """The reply in a server's answer.

    Args:
        status: of HTTP.
        content: the answer's body.
        retry_after: the header of that name.
        system: whether the request had a system message, which some servers refuse.

    Raises:
        Fault: there is none. An error is taken for what it says, with whatever status it comes.
    """
    try:
        body: Any = from_json(content)
        damage = "expected an object"
    except ValueError as mistake:
        body, damage = content.decode(errors="replace"), f"not JSON: {mistake}"
    if status >= 300:
        return _refusal(status, body, retry_after, system)
    if not isinstance(body, dict):
        raise Fault(f"no chat completion ({damage})")
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    choice = choice if isinstance(choice, dict) else {}
    error = body.get("error") or choice.get("error")
    if error:
        return _refusal(_status(error), error, retry_after, system)
    if not choice:
        raise Fault("no chat completion (no choices)")
    return _completion(choice, body.get("usage"))


# A completion

_FINISHES: dict[str, Finish] = {
    **dict.fromkeys(("stop", "eos", "eos_token", "stop_sequence", "end_turn", "complete"), "stop"),
    **dict.fromkeys(
        ("length", "max_tokens", "max_output_tokens", "model_length",
         "model_context_window_exceeded"),
        "length",
    ),
    **dict.fromkeys(
        ("content_filter", "refusal", "safety", "recitation", "sensitive", "prohibited_content",
         "guardrail_intervened"),
        "refused",
    ),
}  # fmt: skip
_CALLS = ("tool_calls", "function_call", "tool_use")  # in place of an answer


def _completion(choice: Mapping[str, Any], usage: Any) -> Reply:
    """What a choice holds, if it has come to an end that we know."""
    end = str(choice.get("finish_reason")).casefold().replace("-", "_")
    read_, written = (_tokens(usage, part) for part in ("prompt_tokens", "completion_tokens"))
    if end in _CALLS:
        return Reply("", "stop", read_, written, f"the model ended with {end}")
    if end not in _FINISHES:
        raise Fault(f"no whole reply (finish_reason {choice.get('finish_reason')!r})")
    finish, message = _FINISHES[end], choice.get("message")
    text, refusal = _content(message) if isinstance(message, dict) else ("", "")
    if finish == "refused" or refusal:
        return Reply("", "refused", read_, written, refusal.strip() or f"finish_reason {end}")
    if not isinstance(message, dict) and finish == "stop":
        raise Fault("no chat completion (no message)")
    return Reply(text, finish, read_, written)


def _content(message: Mapping[str, Any]) -> tuple[str, str]:
    """Text and refusal of a message; parts that are thoughts, pictures or calls are no text."""
    content, refusal = message.get("content"), message.get("refusal")
    parts = content if isinstance(content, list) else [content or ""]
    texts: list[Any] = []
    refusals: list[Any] = [refusal or ""]
    for part in parts:
        if isinstance(part, dict) and part.get("type") == "refusal":
            refusals.append(part.get("refusal"))
        elif isinstance(part, dict) and part.get("type", "text") in ("text", "output_text"):
            texts.append(part.get("text"))
        elif not isinstance(part, dict):
            texts.append(part)
    if not all(isinstance(said, str) for said in texts + refusals):
        raise Fault("no chat completion (content that is no text)")
    return "".join(texts), "".join(refusals)


def _tokens(usage: Any, part: str) -> int | None:
    """A count of tokens; None where it is not told, or can't be one."""
    count = usage.get(part) if isinstance(usage, dict) else None
    return count if type(count) is int and 0 <= count < 2**31 else None


# An error

_CODES: dict[str, Finish] = {
    **dict.fromkeys(
        ("content_filter", "content_policy_violation", "responsibleaipolicyviolation",
         "data_inspection_failed", "datainspectionfailed", "invalid_prompt", "1301"),
        "refused",
    ),
    **dict.fromkeys(
        ("context_length_exceeded", "exceed_context_size_error", "string_above_max_length",
         "request_too_large"),
        "too_long",
    ),
}  # fmt: skip
_WORDS: dict[Finish, re.Pattern[str]] = {
    "too_long": re.compile(
        r"context (length|size|window|limit)|(model|prompt|input|sequence) length"
        r"|(prompt|input|request|message|string)s?\b(?:(?!max).){0,60}?\btoo (long|large)\b"
        r"|`inputs` (tokens|must)|input token count|too many (input )?tokens",
        re.IGNORECASE,
    ),
    "refused": re.compile(
        r"content.?(filter|policy|management)|content (violates|blocked|exists risk)"
        r"|(prompt|content|input|request|response|output|message)\b.{0,80}?"
        r"\b(filtered|flagged|moderation|high risk|inappropriate|usage (polic|guideline))",
        re.IGNORECASE,
    ),
}
_NO_SYSTEM = re.compile(
    r"\b(system|developer)\W{1,3}(role|message|prompt|instruction)s?\b.{0,40}\b(not|un\w+|invalid)\b"
    r"|not support.{0,20}\bsystem\b|\brole\W{1,4}system\b|got system"
    r"|roles must alternate|only user(,| and) assistant",
    re.IGNORECASE,
)
_BELOW = ("error", "innererror", "detail", "metadata", "provider_specific_fields")
_PASSING = (408, 409, 425, 429)


def _refusal(status: int | None, body: Any, retry_after: str, system: bool) -> Reply:
    """The empty reply of a text that is refused for good, or else a fault.

    A code counts with any status. Words count where they are not those of a passing fault.
    """
    codes = [code.casefold() for kind, code in _claims(body) if kind == "code"]
    message = " ".join(words for kind, words in _claims(body) if kind == "words")
    shown = " ".join(filter(None, (str(status or ""), said(body))))
    passing = status in _PASSING or (status or 500) >= 500
    finish = next((_CODES[code] for code in codes if code in _CODES), None)
    too_large = re.search("request too large", message, re.IGNORECASE)
    if status == 413 or (status == 429 and too_large):
        finish = finish or "too_long"
    if finish is None and (status is None or not passing) and status not in (401, 402, 404):
        finish = next((name for name, words in _WORDS.items() if words.search(message)), None)
    if finish is not None:
        return Reply("", finish, 0, 0, shown)
    if system and status != 429 and _NO_SYSTEM.search(message):
        raise Fault(
            f"takes no system message ({shown}): set system_role: false for this endpoint", True
        )
    if passing and "insufficient_quota" not in codes:  # OpenAI's empty account, as a 429
        raise Fault(shown or "an error without a reason", retry_after=retry_after)
    raise Fault(f"refuses a request ({status}): {said(body) or 'without a reason'}", True)


def _claims(body: Any) -> Iterator[tuple[str, str]]:
    """("code", ...) and ("words", ...) of an error; texts that it repeats are elsewhere in it."""
    if isinstance(body, str):
        yield "words", body
    for key, value in body.items() if isinstance(body, dict) else ():
        if key in ("code", "type", "error_type", "status"):
            yield "code", str(value)
        elif key in ("message", "msg", "raw") or (key in _BELOW and isinstance(value, str)):
            yield "words", str(value)
        elif key in _BELOW:
            yield from _claims(value)


def said(body: Any) -> str:
    """The words of an error, as a person would look for them."""
    while isinstance(body, dict):
        inner = body.get("error") or body.get("message") or body.get("detail")
        if inner is None:
            break
        raw = body.get("metadata")
        raw = raw.get("raw") if isinstance(raw, dict) else None
        body = f"{inner}: {raw}" if raw and isinstance(inner, str) else inner
    return str(body or "")


def _status(error: Any) -> int | None:
    """The status that an error tells of itself; None where it tells none."""
    code = str(error.get("code") or error.get("status")) if isinstance(error, dict) else ""
    return int(code) if re.fullmatch("[45][0-9][0-9]", code) else None


# The answer in a reply

_TAG = re.compile(
    r"[<\[◁](?P<end>/?)(?:seed:)?(?:think(?:ing)?|thoughts?|reasoning)[>\]▷]", re.IGNORECASE
)


def answered(reply: Reply) -> Reply:
    """The reply without the model's thoughts, which some servers leave between tags.

    What was written before a closing tag that nothing has opened is a thought too: templates open
    the tag in the prompt. Thoughts without an end are a reply that was cut: its finish is length.
    Tags inside of an answer in JSON are quoted, and no thoughts.
    """
    tags = list(_TAG.finditer(reply.text))
    if not tags:
        return reply
    for place in (0, *(tag.end() for tag in tags if tag["end"])):
        if _is_json(reply.text[place:]):
            return replace(reply, text=reply.text[place:].strip())
    answer, place, thinking = "", 0, False
    for tag in tags:
        if not thinking:
            answer += reply.text[place : tag.start()]
        if tag["end"] and not thinking:
            answer = ""
        thinking, place = not tag["end"], tag.end()
    if thinking:
        return replace(reply, text="", finish="length", reason="thoughts without an end")
    return replace(reply, text=(answer + reply.text[place:]).strip())


def _is_json(text: str) -> bool:
    try:
        return isinstance(from_json(text), dict)
    except ValueError:
        return False


FEW = 0.1  # a smaller share of useful replies is hardly meant


def warn_of_few(useful: int, replies: Sequence[Reply], unread: str) -> None:
    """Say loudly that nearly no reply could be used, with one that could not."""
    if useful < FEW * len(replies):
        log.warning(
            "WARNING: %d of %d replies could be used (%s); one that could not: %s",
            useful, len(replies), ends(replies), unread,
        )  # fmt: skip


def check_useful(stage: str, replies: Sequence[Reply], unread: Sequence[str]) -> None:
    """Warn loudly of replies of which hardly one could be used.

    Args:
        unread: `shown` of each that could not.

    Raises:
        UserError: not one reply came.
    """
    if replies and not any(reply.finish in ("stop", "length") for reply in replies):
        raise UserError(
            f"{stage}: none of {len(replies)} texts got a reply ({ends(replies)}), for example "
            f"{unread[0]}"
        )
    if unread:
        warn_of_few(len(replies) - len(unread), replies, unread[0])


def ends(replies: Sequence[Reply]) -> str:
    """How the replies ended, and how often, the most frequent first."""
    return counted(reply.finish for reply in replies)


def shown(reply: Reply) -> str:
    """The beginning of what was said, quoted."""
    return repr((reply.text or reply.reason)[:80])
