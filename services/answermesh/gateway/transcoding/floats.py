"""32-bit floats in the shortest form that reads back as the same 32 bits, as ProtoJSON wants them.

protobuf-py prints the 64-bit value that a `float` widens to (0.1 comes out as 0.10000000149011612). Messages that can
hold a float have theirs shortened before they are printed; which those are is found once per type. The largest float's
shortest form is a little larger than itself: protobuf-py refuses to read it, for which there is `largest_rounded`.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterable
from typing import Any

from protobuf import (
    DescField,
    DescFieldValueList,
    DescFieldValueMap,
    DescFieldValueMessage,
    DescFieldValueScalar,
    DescMessage,
    Message,
    ScalarType,
)

from answermesh.gateway.transcoding.objects import message_of, names_of, objects

_FLOAT = struct.Struct("<f")
# Whole numbers up to here are floats that print as they are (2^24).
_WHOLE = 1 << 24
_LARGEST = _FLOAT.unpack(b"\xff\xff\x7f\x7f")[0]
# Nine significant digits tell any two 32-bit floats apart, six always survive a round trip (IEEE 754).
_DIGITS = range(6, 10)

Shorten = Callable[[Message], None]


def shortest(value: float) -> float:
    """The double with the fewest digits that is `value` in 32 bits."""
    if not math.isfinite(value) or (abs(value) < _WHOLE and value == int(value)) or abs(value) == _LARGEST:
        # The largest one's shortest form is beyond it, and a message would not take that.
        return value
    for digits in _DIGITS:
        candidate = float(f"{value:.{digits}g}")
        if _FLOAT.unpack(_FLOAT.pack(candidate))[0] == value:
            return candidate
    return value


def largest_rounded(message: DescMessage, body: bytes) -> bytes:
    """The JSON with those floats that only rounding brings into range rounded; others stay, and will be refused."""
    # Not by orjson, which would round whole numbers of more than 64 bits.
    value = json.loads(body)
    for one, fields in objects(message, value):
        for field in one.fields:
            for name in names_of(field) & fields.keys() if _is_float(field) else ():
                fields[name] = _rounded(fields[name])
    return json.dumps(value).encode()


def _is_float(field: DescField) -> bool:
    value: Any = field.value
    inner = message_of(field)
    kinds = (getattr(value, "scalar", None), getattr(value, "element", None), getattr(value, "value", None))
    return ScalarType.FLOAT in kinds or (inner is not None and inner.type_name == "google.protobuf.FloatValue")


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    try:
        return _FLOAT.unpack(_FLOAT.pack(float(value)))[0] if abs(float(value)) > _LARGEST else value
    except (ValueError, TypeError, OverflowError):
        return value


def float_shortener(message: DescMessage) -> Shorten | None:
    """A function that shortens all floats within such a message; None if it cannot hold any."""
    return _Shorteners().of(message)


class _Shorteners:
    """One function per message type that reaches a float, made once: types may hold themselves."""

    def __init__(self) -> None:
        self._known: dict[str, Shorten] = {}

    def of(self, message: DescMessage) -> Shorten | None:
        if not _reaches_float(message, set()):
            return None
        known = self._known.get(message.type_name)
        if known is None:
            steps: list[Shorten] = []
            known = self._known[message.type_name] = _all(steps)
            steps.extend(filter(None, map(self._step, message.fields)))
        return known

    def _step(self, field: DescField) -> Shorten | None:
        match field.value:
            case DescFieldValueScalar(scalar=ScalarType.FLOAT):
                return lambda message: _shorten_field(message, field)
            case DescFieldValueMessage(message=inner):
                return _each(self.of(inner), lambda message: [message[field]])
            case DescFieldValueList(element=ScalarType.FLOAT):
                return lambda message: _shorten_list(message[field])
            case DescFieldValueList(element=DescMessage() as inner):
                return _each(self.of(inner), lambda message: message[field])
            case DescFieldValueMap(value=ScalarType.FLOAT):
                return lambda message: _shorten_map(message[field])
            case DescFieldValueMap(value=DescMessage() as inner):
                return _each(self.of(inner), lambda message: message[field].values())
            case _:
                return None


def _all(steps: list[Shorten]) -> Shorten:
    def shorten(message: Message) -> None:
        for step in steps:
            step(message)

    return shorten


def _reaches_float(message: DescMessage, seen: set[str]) -> bool:
    if message.type_name in seen:
        return False
    seen.add(message.type_name)
    for field in message.fields:
        value = field.value
        kind: Any = getattr(value, "scalar", None) or getattr(value, "element", None) or getattr(value, "message", None)
        if isinstance(value, DescFieldValueMap):
            kind = value.value
        if kind is ScalarType.FLOAT or (isinstance(kind, DescMessage) and _reaches_float(kind, seen)):
            return True
    return False


def _shorten_field(message: Message, field: DescField) -> None:
    if field in message:
        message[field] = shortest(message[field])


def _shorten_list(values: list[float]) -> None:
    values[:] = map(shortest, values)


def _shorten_map(values: dict[Any, float]) -> None:
    for key, value in values.items():
        values[key] = shortest(value)


def _each(shorten: Shorten | None, inner: Callable[[Message], Iterable[Message | None]]) -> Shorten | None:
    if shorten is None:
        return None

    def shorten_all(message: Message) -> None:
        for one in inner(message):
            if one is not None:
                shorten(one)

    return shorten_all
