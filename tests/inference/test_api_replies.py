"""What a server's answer means: whole or not at all, and never silently something else."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infuse.config.endpoints import ApiSampling
from infuse.core.errors import UserError
from infuse.inference import api_client
from infuse.inference.api_replies import Fault, Reply, answered, read
from loopback_server import Answer, completion, serve
from trees import ROOT

calm = settings(max_examples=60, suppress_health_check=list(HealthCheck))
GREEDY = ApiSampling(temperature=0.0, max_new_tokens=8, seed=3)
QUESTION = [[{"role": "user", "content": "a"}]]


def said(status: int, body: Any) -> str:
    """What becomes of an answer, in the words of docs/mistakes.md."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        reply = answered(read(status, content, system=True))
    except Fault as fault:
        return f"{'the end' if fault.final else 'again'}: {fault}"
    return f"{reply.finish}: {reply.text}".strip()


# The page

PAGE = (ROOT / "docs/mistakes.md").read_text()
TABLE = PAGE[PAGE.index("## What endpoints answer") :].split("\n## ")[0]
CASES = [
    pytest.param(int(status), body.strip(" `"), becomes.strip(" `"), id=report[:60])
    for line in TABLE.splitlines()
    if line.startswith("| ") and "`" in line
    for report, status, body, becomes in [re.split(r" \| ", line.strip("| "))]
]


def test_the_page_is_read() -> None:
    assert len(CASES) >= 25


@pytest.mark.parametrize(("status", "body", "becomes"), CASES)
def test_answers_that_were_reported(status: int, body: str, becomes: str) -> None:
    assert said(status, json.loads(body)) == becomes


# More of each kind


@pytest.mark.parametrize("status", [400, 403, 422, 424])
@pytest.mark.parametrize(
    ("words", "finish"),
    [
        ("The response was filtered due to the prompt triggering our policy", "refused"),
        ("Output blocked by content filtering policy", "refused"),
        ("Content Exists Risk", "refused"),
        ("The request was rejected because it was considered high risk", "refused"),
        ("This model requires moderation. Your input was flagged for violence", "refused"),
        ("Invalid prompt: your prompt was flagged, it may violate our usage policy", "refused"),
        ("prompt is too long: 210000 tokens > 200000 maximum", "too_long"),
        ("input length and `max_tokens` exceed context limit: 199000 + 4096 > 200000", "too_long"),
        ("The input (900 tokens) is longer than the model's context length (512)", "too_long"),
        ("The input token count (2000000) exceeds the maximum number of tokens", "too_long"),
        ("the input length exceeds the context length", "too_long"),
        ("Requested tokens (2285) exceed context window of 2048", "too_long"),
        ("This model's maximum prompt length is 131072", "too_long"),
        ("Prompt contains 40000 tokens, too large for model with 32768", "too_long"),
        ("Range of input length should be [1, 30720]", "too_long"),
        ("Input is too long for requested model", "too_long"),
        ("Invalid 'messages[0].content': string too long.", "too_long"),
    ],
)
def test_words_of_a_text_that_gets_no_reply(status: int, words: str, finish: str) -> None:
    shapes = [
        {"error": {"message": words}},
        {"error": words, "error_type": "validation"},
        {"message": words, "object": "error", "code": status},
        {"detail": words},
        {"type": "error", "error": {"type": "invalid_request_error", "message": words}},
        {"error": {"message": "Provider returned error", "metadata": {"raw": words}}},
    ]
    assert [said(status, shape) for shape in shapes] == [f"{finish}:"] * len(shapes)
    assert said(200, {"error": {"message": words, "code": status}}) == f"{finish}:"
    assert said(200, {"error": {"message": words}}) == f"{finish}:"
    for passing in (429, 500, 503):  # such words come with faults that pass, too
        assert said(passing, shapes[0]) == f"again: {passing} {words}"


@pytest.mark.parametrize(
    ("code", "finish"),
    [
        ("content_filter", "refused"),
        ("content_policy_violation", "refused"),
        ("ResponsibleAIPolicyViolation", "refused"),
        ("data_inspection_failed", "refused"),
        ("context_length_exceeded", "too_long"),
        ("exceed_context_size_error", "too_long"),
    ],
)
@pytest.mark.parametrize("status", [400, 403, 422, 500])
def test_codes_count_wherever_they_stand(status: int, code: str, finish: str) -> None:
    for error in (
        {"code": code},
        {"type": code},
        {"code": "400", "innererror": {"code": code}},
        {"code": "400", "provider_specific_fields": {"innererror": {"code": code}}},
    ):
        assert said(status, {"error": {"message": "no"} | error}) == f"{finish}:"


@pytest.mark.parametrize(
    "words",
    [
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
        "Invalid request: max_tokens is too large",
        "The model `gpt-0` does not exist",
        "Unsupported value: 'temperature' does not support 0 with this model",
        "Invalid value for 'seed'",
        "Your account was deactivated for violations of our usage policies",
        "unknown field: messages",
    ],
)
def test_a_mistake_in_the_request_is_no_property_of_the_text(words: str) -> None:
    line = f"the end: refuses a request (400): {words}"
    assert said(400, {"error": {"message": words}}) == line


def test_texts_that_an_error_repeats_are_not_read() -> None:
    """FastAPI shows what was sent; that a text speaks of a content filter says nothing."""
    sent = {"role": "user", "content": "content_filter, context length, system role not supported"}
    body = {"detail": [{"type": "missing", "msg": "Field required", "input": sent}]}
    assert said(422, body).startswith("the end: refuses a request (422): [{")


@pytest.mark.parametrize(
    "words",
    [
        "System role not supported",
        "Template error: invalid operation: System role not supported (in <string>:1)",
        "Conversation roles must alternate user/assistant/user/assistant/...",
        "Only user and assistant roles are supported!",
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        "Developer instruction is not enabled for models/gemma",
        "Unexpected role 'system'",
    ],
)
@pytest.mark.parametrize("status", [400, 422, 424, 500])
def test_a_system_message_that_is_refused_names_the_key(status: int, words: str) -> None:
    body = {"error": {"message": words}}
    assert said(status, body) == (
        f"the end: takes no system message ({status} {words}): set system_role: false for this "
        "endpoint"
    )
    with pytest.raises(Fault, match=r"^refuses a request|^500"):
        read(status, json.dumps(body).encode(), system=False)


@pytest.mark.parametrize(
    ("status", "body", "becomes"),
    [
        (429, {"error": {"message": "Request too large for m: Limit 6, Requested 7"}}, "too_long:"),
        (413, {}, "too_long:"),
        (200, [], "again: no chat completion (expected an object)"),
        (200, b" \n" * 99, "again: no chat completion (not JSON: "),
        (200, b'{"choices": [{"mess', "again: no chat completion (not JSON: "),
        (200, b"data: {}\n\n", "again: no chat completion (not JSON: "),
        (200, {"choices": []}, "again: no chat completion (no choices)"),
        (200, {"choices": None}, "again: no chat completion (no choices)"),
        (200, {"choices": [{"finish_reason": "stop"}]}, "again: no chat completion (no message)"),
        (200, {"choices": [{"text": "joy", "finish_reason": "stop"}]}, "again: no chat comple"),
        (200, {"error": {"code": 401, "message": "who?"}}, "the end: refuses a request (401): who"),
        (200, {"error": {"code": 503}}, "again: 503 "),
        (200, {"error": "overloaded"}, "again: overloaded"),
        (200, {"error": {}}, "again: no chat completion (no choices)"),
    ],
)
def test_what_is_no_reply(status: int, body: Any, becomes: str) -> None:
    assert said(status, body).startswith(becomes)


@pytest.mark.parametrize(
    ("content", "becomes"),
    [
        (["jo", "y"], "stop: joy"),
        ([{"type": "text", "text": "jo"}, {"type": "output_text", "text": "y"}], "stop: joy"),
        ([{"text": "joy"}], "stop: joy"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "fear"}]}, "joy"],
         "stop: joy"),
        ([{"type": "reasoning", "text": "fear"}, {"type": "text", "text": "joy"}], "stop: joy"),
        ([{"type": "image_url", "image_url": {"url": "data:"}}], "stop:"),
        ([], "stop:"),
        ([{"type": "refusal", "refusal": "I can't say joy"}], "refused:"),
        ([{"type": "text", "text": None}], "again: no chat completion (content that is no text)"),
        ([5], "again: no chat completion (content that is no text)"),
        ({"text": "joy"}, "stop: joy"),
    ],
)  # fmt: skip
def test_content_in_parts(content: Any, becomes: str) -> None:
    assert said(200, completion(content)) == becomes


# Whole or not at all

PIECES = st.lists(st.text(max_size=8), max_size=3)
ENDS = ["stop", "eos", "length", "content_filter", "tool_calls", "error", "abort", "", None, 5]


@calm
@given(
    pieces=PIECES,
    in_parts=st.booleans(),
    end=st.sampled_from(ENDS),
    refusal=st.none() | st.text(max_size=3),
    error=st.sampled_from([None, None, {"code": 502}, {"code": "content_filter"}]),
    status=st.sampled_from([200, 200, 200, 400, 403, 413, 429, 500]),
    cut=st.none() | st.none() | st.integers(0, 300),
)
def test_a_reply_is_kept_whole_or_not_at_all(
    pieces: list[str], in_parts: bool, end: Any, refusal: str | None, error: Any, status: int,
    cut: int | None,
) -> None:  # fmt: skip
    parts = [{"type": "text", "text": piece} for piece in pieces]
    body = completion(parts if in_parts else "".join(pieces) or None, end, refusal=refusal)
    body["choices"][0]["error"] = error
    text = json.dumps(body)
    cut = None if cut is None or cut >= len(text) else cut
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(lambda _: Answer(text, status, cut=cut)) as server,
    ):
        answers, section = Path(folder), server.endpoint(attempts=1)
        try:
            (reply,) = api_client.ask(section, QUESTION, GREEDY, answers)
        except UserError:
            assert not list(answers.rglob("*.json"))
            assert cut is not None or status != 200 or error or end in ENDS[5:]
            return
        assert cut is None
        assert api_client.ask(section, QUESTION, GREEDY, answers) == [reply]
        assert len(server.asked) == 1
    if status == 200 and not error and not refusal and end in ("stop", "eos", "length"):
        finish = "length" if end == "length" else "stop"
        assert reply == Reply("".join(pieces), finish, 7, 2)
    else:
        assert reply.text == "" and reply.reason
        assert reply.finish in ("refused", "too_long") or end == "tool_calls"


# Thoughts

PROSE = st.text("ab c.\n{}", max_size=12)
NAMES = st.sampled_from(["think", "thinking", "thought", "reasoning", "THINK", "seed:think"])


@given(st.lists(st.tuples(NAMES, PROSE), min_size=1, max_size=3), PROSE, PROSE, st.booleans())
def test_thoughts_are_no_part_of_the_answer(
    blocks: list[tuple[str, str]], inner: str, answer: str, opened: bool
) -> None:
    closed = "".join(f"<{name}>{text}</{name}>\n" for name, text in blocks)
    name = blocks[0][0]
    for text in (
        closed + answer,
        f"<{name}>{inner}<{name}>{inner}</{name}>{inner}</{name}>{answer}",  # nested
        f"<{name}> the tag <{name}> opens {inner}</{name}>{answer}",
        f"<{name}>{inner}</{name}> was the end tag{inner}</{name}>{answer}",
        f"{inner}</{name}>{answer}",  # opened in the prompt
        f"[THINK]{inner}[/THINK]{answer}",
        f"◁think▷{inner}◁/think▷{answer}",
    ):
        whole = Reply(text, "stop", 1, 1)
        assert answered(whole) == Reply(answer.strip(), "stop", 1, 1)
    for finish in ("stop", "length"):
        cut = answered(Reply(f"{closed if opened else ''}<{name}>{inner}{answer}", finish, 1, 1))
        assert (cut.text, cut.finish) == ("", "length")


@given(st.text())
def test_a_reply_without_thoughts_stays_as_it_is(text: str) -> None:
    reply = Reply(text, "stop", None, None)
    assert answered(reply) == reply or re.search("[<[◁]", text)


def test_an_answer_beside_its_reasoning_block() -> None:
    reply = Reply("joy\n<reasoning>not fear</reasoning>", "stop", 1, 1)
    assert answered(reply).text == "joy"


@given(
    st.sampled_from(["", "<think>so</think>", "so</think>\n"]),
    st.sampled_from(["<think>", "</think>", "<think> and </think>", "[/THINK]", "no tag"]),
)
def test_tags_that_an_answer_in_json_quotes_are_no_thoughts(thought: str, quoted: str) -> None:
    answer = json.dumps({"score": 2, "explanation": f"it leaves {quoted} in its text"})
    assert answered(Reply(thought + answer, "stop", 1, 1)).text == answer
