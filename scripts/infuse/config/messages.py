"""The words for a config that is refused: one line for each mistake, where, expected, found."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from infuse.core.errors import UserError, cut, meant

# Names of an earlier version, and what they are called now; for one release.
RENAMED = {"engine": "backend", "chip": "gpu", "probes": "logit_lens", "riddles": "two_hop"}
OWN_NAMES = ("arms", "endpoints")  # sections whose keys are the user's
TYPES = {
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "list_type": "a list",
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
}
NAME = r"^[A-Za-z][A-Za-z0-9_]*$"
COMMIT = r"^[0-9a-f]{40}$"
HUB_ID = r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?$"
DATA_FILE = r"[^/]\.(parquet|jsonl|csv)$"
GGUF_FILE = r"[^/]\.gguf$"
CORPUS_FILE = r"^(task|triples)$|[^/]\.(txt|txt\.gz|parquet|jsonl|csv)$"
NOT_BLANK = r"\S"
PATTERNS = {
    NAME: "a letter, then letters, digits and underscores",
    COMMIT: "a full commit hash of 40 hexadecimal digits",
    HUB_ID: "owner/name as on the hub",
    DATA_FILE: "a file that ends in .parquet, .jsonl or .csv",
    GGUF_FILE: "a file that ends in .gguf",
    CORPUS_FILE: "task, triples, or a file that ends in .txt, .txt.gz, .parquet, .jsonl or .csv",
    NOT_BLANK: "a text that is not all white space",
}


def refusal(mistakes: Iterable[str]) -> UserError:
    """The one report of all mistakes, each on a line of its own."""
    lines = [line if line.isprintable() else ascii(line)[1:-1] for line in mistakes]
    return UserError(f"{len(lines)} error(s) in the config:\n  " + "\n  ".join(lines))


def unwritable(tree: Any) -> Iterator[str]:
    """One line for each text or key of a config that UTF-8 can't hold: half of a surrogate pair,
    which an escape of YAML's or JSON's can write.
    """
    seen = set[int]()  # an alias may stand in what it stands for

    def found(part: Any, path: str, what: str = "text") -> Iterator[str]:
        if isinstance(part, str):
            halves = [letter for letter in part if "\ud800" <= letter <= "\udfff"]
            if halves:
                yield (
                    f"{path or 'config'}: expected a {what} that UTF-8 can hold, found"
                    f" {halves[0]!a}, half of a character (write the character itself)"
                )
        elif isinstance(part, Mapping | list) and id(part) not in seen:
            seen.add(id(part))
            for key, value in part.items() if isinstance(part, Mapping) else enumerate(part):
                yield from found(key, path, "key")
                below = _below(path, key) if isinstance(part, Mapping) else f"{path}[{key}]"
                yield from found(value, below)

    return found(tree, "")


def explain(error: Mapping[str, Any], root: type[BaseModel]) -> Iterator[str]:
    """One line for one of pydantic's errors, or for each that a validator found.

    Args:
        root: the model that was validated; key paths begin below it.
    """
    location, value = error["loc"], error["input"]
    where, valid, kind = _locate(location, root)
    of_kind = f" where kind is {kind!r}" if kind else ""
    match error["type"]:
        case "value_error":
            yield from (f"{where}{said}" for said in str(error["ctx"]["error"]).split("\n"))
        case "missing":
            yield f"{where}: missing{of_kind}"
        case "extra_forbidden":
            near = nearest(str(location[-1]), valid)
            yield f"{where}: unknown key{near or f'{of_kind}, expected one of ' + ', '.join(valid)}"
        case "union_tag_invalid" | "union_tag_not_found":
            value, kinds = value.get("kind"), " or ".join(map(repr, valid))
            near = nearest(str(value), valid)
            yield f"{where}.kind: expected {kinds}, found {shown(value)}{near}"
        case "invalid_key":  # that is, no text
            above = _locate(location[:-1], root)[0]
            yield f"{above}: expected a text as key, found {shown(value)}{hint(value)}"
        case "string_type" if location[-1] == "[key]":
            above = _locate(location[:-2], root)[0]
            yield f"{above}: expected a text as key, found {shown(value)}{hint(value)}"
        case _ if (
            location[:1] == ("endpoints",)
            and location[-1] != "[key]"
            and isinstance(value, str | list | Mapping)
        ):  # a key may have been pasted there
            what = {str: "a text", list: "a list"}.get(type(value), "a mapping")
            yield f"{where}: expected {_expected(error)}, found {what}"
        case _:
            expected, help_ = _expected(error), _help(error, kind)
            if expected in TYPES.values() and isinstance(value, str) and not help_:
                expected += of_kind
            yield f"{where}: expected {expected}, found {shown(value)}{help_}"


def _expected(error: Mapping[str, Any]) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "string_pattern_mismatch":
            return PATTERNS[context["pattern"]]
        case "too_short":
            return f"{context['min_length']} or more entries"
        case "too_long":
            return f"at most {context['max_length']} entries"
        case "string_too_short":
            return f"{context['min_length']} or more characters"
    return TYPES.get(error["type"], error["msg"].removeprefix("Input should be "))


def _help(error: Mapping[str, Any], kind: str | None) -> str:
    """How to write what was probably meant."""
    location, value = error["loc"], error["input"]
    match TYPES.get(error["type"]):
        case "a mapping" if value is None and location and location[0] not in OWN_NAMES:
            return "" if kind else " (leave the key out to keep the default)"
        case "a list" if isinstance(value, str | int | float):
            return f" (write [{value}])"
        case "a text":
            return hint(value)
        case "a number" | "a whole number" if isinstance(value, str):
            return _number(value)
    if error["type"] == "literal_error":
        return nearest(str(value), re.findall("'([^']+)'", error["ctx"]["expected"]))
    return ""


def shown(value: Any) -> str:
    """A wrong value about as YAML writes it."""
    return cut("nothing" if value is None else _written(value))


def _written(value: Any, depth: int = 3) -> str:
    if isinstance(value, Mapping | list) and not depth:
        return "..."
    if isinstance(value, Mapping):
        pairs = (f"{_written(k)}: {_written(v, depth - 1)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_written(part, depth - 1) for part in value) + "]"
    if isinstance(value, bool | None):
        return {True: "true", False: "false", None: "null"}[value]
    return repr(value) if isinstance(value, str) else str(value)


def hint(value: Any) -> str:
    """Why YAML made something else of what was meant as a text."""
    if isinstance(value, bool):
        return " (YAML takes yes, no, on and off for true and false: put quotes around it)"
    if isinstance(value, datetime.date):
        return " (YAML takes it for a date: put quotes around it)"
    return " (put quotes around it)" if isinstance(value, int | float) else ""


def _number(text: str) -> str:
    """The number that was meant by a text, as YAML takes it for one."""
    try:
        value = float(text)
        number = repr(int(value) if value.is_integer() else value)
    except (ValueError, OverflowError):  # no number at all, or none that is finite
        return ""
    mantissa, e, exponent = number.partition("e")
    if e and "." not in mantissa:
        mantissa += ".0"
    return f" (a text to YAML: write {mantissa}{e}{exponent})"


def _locate(
    location: tuple[str | int, ...], root: type[BaseModel]
) -> tuple[str, list[str], str | None]:
    """The key path that a user would write, the names valid at its end, the kind that it is of."""
    model: Any = root
    path = ""
    valid: list[str] = []
    kind: str | None = None
    for part in location:
        options = _sections(model)
        tagged = [option for option in options if _tag(option) == part]
        if tagged and len(options) > 1:
            model = tagged[0]
            continue
        if part == "[key]":
            continue
        kind = _tag(model) if model in options else None
        if isinstance(part, int) and get_origin(model) is not dict:
            path += f"[{part}]"
        else:
            path = _below(path, part)
        valid = [name for option in options for name in option.model_fields]
        model = _step(model, options, part)
    tags = [tag for option in _sections(model) if (tag := _tag(option))]
    return path or "config", tags or valid, kind


def _below(path: str, key: Any) -> str:
    name = str(key) if str(key).isidentifier() else repr(key)
    return f"{path}.{name}" if path else name


def _step(model: Any, options: list[type[BaseModel]], part: str | int) -> Any:
    for option in options:
        if part in option.model_fields:
            return option.model_fields[str(part)].annotation
    values = get_args(model)
    return values[-1] if values else None


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The config sections inside an annotation, which may be a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, type):
        return []
    return [section for part in get_args(annotation) for section in _sections(part)]


def _tag(section: type[BaseModel]) -> str | None:
    kind = section.model_fields.get("kind")
    return get_args(kind.annotation)[0] if kind else None


def nearest(name: str, valid: list[str]) -> str:
    """The valid name that was probably meant, as the end of a line."""
    if RENAMED.get(name) in valid:
        return f", it is called {RENAMED[name]!r} now"
    return meant(name, valid)
