"""Text of a path segment or query parameter to the wire value of one scalar.

Each converter takes text and returns the value's bytes without its tag; it raises ValueError, saying what was expected.
Numbers are plain decimals: no spaces, underscores or foreign digits, which Python's own `int` would let through.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable

from protobuf import DescEnum, ScalarType

from answermesh.gateway.transcoding.wire import FIXED32, FIXED64, LENGTH, VARINT, varint

Convert = Callable[[str], bytes]

_INTEGER = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_URL_SAFE = str.maketrans("-_", "+/")


def _integer(name: str, low: int, high: int, encode: Callable[[int], bytes]) -> Convert:
    def convert(text: str) -> bytes:
        if not _INTEGER.fullmatch(text):
            raise ValueError(f"{_short(text)} is no integer")
        value = int(text)
        if not low <= value <= high:
            raise ValueError(f"{text} is out of range for {name} ({low} to {high})")
        return encode(value)

    return convert


def _float(pack: str) -> Convert:
    def convert(text: str) -> bytes:
        value = _SPECIAL.get(text)
        if value is None:
            if not _NUMBER.fullmatch(text):
                raise ValueError(f"{_short(text)} is no number")
            value = float(text)
            if math.isinf(value):
                raise ValueError(f"{_short(text)} is out of range")
        try:
            return struct.pack(pack, value)
        except OverflowError:
            raise ValueError(f"{_short(text)} is out of range") from None

    return convert


def _bool(text: str) -> bytes:
    if text not in ("true", "false"):
        raise ValueError(f"{_short(text)} is neither true nor false")
    return b"\x01" if text == "true" else b"\x00"


def _string(text: str) -> bytes:
    payload = text.encode()
    return varint(len(payload)) + payload


def _bytes(text: str) -> bytes:
    standard = text.translate(_URL_SAFE).rstrip("=")
    try:
        payload = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"{_short(text)} is no base64") from error
    return varint(len(payload)) + payload


def _zigzag(value: int) -> bytes:
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _packed(form: str) -> Callable[[int], bytes]:
    return lambda value: struct.pack(form, value)


_I32, _I64, _U32, _U64 = (-(2**31), 2**31 - 1), (-(2**63), 2**63 - 1), (0, 2**32 - 1), (0, 2**64 - 1)

SCALARS: dict[ScalarType, tuple[int, Convert]] = {
    ScalarType.INT32: (VARINT, _integer("int32", *_I32, varint)),
    ScalarType.INT64: (VARINT, _integer("int64", *_I64, varint)),
    ScalarType.UINT32: (VARINT, _integer("uint32", *_U32, varint)),
    ScalarType.UINT64: (VARINT, _integer("uint64", *_U64, varint)),
    ScalarType.SINT32: (VARINT, _integer("sint32", *_I32, _zigzag)),
    ScalarType.SINT64: (VARINT, _integer("sint64", *_I64, _zigzag)),
    ScalarType.FIXED32: (FIXED32, _integer("fixed32", *_U32, _packed("<I"))),
    ScalarType.FIXED64: (FIXED64, _integer("fixed64", *_U64, _packed("<Q"))),
    ScalarType.SFIXED32: (FIXED32, _integer("sfixed32", *_I32, _packed("<i"))),
    ScalarType.SFIXED64: (FIXED64, _integer("sfixed64", *_I64, _packed("<q"))),
    ScalarType.FLOAT: (FIXED32, _float("<f")),
    ScalarType.DOUBLE: (FIXED64, _float("<d")),
    ScalarType.BOOL: (VARINT, _bool),
    ScalarType.STRING: (LENGTH, _string),
    ScalarType.BYTES: (LENGTH, _bytes),
}
"""Wire type and converter of each scalar."""


def enum_converter(enum: DescEnum) -> Convert:
    """Takes a value's name or number; an open enum takes any int32."""
    numbers = {value.name: value.number for value in enum.values}
    if enum.type_name == "google.protobuf.NullValue":
        numbers["null"] = 0
    known = frozenset(numbers.values())
    by_number = _integer("an enum", *_I32, varint)

    def convert(text: str) -> bytes:
        number = numbers.get(text)
        if number is not None:
            return varint(number)
        if not _INTEGER.fullmatch(text) or not (enum.open or int(text) in known):
            raise ValueError(f"{_short(text)} is no value of {enum.type_name}")
        return by_number(text)

    return convert


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")
