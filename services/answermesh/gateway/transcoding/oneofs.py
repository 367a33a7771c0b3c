"""Two members of one oneof in a JSON object: ProtoJSON refuses that, protobuf-py takes the last without a word.

The body is searched for the members' names first, which costs two microseconds a kilobyte; only one that holds two of
them is looked through object by object. Messages without a oneof are not searched at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson
from protobuf import DescField, DescFieldValueEnum, DescMessage

from answermesh.gateway.status import refused
from answermesh.gateway.transcoding.objects import messages_within, names_of, objects

# How an ASCII letter of a name may be disguised.
_ESCAPE = b"\\u00"


def oneof_check(message: DescMessage) -> Callable[[bytes], None] | None:
    """A function that raises CallError (400) for valid JSON of the message that sets two members of one oneof.

    None if no message within it has a oneof.
    """
    members = [field for one in messages_within(message) for oneof in one.oneofs for field in oneof.fields]
    if not members:
        return None
    names = b"|".join(sorted({re.escape(name.encode()) for field in members for name in names_of(field)}))
    search = re.compile(rb'"(?:%b)"[ \t\r\n]*:' % names).search

    def check(body: bytes) -> None:
        if _ESCAPE not in body:
            first = search(body)
            if first is None or search(body, first.end()) is None:
                return
        for one, value in objects(message, orjson.loads(body)):
            _check_object(one, value)

    return check


def _check_object(message: DescMessage, value: dict[str, Any]) -> None:
    for oneof in message.oneofs:
        given = sorted(name for field in oneof.fields for name in names_of(field) if _sets(field, value, name))
        if len(given) > 1:
            told = " and ".join(map(repr, given))
            raise refused("INVALID_FIELD", f"{told} exclude each other; give one of them.", field=given[0])


def _sets(field: DescField, value: dict[str, Any], name: str) -> bool:
    """Null sets nothing, but where it is the value itself."""
    if name not in value:
        return False
    nullable = isinstance(field.value, DescFieldValueEnum) and field.value.enum.type_name == "google.protobuf.NullValue"
    return nullable or value[name] is not None
