"""The few pieces of the protobuf wire format that requests are put together from.

Fragments may simply be joined: a later scalar replaces an earlier one, messages merge, repeated fields grow. That is
how path variables come to win over everything else.
"""

from __future__ import annotations

VARINT, FIXED64, LENGTH, START_GROUP, END_GROUP, FIXED32 = 0, 1, 2, 3, 4, 5

_SMALL = [bytes((value,)) for value in range(0x80)]


def varint(value: int) -> bytes:
    """`value` (0 to 2^64 - 1) in base 128; a negative one as its 64-bit two's complement."""
    if 0 <= value <= 0x7F:
        return _SMALL[value]
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number: int, wire_type: int) -> bytes:
    """What a field starts with."""
    return varint(number << 3 | wire_type)


def delimited(number: int, payload: bytes) -> bytes:
    """A string, bytes or message field."""
    return tag(number, LENGTH) + varint(len(payload)) + payload


def group(number: int, payload: bytes) -> bytes:
    """A message field in the old delimited encoding (proto2 groups, editions' DELIMITED)."""
    return tag(number, START_GROUP) + payload + tag(number, END_GROUP)
