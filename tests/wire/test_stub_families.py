"""The two stub families are one contract: same fields, bytes, JSON and methods; and the vendored protos are real."""

from __future__ import annotations

import importlib
import json
import pkgutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import betterproto
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor

import answermesh.v1
from answermesh.typed.answermesh import v1 as typed

PROTO = Path(__file__).parents[2] / "proto"
MODULES = [
    importlib.import_module(f"answermesh.v1.{module.name}")
    for module in pkgutil.iter_modules(answermesh.v1.__path__)
    if module.name.endswith("_pb2")
]


def nested(descriptor: Descriptor) -> list[Descriptor]:
    inner = [kind for kind in descriptor.nested_types if not kind.GetOptions().map_entry]
    return [descriptor, *(kind for child in inner for kind in nested(child))]


MESSAGES = [
    kind for module in MODULES for top in module.DESCRIPTOR.message_types_by_name.values() for kind in nested(top)
]
SERVICES = [service for module in MODULES for service in module.DESCRIPTOR.services_by_name.values()]

by_name = pytest.mark.parametrize("descriptor", MESSAGES, ids=lambda kind: kind.full_name)


def typed_class(descriptor: Descriptor) -> Any:
    return getattr(typed, descriptor.full_name.removeprefix("answermesh.v1.").replace(".", ""))


def fill(message: Any, depth: int = 0) -> Any:
    """Set every field of `message`, of each oneof the last; messages within messages down to four levels."""
    for index, field in enumerate(message.DESCRIPTOR.fields):
        if field.message_type is not None:
            if field.message_type.full_name == "google.protobuf.Any" or depth > 3:
                continue
            if field.message_type.full_name == "google.protobuf.Timestamp":
                getattr(message, field.name).FromMilliseconds(1_790_000_000_123)
            elif field.message_type.full_name == "google.protobuf.Duration":
                getattr(message, field.name).FromMilliseconds(1500)
            elif field.message_type.GetOptions().map_entry:
                # One entry: the order of several is nobody's promise.
                getattr(message, field.name)["key"] = "value"
            elif field.is_repeated:
                fill(getattr(message, field.name).add(), depth + 1)
            else:
                fill(getattr(message, field.name), depth + 1)
                getattr(message, field.name).SetInParent()
        elif field.is_repeated:
            getattr(message, field.name).extend([scalar(field, index), scalar(field, index + 1)])
        else:
            setattr(message, field.name, scalar(field, index))
    return message


def scalar(field: FieldDescriptor, index: int) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return b"\x00\xff\x80" if field.type == FieldDescriptor.TYPE_BYTES else f"ä{index} \"'</\u2028"
        case FieldDescriptor.CPPTYPE_ENUM:
            return field.enum_type.values[-1].number
        case FieldDescriptor.CPPTYPE_BOOL:
            return True
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return index + 0.5
        case FieldDescriptor.CPPTYPE_INT64 | FieldDescriptor.CPPTYPE_UINT64:
            return (1 << 53) + index
        case _:
            return index + 1


@by_name
def test_both_families_have_the_same_fields(descriptor: Descriptor) -> None:
    fields = typed_class(descriptor)()._betterproto.meta_by_field_name
    ours = {field.number: field.name for field in descriptor.fields}
    theirs = {meta.number: name.rstrip("_") for name, meta in fields.items()}
    assert theirs == ours


@by_name
def test_both_families_write_the_same_bytes_and_json(descriptor: Descriptor) -> None:
    message = fill(descriptor._concrete_class())
    wire = message.SerializeToString(deterministic=True)
    other = typed_class(descriptor)().parse(wire)
    assert bytes(other) == wire
    assert json.loads(other.to_json(casing=betterproto.Casing.CAMEL)) == json_format.MessageToDict(message)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.full_name)
def test_both_families_have_the_same_methods(service: Any) -> None:
    mapping = getattr(typed, f"{service.name}Base")().__mapping__()
    ours = {
        f"/{service.full_name}/{method.name}": (
            method.client_streaming,
            method.server_streaming,
            typed_class(method.input_type),
            typed_class(method.output_type),
        )
        for method in service.methods
    }
    theirs = {
        path: (
            handler.cardinality.value.client_streaming,
            handler.cardinality.value.server_streaming,
            handler.request_type,
            handler.reply_type,
        )
        for path, handler in mapping.items()
    }
    assert theirs == ours


@pytest.mark.parametrize(
    "path", sorted(path.relative_to(PROTO) for path in (PROTO / "google").rglob("*.proto")), ids=str
)
def test_the_vendored_protos_are_those_of_the_installed_package(path: Path) -> None:
    package = ".".join(path.parent.parts)
    assert (PROTO / path).read_bytes() == (files(package) / path.name).read_bytes()
