"""ProtoJSON of messages that hold an `Any` of a type that nobody described.

ProtoJSON has no form for those, and a library can only refuse. Such an Any is printed as {"@type": …, "value": base64}
instead, so that the rest of the answer is not lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import descriptor_pb2
from protobuf import (
    DescFieldValueList,
    DescFieldValueMap,
    DescFieldValueMessage,
    DescMessage,
    Message,
    Registry,
)
from protobuf.wkt import FileDescriptorSet

from answermesh.gateway.transcoding.wire import delimited

_ANY = "google.protobuf.Any"


def to_json(message: Message, registry: Registry) -> str:
    """The message as ProtoJSON. Raises ValueError for a message that has none even so."""
    try:
        return message.to_json(registry=registry)
    except ValueError:
        unknown = [any_ for any_ in _anys(message) if registry.message(_type_name(any_.type_url)) is None]
        if not unknown:
            raise
    extended = Registry(registry, _stand_ins({_type_name(any_.type_url) for any_ in unknown}))
    for any_ in unknown:
        any_.value = delimited(1, any_.value)
    return message.to_json(registry=extended)


def _type_name(type_url: str) -> str:
    return type_url.rpartition("/")[2]


def _anys(message: Message) -> Iterator[Any]:
    desc: DescMessage = type(message).desc()
    if desc.type_name == _ANY:
        yield message
        return
    for field in desc.fields:
        value = message[field]
        match field.value:
            case DescFieldValueMessage():
                if value is not None:
                    yield from _anys(value)
            case DescFieldValueList(element=DescMessage()):
                for element in value:
                    yield from _anys(element)
            case DescFieldValueMap(value=DescMessage()):
                for element in value.values():
                    yield from _anys(element)


def _stand_ins(names: set[str]) -> Registry:
    """Messages of these names whose one field `value` holds the bytes."""
    files = descriptor_pb2.FileDescriptorSet()
    for index, name in enumerate(sorted(names)):
        package, _, simple = name.rpartition(".")
        file = files.file.add(name=f"opaque/{index}.proto", package=package, syntax="proto3")
        stand_in = file.message_type.add(name=simple)
        stand_in.field.add(name="value", number=1, label=1, type=12, json_name="value")
    return FileDescriptorSet.from_binary(files.SerializeToString()).to_registry()
