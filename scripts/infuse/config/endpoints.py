"""Servers with a chat interface, and what is asked of them."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, field_validator

from infuse.config.values import PositiveInt, Section, Seed


class Prices(Section):
    """Of an endpoint, for a million tokens."""

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]


class Endpoint(Section):
    """A server with OpenAI's chat interface; the key stands in an environment variable."""

    url: str
    model: str
    system_role: bool = Field(True, description="false: instructions go into the user's message")
    key_variable: str | None = Field(None, description="environment variable that holds the key")
    concurrency: PositiveInt = 8
    attempts: PositiveInt = 6
    timeout: PositiveFloat = 60.0
    prices: Prices | None = None

    @field_validator("url")
    @classmethod
    def _no_credentials(cls, url: str) -> str:
        # What stands there may hold a key, so it is never shown.
        try:
            parts = urlsplit(url)
            whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            whole = False
        if not whole:
            raise ValueError(": expected http://HOST/... or https://HOST/..., found another text")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(": expected no user, password or query; name a key_variable")
        return url

    @field_validator("key_variable")
    @classmethod
    def _a_variable(cls, name: str | None) -> str | None:
        # What stands there may be the key itself. Small letters would let many keys pass for names.
        if name is not None and not re.fullmatch("[A-Z_][A-Z0-9_]*", name):
            raise ValueError(
                ": expected the name of an environment variable, in capitals, not the key"
            )
        return name


class ApiModel(Section):
    """Whose answers they are: all of an endpoint that these depend on."""

    url: str
    model: str


class ApiSampling(Section):
    """How a model behind an endpoint is asked to write; what is null is not sent."""

    max_new_tokens: PositiveInt
    temperature: Annotated[float, Field(ge=0)] | None
    seed: Seed | None


class ZeroShot(Section):
    """The row of table 3 of a model that was not trained for the task."""

    endpoint: str
    list_labels: bool = True
    max_new_tokens: PositiveInt = 32
    temperature: Annotated[float, Field(ge=0)] | None = 0.0
    seed: Seed | None = 0
