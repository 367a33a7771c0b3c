"""Providers of language models: the `[[providers]]` tables of the settings, checked field by field.

    [[providers]]
    name = "openai"                        # unique; shown in usage
    base_url = "https://api.openai.com/v1" # of an OpenAI-compatible API
    api_key_env = "OPENAI_API_KEY"         # name of the variable that holds the key; without it, no key is sent
    models = ["gpt-5-mini"]                # tried in this order
    tasks = ["synthesis", "factcheck"]     # what it is used for; default: all but "embedding"
    price_per_million_input = 0.25         # in the currency unit of all prices; default 0
    price_per_million_output = 2.0
    max_concurrency = 8                    # calls at the same time
    timeout_s = 60                         # longest silence of the server
    max_tokens_field = "max_completion_tokens"   # default "max_tokens"

Providers that share a task are tried in the order of the file, those in good health first.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from answermesh.errors import invalid_field

TASKS = ("synthesis", "factcheck", "entities", "citation", "subquestions", "embedding")
_DEFAULT_TASKS = tuple(task for task in TASKS if task != "embedding")
_MAX_TOKENS_FIELDS = ("max_tokens", "max_completion_tokens")
# Sent where no key is configured: the client wants one, and servers without authentication ignore it.
_NO_KEY = "none"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of the conversation that a model continues."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Provider:
    """One configured API."""

    name: str
    base_url: str
    models: tuple[str, ...]
    api_key: str = _NO_KEY
    tasks: tuple[str, ...] = _DEFAULT_TASKS
    price_per_million_input: float = 0.0
    price_per_million_output: float = 0.0
    max_concurrency: int = 8
    timeout_s: float = 60.0
    max_tokens_field: str = "max_tokens"

    def __repr__(self) -> str:
        return f"Provider({self.name!r})"  # never the key

    @property
    def is_loopback(self) -> bool:
        """True if the API is on this machine."""
        return urlsplit(self.base_url).hostname in ("127.0.0.1", "::1", "localhost")


def parse_providers(
    tables: Sequence[Mapping[str, Any]], environ: Mapping[str, str] = os.environ
) -> tuple[Provider, ...]:
    """The providers of the settings.

    Raises Failure(INVALID_FIELD) naming the field, such as `providers[1].base_url`.
    """
    providers: list[Provider] = []
    for index, table in enumerate(tables):
        provider = _Table(f"providers[{index}]", table).provider(environ)
        if any(other.name == provider.name for other in providers):
            raise invalid_field(
                f"providers[{index}].name", f"{provider.name!r} is taken; give each provider its own name."
            )
        providers.append(provider)
    return tuple(providers)


class _Table:
    """One table, read field by field."""

    def __init__(self, path: str, table: Mapping[str, Any]) -> None:
        if not isinstance(table, Mapping):
            raise invalid_field(path, "must be a table.")
        self._path = path
        self._table = dict(table)

    def provider(self, environ: Mapping[str, str]) -> Provider:
        provider = Provider(
            name=self._text("name"),
            base_url=self._url("base_url"),
            models=self._texts("models", ()),
            api_key=self._key("api_key_env", environ),
            tasks=self._one_of("tasks", TASKS, _DEFAULT_TASKS),
            price_per_million_input=self._number("price_per_million_input", 0.0, at_least=0.0),
            price_per_million_output=self._number("price_per_million_output", 0.0, at_least=0.0),
            max_concurrency=int(self._number("max_concurrency", 8, at_least=1)),
            timeout_s=self._number("timeout_s", 60.0, at_least=0.1),
            max_tokens_field=self._one_of("max_tokens_field", _MAX_TOKENS_FIELDS, ("max_tokens",))[0],
        )
        if self._table:
            unknown = next(iter(self._table))
            raise invalid_field(f"{self._path}.{unknown}", "is no setting of a provider; see answermesh.llm.provider.")
        return provider

    def _text(self, key: str) -> str:
        value = self._table.pop(key, None)
        if not isinstance(value, str) or not value.strip():
            raise invalid_field(f"{self._path}.{key}", "must be a text that is not empty.")
        return value

    def _url(self, key: str) -> str:
        value = self._text(key)
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise invalid_field(
                f"{self._path}.{key}", f"is {value!r}; must be an http(s) URL, such as http://HOST:PORT/v1."
            )
        return value

    def _key(self, key: str, environ: Mapping[str, str]) -> str:
        if key not in self._table:
            return _NO_KEY
        name = self._text(key)
        if not environ.get(name):
            raise invalid_field(
                f"{self._path}.{key}", f"names the variable {name}, which is not set; set it to the API key."
            )
        return environ[name]

    def _texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = self._table.pop(key, default)
        if (
            not isinstance(value, Sequence)
            or isinstance(value, str)
            or not value
            or not all(isinstance(v, str) and v for v in value)
        ):
            raise invalid_field(f"{self._path}.{key}", "must be a list of at least one text.")
        return tuple(value)

    def _one_of(self, key: str, known: tuple[str, ...], default: tuple[str, ...]) -> tuple[str, ...]:
        if isinstance(value := self._table.get(key), str):
            self._table[key] = [value]
        chosen = self._texts(key, default)
        for value in chosen:
            if value not in known:
                raise invalid_field(f"{self._path}.{key}", f"{value!r} is unknown; known are {', '.join(known)}.")
        return chosen

    def _number(self, key: str, default: float, *, at_least: float) -> float:
        value = self._table.pop(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not at_least <= value < float("inf"):
            raise invalid_field(f"{self._path}.{key}", f"is {value!r}; must be a number of at least {at_least:g}.")
        return float(value)
