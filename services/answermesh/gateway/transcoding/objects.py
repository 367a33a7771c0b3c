"""JSON values laid beside their descriptors: every object that is a message, for a second look at what was read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from protobuf import DescField, DescFieldValueList, DescFieldValueMap, DescMessage


def messages_within(message: DescMessage, seen: set[str] | None = None) -> Iterator[DescMessage]:
    """The message and all that it may hold, but the well-known ones, whose JSON is another."""
    seen = set() if seen is None else seen
    if message.type_name in seen or message.type_name.startswith("google.protobuf."):
        return
    seen.add(message.type_name)
    yield message
    for field in message.fields:
        inner = message_of(field)
        if inner is not None:
            yield from messages_within(inner, seen)


def objects(message: DescMessage, value: Any) -> Iterator[tuple[DescMessage, dict[str, Any]]]:
    """Each JSON object within `value` with its message. What an `Any` or a `Struct` holds is not looked at."""
    if not isinstance(value, dict) or message.type_name.startswith("google.protobuf."):
        return
    yield message, value
    for field in message.fields:
        inner = message_of(field)
        if inner is not None:
            for name in names_of(field) & value.keys():
                for one in _values(field, value[name]):
                    yield from objects(inner, one)


def names_of(field: DescField) -> set[str]:
    """The names that JSON may call the field by."""
    return {field.name, field.json_name}


def message_of(field: DescField) -> DescMessage | None:
    """The message that the field, its elements or its values are; None for others."""
    match field.value:
        case DescFieldValueList(element=DescMessage() as inner) | DescFieldValueMap(value=DescMessage() as inner):
            return inner
        case value:
            found: DescMessage | None = getattr(value, "message", None)
            return found


def _values(field: DescField, value: Any) -> list[Any]:
    match field.value:
        case DescFieldValueList():
            return value if isinstance(value, list) else []
        case DescFieldValueMap():
            return list(value.values()) if isinstance(value, dict) else []
        case _:
            return [value]
