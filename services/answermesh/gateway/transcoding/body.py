"""The request body to the wire fragment of what the rule binds it to: nothing, the whole message, or one field.

JSON is ProtoJSON, read strictly: one value, nothing after it, no field that the message does not have (unless told to
ignore those), nesting up to 100. A `google.api.HttpBody` takes the bytes as they are, with their Content-Type.
"""

from __future__ import annotations

import re
from typing import Protocol

import orjson
from protobuf import DescField, DescFieldValueMessage, DescMessage, Registry

from answermesh.gateway.descriptors.schema import HTTP_BODY
from answermesh.gateway.status import CallError, refused
from answermesh.gateway.transcoding.brackets import check_nesting
from answermesh.gateway.transcoding.fields import FieldPathError, find_field
from answermesh.gateway.transcoding.floats import largest_rounded
from answermesh.gateway.transcoding.nesting import check_depth, is_dynamic
from answermesh.gateway.transcoding.oneofs import oneof_check
from answermesh.gateway.transcoding.wire import delimited, group

_FOR_FIELD = re.compile(r"(?s)(.*?) for field ([\w.]+)$")
_UNKNOWN_KEY = re.compile(r"cannot decode ([\w.]+) from JSON: key: '(.*)' is unknown$", re.DOTALL)
_PYTHON_TYPE = re.compile(r"<class '(\w+)'>")
_JSON_TYPES = {
    "int": "number", "float": "number", "str": "string", "bool": "boolean", "list": "array", "dict": "object",
    "NoneType": "null",
}  # fmt: skip
# The last four are JSON lines, which client streams may be.
_JSON_MEDIA = frozenset(
    f"{kind}/{name}"
    for kind, names in {"text": ["json"], "application": ["json", "x-ndjson", "ndjson", "jsonl", "x-jsonlines"]}.items()
    for name in names
)
# google.protobuf.Value.number_value (field 2, a double) of infinity, as it stands in a serialised message.
_INFINITE_VALUES = (b"\x11\x00\x00\x00\x00\x00\x00\xf0\x7f", b"\x11\x00\x00\x00\x00\x00\x00\xf0\xff")
# What protobuf-py raises for JSON that is not what the message wants.
JSON_ERRORS = (ValueError, TypeError, OverflowError, RecursionError)


class Body(Protocol):
    """Reads bodies of one binding."""

    # The whole message comes from the body: then there are no query parameters.
    takes_all: bool
    # The bytes go through as they are (HttpBody).
    is_raw: bool
    # Number of the field that the body sets; 0 for none or all.
    field_number: int

    def read(self, content_type: str, body: bytes) -> bytes:
        """The wire fragment. Raises CallError (400, 415)."""
        ...


def body_reader(message: DescMessage, body: str, registry: Registry, *, strict: bool) -> Body:
    """The reader for a rule's `body`. Raises FieldPathError for a field that the message lacks."""
    if not body:
        return NoBody()
    if body == "*":
        return RawBody(None) if message.type_name == HTTP_BODY else WholeBody(message, registry, strict=strict)
    field = find_field(message, body)
    if field is None:
        raise FieldPathError(f"body {body!r} is no field of {message.type_name}")
    if isinstance(field.value, DescFieldValueMessage) and field.value.message.type_name == HTTP_BODY:
        return RawBody(field)
    return FieldBody(message, field, registry, strict=strict)


class NoBody:
    """The rule binds no body: one that comes is not looked at."""

    takes_all = False
    is_raw = False
    field_number = 0

    def read(self, content_type: str, body: bytes) -> bytes:
        """Nothing."""
        return b""


class WholeBody:
    """The body is the message as JSON; no body is the empty message."""

    takes_all = True
    is_raw = False
    field_number = 0

    def __init__(self, message: DescMessage, registry: Registry, *, strict: bool) -> None:
        self._parser = Parser(message, registry, strict=strict)

    def read(self, content_type: str, body: bytes) -> bytes:
        """The message."""
        if not body:
            return b""
        check_json_type(content_type)
        check_nesting(body)
        try:
            return self._parser.parse(body)
        except JSON_ERRORS as error:
            raise json_error(error) from error


class FieldBody:
    """The body is the JSON value of one field."""

    takes_all = False
    is_raw = False

    def __init__(self, message: DescMessage, field: DescField, registry: Registry, *, strict: bool) -> None:
        self.field_number = field.number
        self._parser = Parser(message, registry, strict=strict)
        self._start = b"{" + orjson.dumps(field.json_name) + b":"
        plain = _plain_message(field)
        self._plain = Parser(plain, registry, strict=strict) if plain is not None else None
        self._wrap = (
            group if isinstance(field.value, DescFieldValueMessage) and field.value.delimited_encoding else delimited
        )

    def read(self, content_type: str, body: bytes) -> bytes:
        """The field's fragment."""
        if not body:
            return b""
        check_json_type(content_type)
        check_nesting(body)
        try:
            if self._plain is not None and body.lstrip()[:1] == b"{":
                return self._wrap(self.field_number, self._plain.parse(body))
            # Must be one whole value: else a body could close the object around it and set other fields.
            orjson.loads(body)
            return self._parser.parse(self._start + body + b"}")
        except JSON_ERRORS as error:
            raise json_error(error) from error


class Parser:
    """Reads one message type from JSON, with what protobuf-py leaves undone."""

    def __init__(self, message: DescMessage, registry: Registry, *, strict: bool) -> None:
        self._message = message
        self._type = message.type
        self._registry = registry
        self._lenient = not strict
        self._check_oneofs = oneof_check(message)
        self._is_dynamic = is_dynamic(message)

    def parse(self, body: bytes) -> bytes:
        """The serialised message. Raises one of JSON_ERRORS, CallError (400)."""
        try:
            message = self._type.from_json(body, registry=self._registry, ignore_unknown_fields=self._lenient)
        except OverflowError:
            body = largest_rounded(self._message, body)
            message = self._type.from_json(body, registry=self._registry, ignore_unknown_fields=self._lenient)
        if self._check_oneofs is not None:
            self._check_oneofs(body)
        serialized = message.to_binary()
        if self._is_dynamic:
            if any(infinite in serialized for infinite in _INFINITE_VALUES):
                # May be a number in a Value that is too large for JSON to give back: this refuses it.
                orjson.loads(body)
            check_depth(message, body)
        return serialized


class RawBody:
    """The body and its Content-Type make a HttpBody, the whole message or one field of it."""

    is_raw = True

    def __init__(self, field: DescField | None) -> None:
        self._field = field
        self.takes_all = field is None
        self.field_number = field.number if field is not None else 0

    def read(self, content_type: str, body: bytes) -> bytes:
        """The HttpBody, or the field that holds it."""
        message = delimited(1, content_type.encode()) if content_type else b""
        if body:
            message += delimited(2, body)
        return message if self._field is None else delimited(self._field.number, message)


def _plain_message(field: DescField) -> DescMessage | None:
    """The field's message, if its JSON is that of an ordinary message."""
    if isinstance(field.value, DescFieldValueMessage):
        message = field.value.message
        if not message.type_name.startswith("google.protobuf."):
            return message
    return None


def check_json_type(content_type: str) -> None:
    """Raises CallError (415) for a Content-Type that is not JSON in UTF-8. None at all counts as JSON."""
    if not content_type:
        return
    media, _, parameters = content_type.partition(";")
    media = media.strip().lower()
    charset = parameters.lower().partition("charset=")[2].strip().strip('"')
    if media not in _JSON_MEDIA and not media.endswith("+json"):
        raise refused(
            "UNSUPPORTED_MEDIA_TYPE",
            f"Content-Type {media[:100]!r} is not supported here; send application/json.",
            http_status=415,
            headers=[("accept", "application/json")],
        )
    if charset and charset.partition(";")[0] not in ("utf-8", "utf8", "us-ascii"):
        raise refused(
            "UNSUPPORTED_MEDIA_TYPE", f"Charset {charset[:40]!r} is not supported; send UTF-8.", http_status=415
        )


def json_error(error: Exception) -> CallError:
    """What was wrong with a JSON body, told by field."""
    if isinstance(error, RecursionError):
        return refused("INVALID_JSON", "The body is nested deeper than 100 levels.")
    if isinstance(error, UnicodeDecodeError):
        return refused("INVALID_UTF8", "The body is not UTF-8.")
    text = _PYTHON_TYPE.sub(lambda kind: _JSON_TYPES.get(kind[1], kind[1]), str(error))[:500]
    if unknown := _UNKNOWN_KEY.match(text):
        return refused(
            "UNKNOWN_FIELD", f"{unknown[2]!r} is no field of {unknown[1]}; check its name.", field=unknown[2]
        )
    if told := _FOR_FIELD.match(text):
        return refused("INVALID_FIELD", f"{told[2]}: {told[1]}.", field=told[2])
    return refused("INVALID_JSON", f"The body is not the JSON that is wanted: {text}.")
