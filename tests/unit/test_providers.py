"""Provider tables: what is taken, and which field is named when something is not right."""

from __future__ import annotations

from typing import Any

import pytest

from answermesh.config import Settings
from answermesh.errors import Failure, Reason
from answermesh.llm import Embeddings, LanguageModels
from answermesh.llm.provider import TASKS, parse_providers

GOOD: dict[str, Any] = {"name": "one", "base_url": "http://127.0.0.1:9/v1", "models": ["m"]}


def test_a_table_becomes_a_provider_with_its_key_from_the_environment() -> None:
    table = {**GOOD, "api_key_env": "KEY", "tasks": ["synthesis"], "price_per_million_input": 2, "max_concurrency": 3}

    [provider] = parse_providers([table], {"KEY": "secret"})

    assert (provider.api_key, provider.tasks, provider.max_concurrency) == ("secret", ("synthesis",), 3)
    assert provider.price_per_million_input == 2.0
    assert "secret" not in repr(provider)


def test_by_default_a_provider_does_all_but_embedding() -> None:
    [provider] = parse_providers([GOOD], {})

    assert set(provider.tasks) == set(TASKS) - {"embedding"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"base_url": "localhost:80"}, "base_url"),
        ({"base_url": None}, "base_url"),
        ({"models": []}, "models"),
        ({"models": "m"}, "models"),
        ({"tasks": ["cooking"]}, "tasks"),
        ({"api_key_env": "UNSET"}, "api_key_env"),
        ({"price_per_million_input": -1}, "price_per_million_input"),
        ({"price_per_million_output": "free"}, "price_per_million_output"),
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"timeout_s": True}, "timeout_s"),
        ({"timeout_s": float("nan")}, "timeout_s"),
        ({"max_tokens_field": "limit"}, "max_tokens_field"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_a_wrong_field_is_named_with_its_place(change: dict[str, Any], field: str) -> None:
    with pytest.raises(Failure) as caught:
        parse_providers([GOOD, {**GOOD, "name": "two", **change}], {})

    assert caught.value.reason is Reason.INVALID_FIELD
    assert [f.path for f in caught.value.fields] == [f"providers[1].{field}"]


def test_a_name_is_given_once() -> None:
    with pytest.raises(Failure, match=r"providers\[1\]\.name"):
        parse_providers([GOOD, GOOD], {})


def test_without_providers_there_is_no_language_model() -> None:
    assert LanguageModels.from_settings(Settings()) is None
    assert LanguageModels.from_settings(Settings(providers=({**GOOD, "tasks": ["embedding"]},))) is None


@pytest.mark.parametrize(
    ("table", "field"),
    [({"provider": "none"}, "provider"), ({"provider": "one", "dimensions": 0}, "dimensions"), ({"size": 3}, "size")],
)
def test_a_wrong_embedding_table_is_named(table: dict[str, Any], field: str) -> None:
    with pytest.raises(Failure, match=rf"embedding\.{field}"):
        Embeddings.from_settings(Settings(providers=(GOOD,), embedding=table))


def test_without_an_embedding_table_the_embedded_model_is_used() -> None:
    assert Embeddings.from_settings(Settings(providers=(GOOD,))) is None
