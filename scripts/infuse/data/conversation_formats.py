"""From rows of many forms to pairs of context and response, and the draw of some of the pairs.

A column map says how a row becomes a pair; `kind` is one of

- pair: `context` and `response` are texts;
- chat: `messages` is a list of roles and contents;
- transcript: `text` has turns that begin with "Human:" and "Assistant:" after an empty line;
- passage: `passage` is a text, `questions` and `answers` are lists;
- turns: `turns` is a list of utterances of two speakers.

The last turn (of the assistant, where there is one) is the response, all before it is the context.
A name may have dots: "answers.input_text" is the field `input_text` of the column `answers`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from infuse.core.errors import UserError, few, quoted
from infuse.data.chat_turns import turns_of
from infuse.data.sources import Row, share

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_SPEAKERS = {"user": "Human", "assistant": "Assistant", "system": "System"}
Turn = tuple[str, str]  # who speaks, and the words


class Pair(NamedTuple):
    """A context and the response to it."""

    context: str
    response: str


def columns_of(columns: Mapping[str, str]) -> list[str]:
    """The columns that a column map reads."""
    names = (name.partition(".")[0] for part, name in columns.items() if part != "kind")
    return list(dict.fromkeys(names))


def pair(row: Row, columns: Mapping[str, str], where: str) -> Pair | None:
    """The pair of a row, or None where there is no text on one of its sides.

    Raises:
        UserError: a column lacks the field that a name with a dot asks for, or turns of a chat have
            neither role nor content; `where` names the row.
    """
    parts = {part: _field(row, name, where) for part, name in columns.items() if part != "kind"}
    if columns["kind"] == "chat":
        parts["messages"] = turns_of(parts["messages"], where)
    built = _KINDS[columns["kind"]](**parts)
    if built is None:
        return None
    built = Pair(built.context.strip(), built.response.strip())
    return built if all(built) else None


def _field(row: Row, name: str, where: str) -> Any:
    column, *fields = name.split(".")
    value = row[column]
    for field in fields:
        if isinstance(value, list):  # of structs, where others have a struct of lists
            value = [_inside(item, field, column, where) for item in value]
        else:
            value = _inside(value, field, column, where)
    return value


def _inside(value: Any, field: str, column: str, where: str) -> Any:
    if value is None:
        return None
    if not isinstance(value, dict) or field not in value:
        keys = f"[{few(map(quoted, value))}]" if isinstance(value, dict) else type(value).__name__
        raise UserError(f"{where}: column {column!r} has no field {field!r}, found {keys}")
    return value[field]


def _texts(values: Any) -> list[str] | None:
    """A list of texts, if it is one."""
    good = isinstance(values, list) and all(isinstance(value, str) for value in values)
    return values if good else None


def _from_pair(context: Any, response: Any) -> Pair | None:
    both = _texts([context, response])
    return Pair(*both) if both else None


def _from_chat(messages: list[Row] | None) -> Pair | None:
    turns = []
    for turn in messages or []:
        said = _texts([turn.get("role"), turn.get("content")])
        if said is None:
            return None
        role, content = said
        turns.append((_SPEAKERS.get(role, role.capitalize()), content))
    return _answered(turns)


def _from_transcript(text: Any) -> Pair | None:
    if not isinstance(text, str):
        return None
    _, *parts = _TURN.split(text)
    return _answered(list(zip(parts[::2], parts[1::2], strict=True)))


def _answered(turns: Sequence[Turn]) -> Pair | None:
    """The assistant's last turn and those before it."""
    last = max((at for at, (who, _) in enumerate(turns) if who == "Assistant"), default=0)
    return Pair(_rendered(turns[:last]), turns[last][1]) if last else None


def _from_passage(passage: Any, questions: Any, answers: Any) -> Pair | None:
    asked, said = _texts(questions), _texts(answers)
    if not isinstance(passage, str) or not asked or not said or len(asked) != len(said):
        return None
    turns = [
        turn
        for question, answer in zip(asked, said, strict=True)
        for turn in (("Question", question), ("Answer", answer))
    ]
    return Pair(f"{passage.strip()}\n\n{_rendered(turns[:-1])}", said[-1])


def _from_turns(turns: Any) -> Pair | None:
    said = _texts(turns)
    if not said:
        return None
    names = "AB" * len(said)
    return Pair(_rendered(list(zip(names, said[:-1], strict=False))), said[-1])


def _rendered(turns: Sequence[Turn]) -> str:
    """Turns as lines; those without words are left out."""
    return "\n".join(f"{who}: {words.strip()}" for who, words in turns if words.strip())


_KINDS: dict[str, Callable[..., Pair | None]] = {
    "pair": _from_pair, "chat": _from_chat, "transcript": _from_transcript,
    "passage": _from_passage, "turns": _from_turns,
}  # fmt: skip


class Draw:
    """At most `rows` pairs of all that are added; content and seed alone say which.

    Equal pairs count once. The draw takes one pair of each context, the contexts by their hash, and
    a second pair of a context when all contexts have one: so sources that share their contexts are
    drawn alike, and a frequent context takes no room. It holds at most twice as many pairs as it
    draws. What it drops between can't be in the draw, since more pairs only push a pair back.
    """

    def __init__(self, rows: int, seed: int) -> None:
        self._rows, self._salt = rows, f"conversations {seed}"
        self._held: dict[tuple[float, float], tuple[str, Pair]] = {}

    def add(self, cluster: str, new: Pair) -> None:
        """Consider a pair whose context belongs to `cluster`."""
        place = share(cluster, self._salt), share("\0".join(new), self._salt)
        self._held[place] = cluster, new
        if len(self._held) > 2 * self._rows:
            self._held = {place: self._held[place] for place in self._drawn()}

    def drawn(self) -> list[tuple[str, Pair]]:
        """The drawn pairs with their clusters, in the order of the draw."""
        return [self._held[place] for place in self._drawn()]

    def _drawn(self) -> list[tuple[float, float]]:
        ranked = sorted(
            (turn, place)
            for _, places in groupby(sorted(self._held), key=lambda place: place[0])
            for turn, place in enumerate(places)
        )
        return [place for _, place in ranked[: self._rows]]
