"""JSON names of fields, for descriptors that come without them.

protoc fills `json_name` in for its plugins, but the descriptors inside generated code, which reflection serves, have
only those that differ from the rule.
"""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf import descriptor_pb2


def fill_json_names(file: descriptor_pb2.FileDescriptorProto) -> None:
    """Give every field and extension of the file its JSON name."""
    _fill(file.extension)
    messages = list(file.message_type)
    while messages:
        message = messages.pop()
        messages.extend(message.nested_type)
        _fill(message.field)
        _fill(message.extension)


def _fill(fields: Iterable[descriptor_pb2.FieldDescriptorProto]) -> None:
    for field in fields:
        if not field.json_name:
            field.json_name = json_name(field.name)


def json_name(name: str) -> str:
    """protoc's rule: underscores go, and the letter after one becomes a capital."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)
