"""Response message to HTTP body: one converter per binding, compiled once.

JSON is ProtoJSON in lowerCamelCase without defaults. `response_body` gives one field, whatever its type; a
`google.api.HttpBody` gives its bytes and its Content-Type.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from grpc import StatusCode
from protobuf import (
    DescEnum,
    DescField,
    DescFieldValueEnum,
    DescFieldValueList,
    DescFieldValueMap,
    DescFieldValueMessage,
    DescFieldValueScalar,
    DescMessage,
    Message,
    Registry,
    ScalarType,
)

from answermesh.gateway.descriptors.schema import HTTP_BODY
from answermesh.gateway.status import CallError
from answermesh.gateway.transcoding.fields import FieldPathError, find_field
from answermesh.gateway.transcoding.floats import float_shortener
from answermesh.gateway.transcoding.opaque import to_json

JSON = "application/json"
# What protobuf-py raises for bytes that are no such message, and for messages that have no JSON.
_UNPRINTABLE = (ValueError, TypeError, RecursionError)
_TEXT_DEFAULTS = {ScalarType.STRING: b'""', ScalarType.BYTES: b'""', ScalarType.BOOL: b"false"}
_QUOTED = {
    ScalarType.INT64, ScalarType.UINT64, ScalarType.SINT64, ScalarType.FIXED64, ScalarType.SFIXED64
}  # fmt: skip


class Content(NamedTuple):
    """The body of an answer, or of one message of a stream; `event_id` is for SSE, "" for none."""

    content_type: str
    body: bytes
    event_id: str = ""


class ReplyConverter:
    """Converts the response messages of one binding."""

    def __init__(self, message: DescMessage, response_body: str, registry: Registry, event_id_path: str = "") -> None:
        """Raises FieldPathError where `response_body` or `event_id_path` names a field that the message lacks."""
        self._type = message.type
        self._name = message.type_name
        self._registry = registry
        self._field = _field(message, response_body) if response_body else None
        self._id_path = _id_path(message, event_id_path)
        self.has_event_ids = bool(self._id_path)
        body = (
            self._field.value.message if self._field and isinstance(self._field.value, DescFieldValueMessage) else None
        )
        self.is_raw = (body or message).type_name == HTTP_BODY
        if self.is_raw and self._field and body is None:
            self.is_raw = False
        self._default = _default(self._field) if self._field is not None else b""
        self._shorten = float_shortener(message)
        # Its JSON is what protobuf-py makes of it, but for what `opaque` is for.
        self._prints_itself = self._field is None and self._shorten is None

    def convert(self, serialized: bytes) -> Content:
        """The content of a message. Raises CallError (INTERNAL) for bytes that are no such message."""
        try:
            message = self._type.from_binary(serialized)
            if self.is_raw:
                return self._raw(message)
            return Content(JSON, self._json(message), self._event_id(message) if self._id_path else "")
        except _UNPRINTABLE as error:
            raise self._unprintable() from error

    def json(self, messages: Sequence[bytes]) -> list[bytes]:
        """The JSON alone of messages that are not raw. Raises CallError (INTERNAL)."""
        parse, registry = self._type.from_binary, self._registry
        try:
            if self._prints_itself:
                # Without a call of ours for each: a stream may have a hundred thousand a second.
                with contextlib.suppress(ValueError):
                    return [parse(message).to_json(registry=registry).encode() for message in messages]
            return [self._json(parse(message)) for message in messages]
        except _UNPRINTABLE as error:
            raise self._unprintable() from error

    def _unprintable(self) -> CallError:
        return CallError(StatusCode.INTERNAL, f"The service answered with what is no printable {self._name}.")

    def _json(self, message: Message) -> bytes:
        if self._shorten is not None:
            self._shorten(message)
        if self._field is None:
            return to_json(message, self._registry).encode()
        if self._field not in message:
            return self._default
        value = message[self._field]
        if isinstance(self._field.value, DescFieldValueMessage):
            return to_json(value, self._registry).encode()
        alone = self._type()
        alone[self._field] = value
        # {"name":value} without what is around the value.
        return alone.to_json(registry=self._registry).encode()[len(orjson.dumps(self._field.json_name)) + 2 : -1]

    def _raw(self, message: Message) -> Content:
        body: Any = message if self._field is None else message[self._field]
        if body is None:
            return Content("", b"")
        return Content(body.content_type, body.data)

    def _event_id(self, message: Message) -> str:
        at: Any = message
        for field in self._id_path[:-1]:
            at = at[field]
            if at is None:
                return ""
        return str(at[self._id_path[-1]])


def _field(message: DescMessage, name: str) -> DescField:
    field = find_field(message, name)
    if field is None:
        raise FieldPathError(f"response_body {name!r} is no field of {message.type_name}")
    return field


def _id_path(message: DescMessage, path: str) -> list[DescField]:
    fields: list[DescField] = []
    for name in path.split(".") if path else ():
        fields.append(_field(message, name))
        value = fields[-1].value
        if isinstance(value, DescFieldValueMessage):
            message = value.message
    return fields


def _default(field: DescField) -> bytes:
    """The JSON of a field that is not set."""
    match field.value:
        case DescFieldValueScalar(scalar=scalar):
            return b'"0"' if scalar in _QUOTED else _TEXT_DEFAULTS.get(scalar, b"0")
        case DescFieldValueEnum(enum=enum):
            return _first_name(enum)
        case DescFieldValueList():
            return b"[]"
        case DescFieldValueMap():
            return b"{}"
        case _:
            return b"null"


def _first_name(enum: DescEnum) -> bytes:
    return b"null" if enum.type_name == "google.protobuf.NullValue" else orjson.dumps(enum.values[0].name)
