"""A field path of a request message to the function that turns text into that field's wire fragment.

Takes nested fields by proto or JSON name, enums by name or number, repeated fields (one element a call), the well-known
types that are one JSON string, wrappers, and map entries as `labels[key]`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from protobuf import (
    DescEnum,
    DescField,
    DescFieldValueEnum,
    DescFieldValueList,
    DescFieldValueMap,
    DescFieldValueMessage,
    DescFieldValueScalar,
    DescMessage,
    ScalarType,
)

from answermesh.gateway.transcoding.brackets import check_nesting
from answermesh.gateway.transcoding.scalars import SCALARS, enum_converter
from answermesh.gateway.transcoding.wire import LENGTH, VARINT, delimited, group, tag, varint

Encode = Callable[[str], bytes]

_ENTRY = re.compile(r"([^\[\]]+)\[([^\[\]]*)\]")
_UPPER = re.compile(r"[A-Z]")
_WRAPPERS = frozenset(
    f"google.protobuf.{kind}Value"
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
)
_JSON_STRINGS = frozenset(f"google.protobuf.{kind}" for kind in ("Timestamp", "Duration"))
_JSON_TEXTS = frozenset(f"google.protobuf.{kind}" for kind in ("Struct", "Value", "ListValue"))
# Nested deeper than any upstream would parse (protobuf's own limit is 100).
_MAX_DEPTH = 64


class FieldPathError(ValueError):
    """A path that leads to no field that text can set; the text says why."""


class FieldEncoder:
    """One field path: `encode(text)` gives the fragment; ValueError for text that does not fit the type."""

    __slots__ = ("encode", "nested", "numbers", "repeated")

    def __init__(self, encode: Encode, numbers: tuple[int, ...], repeated: bool) -> None:
        self.encode = encode
        # Field numbers from the request down: equal for two spellings of the same path.
        self.numbers = numbers
        self.repeated = repeated
        self.nested = len(numbers) > 1


def find_field(message: DescMessage, name: str) -> DescField | None:
    """The field of that proto name or JSON name."""
    for field in message.fields:
        if field.name == name:
            return field
    return next((field for field in message.fields if field.json_name == name), None)


def field_encoder(message: DescMessage, path: str) -> FieldEncoder:
    """The encoder of a path such as `nest.label` or `labels[k]`. Raises FieldPathError."""
    names = _split(path)
    if len(names) > _MAX_DEPTH:
        raise FieldPathError(f"{path[:60]!r}… is nested deeper than {_MAX_DEPTH} fields")
    parents: list[DescField] = []
    at = message
    for name in names[:-1]:
        field = _child(at, name, path)
        if not isinstance(field.value, DescFieldValueMessage):
            raise FieldPathError(f"{path!r}: {name!r} is no single message, so it has no fields of its own to set")
        parents.append(field)
        at = field.value.message
    entry = _ENTRY.fullmatch(names[-1])
    leaf = _child(at, entry[1] if entry else names[-1], path)
    encode = _entry(leaf, entry[2], path) if entry else _leaf(leaf, path)
    repeated = isinstance(leaf.value, DescFieldValueList | DescFieldValueMap)
    numbers = (*(parent.number for parent in parents), leaf.number)
    return FieldEncoder(_wrapped(encode, parents), numbers, repeated)


def _split(path: str) -> list[str]:
    head, bracket, key = path.partition("[")
    names = head.split(".")
    names[-1] += bracket + key
    return names


def _child(message: DescMessage, name: str, path: str) -> DescField:
    field = find_field(message, name)
    if field is None:
        raise FieldPathError(f"{path[:200]!r} is no field of {message.type_name}")
    return field


def _wrapped(encode: Encode, parents: list[DescField]) -> Encode:
    for parent in reversed(parents):
        assert isinstance(parent.value, DescFieldValueMessage)
        encode = _inside(encode, parent.number, group if parent.value.delimited_encoding else delimited)
    return encode


def _inside(encode: Encode, number: int, wrap: Callable[[int, bytes], bytes]) -> Encode:
    return lambda text: wrap(number, encode(text))


def _leaf(field: DescField, path: str) -> Encode:
    match field.value:
        case DescFieldValueScalar(scalar=scalar):
            return _element(field.number, scalar, path)
        case DescFieldValueEnum(enum=enum):
            return _element(field.number, enum, path)
        case DescFieldValueMessage(message=message):
            return _element(field.number, message, path)
        case DescFieldValueList(element=element):
            return _element(field.number, element, path)
        case _:
            raise FieldPathError(f"{path!r} is a map; set an entry as {path}[KEY]=VALUE")


def _element(number: int, element: ScalarType | DescEnum | DescMessage, path: str) -> Encode:
    if isinstance(element, DescMessage):
        encode = _message(element, path)
        return lambda text: delimited(number, encode(text))
    if isinstance(element, DescEnum):
        wire_type, convert = VARINT, enum_converter(element)
    else:
        wire_type, convert = SCALARS[element]
    start = tag(number, wire_type)
    return lambda text: start + convert(text)


def _entry(field: DescField, key: str, path: str) -> Encode:
    if not isinstance(field.value, DescFieldValueMap):
        raise FieldPathError(f"{path!r}: {field.name!r} is no map")
    wire_type, convert = SCALARS[field.value.key]
    try:
        start = tag(1, wire_type) + convert(key)
    except ValueError as error:
        raise FieldPathError(f"{path!r}: key {error}") from error
    value, number = _element(2, field.value.value, path), field.number
    return lambda text: delimited(number, start + value(text))


def _message(message: DescMessage, path: str) -> Encode:
    name = message.type_name
    if name in _WRAPPERS and isinstance(message.fields[0].value, DescFieldValueScalar):
        wire_type, convert = SCALARS[message.fields[0].value.scalar]
        start = tag(1, wire_type)
        return lambda text: start + convert(text)
    if name == "google.protobuf.FieldMask":
        return _field_mask
    if name in _JSON_STRINGS:
        return lambda text: message.type.from_json(json.dumps(text)).to_binary()
    if name in _JSON_TEXTS:
        return lambda text: _from_json(message, text)
    raise FieldPathError(f"{path!r} is a message ({name}); set its fields as {path}.FIELD=VALUE")


def _from_json(message: DescMessage, text: str) -> bytes:
    check_nesting(text.encode())
    return message.type.from_json(text).to_binary()


def _field_mask(text: str) -> bytes:
    """Paths in lowerCamelCase or as in the proto, separated by commas."""
    return b"".join(
        tag(1, LENGTH) + varint(len(payload)) + payload
        for path in text.split(",")
        if path
        for payload in [_UPPER.sub(lambda upper: "_" + upper[0].lower(), path).encode()]
    )
