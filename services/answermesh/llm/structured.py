"""JSON out of a model's text: the format that is asked for, and the check of what comes. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import jsonschema

from answermesh.llm.provider import Message

_FENCED = re.compile(r"\s*```(?:json)?\s*(.*?)\s*```\s*", re.DOTALL)
_SHOWN_CHARS = 300


class Misfit(Exception):
    """The text is not JSON that fits the schema; the message says why, for the model."""


def response_format(task: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """What makes servers that can constrain their output do so; what the others give is checked all the same."""
    return {"type": "json_schema", "json_schema": {"name": task, "schema": dict(schema)}}


def parse(text: str, schema: Mapping[str, Any]) -> Any:
    """The value; a Markdown fence around it is taken off. Raises Misfit."""
    fenced = _FENCED.fullmatch(text)
    try:
        value = json.loads(fenced.group(1) if fenced else text)
    except ValueError as error:
        raise Misfit(f"it is not JSON ({error})") from error
    worst = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(value))
    if worst is not None:
        raise Misfit(f"{worst.json_path}: {worst.message[:_SHOWN_CHARS]}")
    return value


def repair(text: str, misfit: Misfit) -> list[Message]:
    """The turns that ask once more."""
    wish = f"That answer cannot be used: {misfit}. Answer again with nothing but JSON that fits the schema."
    return [Message("assistant", text), Message("user", wish)]
