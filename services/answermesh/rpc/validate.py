"""Checks of requests: REQUIRED fields, found in the descriptors, before a handler runs; stated limits within it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from answermesh.errors import Failure, Field, Reason, invalid_field

# An id within a resource name: no slash, no white space, nothing invisible.
_MAX_ID_CHARS = 256
_ID = re.compile(r"[^\s/\x00-\x1f\x7f]+")
# Kinds whose zero cannot be told from unset, and may be meant.
_NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
    FieldDescriptor.CPPTYPE_DOUBLE,
    FieldDescriptor.CPPTYPE_FLOAT,
    FieldDescriptor.CPPTYPE_BOOL,
}
# Typed by its stub as another extension than it is.
_BEHAVIOR: Any = field_behavior_pb2.field_behavior
# How many missing fields one answer names.
_MAX_VIOLATIONS = 16


def check_text(path: str, value: str, max_chars: int) -> str:
    """`value`, if it has 1 to `max_chars` characters that are not all white space and none of them is NUL.

    Raises Failure(INVALID_FIELD) naming `path`.
    """
    if not value.strip():
        raise invalid_field(path, f"must be 1 to {max_chars} characters that are not all white space.")
    if len(value) > max_chars:
        raise invalid_field(path, f"is {len(value)} characters long; at most {max_chars} are allowed.")
    # Postgres cannot store it in text.
    if "\0" in value:
        raise invalid_field(path, "contains a NUL character; remove it.")
    return value


def check_name(path: str, value: str, pattern: str) -> str:
    """The id in the resource name `value`, which must follow `pattern`, e.g. "queries/*".

    With several wildcards, the ids are joined by "/". Raises Failure(INVALID_FIELD) naming `path`.
    """
    wanted, given = pattern.split("/"), value.split("/")
    ids = [part for part, want in zip(given, wanted, strict=False) if want == "*"]
    fits = len(given) == len(wanted) and all(want in ("*", part) for part, want in zip(given, wanted, strict=False))
    if not fits or not all(_ID.fullmatch(part) and len(part) <= _MAX_ID_CHARS for part in ids):
        example = pattern.replace("*", "ID")
        raise invalid_field(path, f"is {value[:80]!r}; must be a resource name of the form {example!r}.")
    return "/".join(ids)


def check_required(request: Message) -> None:
    """Raise Failure(INVALID_FIELD), naming every REQUIRED field of `request` that is empty, however deep it lies.

    Output-only fields are not looked into. A number's 0 counts as given.
    """
    rules = _rules(request.DESCRIPTOR)
    if not rules.required and not rules.nested:
        return
    missing = [path for path, _ in zip(_missing(request, rules, ""), range(_MAX_VIOLATIONS), strict=False)]
    if missing:
        raise Failure(
            Reason.INVALID_FIELD,
            f"{', '.join(missing)}: required, but missing or empty; set it.",
            fields=[Field(path, "is required, but missing or empty; set it.") for path in missing],
        )


@dataclass(frozen=True, slots=True)
class _Rules:
    """What to look at in a message of one type: nothing else can be missing."""

    required: tuple[FieldDescriptor, ...]
    nested: tuple[FieldDescriptor, ...]


@cache
def _rules(descriptor: Descriptor) -> _Rules:
    return _Rules(
        tuple(field for field in descriptor.fields if _requires(field)),
        tuple(field for field, kind in _inputs(descriptor) if _reaches_required(kind, frozenset())),
    )


def _missing(message: Any, rules: _Rules, prefix: str) -> Iterator[str]:
    for field in rules.required:
        if not _is_given(message, field):
            yield prefix + field.name
    for field in rules.nested:
        below = _rules(field.message_type)
        if field.is_repeated:
            for index, item in enumerate(getattr(message, field.name)):
                yield from _missing(item, below, f"{prefix}{field.name}[{index}].")
        elif message.HasField(field.name):
            yield from _missing(getattr(message, field.name), below, f"{prefix}{field.name}.")


def _is_given(message: Any, field: FieldDescriptor) -> bool:
    if field.is_repeated:
        return len(getattr(message, field.name)) > 0
    if field.has_presence:
        return bool(message.HasField(field.name))
    return field.cpp_type in _NUMBERS or bool(getattr(message, field.name))


def _reaches_required(descriptor: Descriptor, above: frozenset[str]) -> bool:
    if descriptor.full_name in above:
        return False
    if any(_requires(field) for field in descriptor.fields):
        return True
    above |= {descriptor.full_name}
    return any(_reaches_required(kind, above) for _, kind in _inputs(descriptor))


def _inputs(descriptor: Descriptor) -> Iterator[tuple[FieldDescriptor, Descriptor]]:
    """Fields that hold messages a caller fills in, with their type. Not maps: none of ours has messages as values."""
    for field in descriptor.fields:
        kind = field.message_type
        if kind is not None and not kind.GetOptions().map_entry and not _behaves(field, field_behavior_pb2.OUTPUT_ONLY):
            yield field, kind


def _requires(field: FieldDescriptor) -> bool:
    return _behaves(field, field_behavior_pb2.REQUIRED)


def _behaves(field: FieldDescriptor, behavior: int) -> bool:
    return behavior in field.GetOptions().Extensions[_BEHAVIOR]
