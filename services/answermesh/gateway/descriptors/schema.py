"""Descriptors to methods: what the gateway knows of a service.

A schema comes from the bytes of a `google.protobuf.FileDescriptorSet`. google.rpc's error details are added where the
set lacks them, so that the details of errors can always be printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from protobuf import DescMessage, DescMethod, DescService, Registry
from protobuf.wkt import FileDescriptorSet

from answermesh.gateway.descriptors.json_names import fill_json_names

_KINDS = ("get", "put", "post", "delete", "patch")
HTTP_BODY = "google.api.HttpBody"


class SchemaError(ValueError):
    """A descriptor set that cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One HTTP binding as it is written in the annotation. `method` is in capitals; "*" takes any."""

    method: str
    template: str
    body: str
    response_body: str


@dataclass(frozen=True, slots=True)
class Method:
    """A gRPC method: `path` is "/package.Service/Method"."""

    path: str
    name: str
    desc: DescMethod
    input: DescMessage
    output: DescMessage
    client_streaming: bool
    server_streaming: bool
    rules: tuple[Rule, ...]
    # True if the method declares that it has no side effects: then it may be called by GET.
    no_side_effects: bool


@dataclass(frozen=True, slots=True)
class Schema:
    """All methods of the services served, and the registry that resolves `Any` and extensions."""

    registry: Registry
    methods: tuple[Method, ...]


def load(descriptor_set: bytes, services: frozenset[str] | None = None) -> Schema:
    """The schema of a set; of its services only those named, or all for None.

    Raises SchemaError for bytes that are no complete descriptor set.
    """
    try:
        registry = FileDescriptorSet.from_binary(_completed(descriptor_set)).to_registry()
    except (ValueError, TypeError, KeyError, DecodeError) as error:
        raise SchemaError(f"the descriptor set cannot be used: {error}") from error
    found = [desc for desc in registry if isinstance(desc, DescService)]
    methods = [
        _method(method)
        for service in found
        if services is None or service.type_name in services
        for method in service.methods
    ]
    return Schema(registry, tuple(methods))


def _completed(descriptor_set: bytes) -> bytes:
    files = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set)
    present = {file.name for file in files.file}
    # Dependencies first, as the registry wants them.
    for module in (error_details_pb2, status_pb2):
        for needed in (*module.DESCRIPTOR.dependencies, module.DESCRIPTOR):
            if needed.name not in present:
                present.add(needed.name)
                needed.CopyToProto(files.file.add())
    for file in files.file:
        fill_json_names(file)
    return files.SerializeToString()


def _method(desc: DescMethod) -> Method:
    service = desc.parent.type_name
    options = descriptor_pb2.MethodOptions()
    if desc.proto.options is not None:
        options = descriptor_pb2.MethodOptions.FromString(desc.proto.options.to_binary())
    kind = desc.method_kind
    return Method(
        path=f"/{service}/{desc.name}",
        name=f"{service}.{desc.name}",
        desc=desc,
        input=desc.input,
        output=desc.output,
        client_streaming=kind in ("client_streaming", "bidi_streaming"),
        server_streaming=kind in ("server_streaming", "bidi_streaming"),
        rules=tuple(_rules(_http_rule(options))),
        no_side_effects=options.idempotency_level == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS,
    )


def _http_rule(options: descriptor_pb2.MethodOptions) -> http_pb2.HttpRule:
    extensions: Any = options.Extensions  # the stub types extensions by a class that generated code does not have
    rule: http_pb2.HttpRule = extensions[annotations_pb2.http]
    return rule


def _rules(rule: http_pb2.HttpRule) -> list[Rule]:
    rules = []
    for one in (rule, *rule.additional_bindings):
        pattern = one.WhichOneof("pattern")
        if pattern in _KINDS:
            rules.append(Rule(pattern.upper(), getattr(one, pattern), one.body, one.response_body))
        elif pattern == "custom":
            rules.append(Rule(one.custom.kind.upper(), one.custom.path, one.body, one.response_body))
    return rules
