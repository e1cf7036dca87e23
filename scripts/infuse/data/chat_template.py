"""A model's own chat template: what it writes before a text, after it, and after an answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jinja2 import TemplateError

from infuse.core.errors import UserError, first_line

SLOT = "\N{OBJECT REPLACEMENT CHARACTER}"  # where a text will stand
_TOLD = "\N{INTERLINEAR ANNOTATION ANCHOR}"  # in place of the system message
# How a model that thinks is told to answer at once: Qwen's and SmolLM's word, Granite's.
AT_ONCE = {"enable_thinking": False, "thinking": False}
_AS_GIVEN = "as_given"  # what tells a standalone template to add no message
log = logging.getLogger("infuse")
Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Frame:
    """What the template writes around a text and an answer to it.

    Attributes:
        before: the text.
        after: the text, up to where the answer begins.
        ending: after the answer; "" where the template doesn't say.
        bare: before the text, without the words of the system message.
    """

    before: str
    after: str
    ending: str
    bare: str


def frame(tokenizer: Any, system: str, date_string: str) -> Frame:
    """The frame of a chat with a system message, or without one where that is "".

    A template without a system role gets the message in front of the text, and the log says so.

    Raises:
        UserError: the template fails, does not write the text once, or opens no answer.
    """
    render = renderer(tokenizer, date_string)
    asked = _asked(render, system)
    if system and len(asked) == 1:
        log.info("the chat template has no system role: the message stands in front of each text")
    opened, closed = (_rendered(render, asked, wanted) for wanted in (True, False))
    if opened.count(SLOT) != 1:
        raise UserError("the chat template does not write the user's text exactly once")
    before, after = opened.split(SLOT)
    try:
        whole = render([*asked, {"role": "assistant", "content": SLOT}], False).split(SLOT)
    except TemplateError:
        whole = []
    between, ending = whole[1:] if len(whole) == 3 else ("", "")
    # Some, as Llama 2's, need no words of their own to open an answer.
    if opened == closed and not between.strip() == after.strip() != "":
        raise UserError("the chat template has no generation prompt to open an answer")
    other = [turn | {"content": turn["content"].replace(system, _TOLD, 1)} for turn in asked]
    bare = _rendered(render, other, True).split(SLOT)[0].replace(_TOLD, " ") if system else before
    return Frame(before, after, ending, bare)


def standalone(tokenizer: Any, system: str, date_string: str) -> str:
    """The chat template, with all that a lone message of a user needs around it.

    Whoever renders such a message, any server or library, gets the chat of `frame`: the system
    message, the date, and no thoughts.

    Raises:
        UserError: as `frame`.
    """
    times: dict[str, str] = {}
    render = renderer(tokenizer, date_string, times)
    asked = _asked(render, system)
    _rendered(render, asked, True)
    text = " ~ messages[0]['content'] ~ "
    given = ", ".join(
        f"{{'role': {turn['role']!a}, 'content': "
        f"{text.join(ascii(part) for part in turn['content'].split(SLOT))}}}"
        for turn in asked
    )
    lone = f"messages | length == 1 and {_AS_GIVEN} is not defined"
    lines = [
        *(f"{{% set {word} = {value} %}}" for word, value in AT_ONCE.items()),
        f"{{% set date_string = date_string | default({date_string!a}) %}}",
    ]
    if asked != [{"role": "user", "content": SLOT}]:
        lines.append(f"{{% if {lone} %}}{{% set messages = [{given}] %}}{{% endif %}}")
    if times:
        lines.append(f"{{% macro strftime_now(form) %}}{{{{ {times}[form] }}}}{{% endmacro %}}")
    return "".join(lines) + "\n" + str(tokenizer.get_chat_template())


def renderer(
    tokenizer: Any, date_string: str, times: dict[str, str] | None = None
) -> Callable[[Messages, bool], str]:
    """What renders messages, and opens an answer if that is wanted.

    A template that asks for the time is told the date of the config, so that prompts stay alike.

    Args:
        times: gets each form of the time that is asked for, with the answer.
    """

    def now(form: str = "") -> str:
        try:
            time = datetime.strptime(date_string, "%d %b %Y").strftime(form)
        except ValueError:  # a date in words of its own
            time = date_string
        if times is not None:
            times[form] = time
        return time

    def render(messages: Messages, opens: bool) -> str:
        return str(
            tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=opens, date_string=date_string,
                strftime_now=now, **AT_ONCE, **{_AS_GIVEN: True},
            )
        )  # fmt: skip

    return render


def _asked(render: Callable[[Messages, bool], str], system: str) -> Messages:
    user = {"role": "user", "content": SLOT}
    if not system:
        return [user]
    messages = [{"role": "system", "content": system}, user]
    try:
        if system.strip() in render(messages, True):
            return messages
    except TemplateError:
        pass
    return [{"role": "user", "content": f"{system}\n\n{SLOT}"}]


def _rendered(render: Callable[[Messages, bool], str], messages: Messages, opens: bool) -> str:
    try:
        return render(messages, opens)
    except Exception as damage:  # a template may raise what it likes
        reason = f"{type(damage).__name__}: {first_line(damage)}"
        raise UserError(f"no usable chat template ({reason})") from damage
