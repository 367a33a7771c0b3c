"""What betterproto leaves to its user: which member of a oneof is set, whether a message is, what a value is called."""

from __future__ import annotations

from typing import Any

import betterproto
from betterproto import Message

__all__ = ["Message", "chosen", "is_set", "name_of"]


def chosen(message: Message, group: str) -> tuple[str, Any]:
    """Name and value of the member set in a oneof; ("", None) if none is. Reading another member would raise."""
    return betterproto.which_one_of(message, group)


def is_set(message: Message) -> bool:
    """Whether a message field was on the wire."""
    return betterproto.serialized_on_wire(message)


def name_of(value: int, enum: type[betterproto.Enum], prefix: str) -> str:
    """The name of an enum's value without its prefix; the number for one that this version does not know."""
    names = [member.name for member in enum if member.value == value]
    return names[0].removeprefix(prefix) if names and names[0] else str(value)
