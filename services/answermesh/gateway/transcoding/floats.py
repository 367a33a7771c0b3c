"""32-bit floats in the shortest form that reads back as the same 32 bits, as ProtoJSON wants them.

protobuf-py prints the 64-bit value that a `float` widens to (0.1 comes out as 0.10000000149011612). Messages that can
hold a float have theirs shortened before they are printed; which those are is found once per type.
"""

from __future__ import annotations

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

_FLOAT = struct.Struct("<f")
# Nine significant digits tell any two 32-bit floats apart, six always survive a round trip (IEEE 754).
_DIGITS = range(6, 10)

Shorten = Callable[[Message], None]


def shortest(value: float) -> float:
    """The double with the fewest digits that is `value` in 32 bits."""
    if not math.isfinite(value) or value == int(value):
        return value
    for digits in _DIGITS:
        candidate = float(f"{value:.{digits}g}")
        if _FLOAT.unpack(_FLOAT.pack(candidate))[0] == value:
            return candidate
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
