"""How deep a message is nested that was read from JSON of any shape.

On the wire an object within a `Struct` is three messages deep, an array two, and parsers take 100. So JSON that is not
very deep itself may be too deep for the service, which would call it an internal error. Ordinary messages are as deep
as their JSON, which protobuf-py limits by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from protobuf import DescFieldValueList, DescFieldValueMap, DescFieldValueMessage, DescMessage, Message

from answermesh.gateway.transcoding.objects import message_of, messages_within

# protobuf's own recursion limit.
_MAX_DEPTH = 100
# JSON with no more brackets is less deep than that, whatever it holds: three messages for each of them.
_SAFE_BRACKETS = 32
_DYNAMIC = frozenset(f"google.protobuf.{name}" for name in ("Struct", "Value", "ListValue", "Any"))


def is_dynamic(message: DescMessage) -> bool:
    """Whether a message may hold JSON of any shape."""
    if message.type_name in _DYNAMIC:
        return True
    inner = (message_of(field) for one in messages_within(message) for field in one.fields)
    return any(one is not None and one.type_name in _DYNAMIC for one in inner)


def check_depth(message: Message, body: bytes) -> None:
    """Raises RecursionError for a message that is deeper than parsers take; `body` is the JSON that it came from."""
    if body.count(b"{") + body.count(b"[") > _SAFE_BRACKETS:
        _descend(message, _MAX_DEPTH)


def _descend(message: Message, left: int) -> None:
    if left == 0:
        raise RecursionError
    for inner, levels in _inner(message):
        _descend(inner, max(0, left - levels))


def _inner(message: Message) -> Iterator[tuple[Message, int]]:
    """The messages within, and how many levels each is below: an entry of a map is a level of its own."""
    desc: DescMessage = type(message).desc()
    for field in desc.fields:
        if field not in message:
            continue
        match field.value:
            case DescFieldValueMessage():
                yield message[field], 1
            case DescFieldValueList(element=DescMessage()):
                yield from ((one, 1) for one in message[field])
            case DescFieldValueMap(value=DescMessage()):
                yield from ((one, 2) for one in message[field].values())
