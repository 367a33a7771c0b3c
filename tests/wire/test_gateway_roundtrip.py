"""Random messages through the gateway's conversions and back, measured by google.protobuf's own JSON.

Messages are made of any fields of `Probe` with any values that have a JSON form.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from answermesh.gateway.descriptors import schema
from answermesh.gateway.plan import Binding, compile_plan
from answermesh.gateway.transcoding.request import RequestBuilder
from tests.wire.test_gateway_conformance import backend, gateway, generated, runner

__all__ = ["backend", "gateway", "generated"]

_WHOLE = "/gwconf.v1.Bodies/Whole"
_PLAIN = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_I32, _I64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
_U32, _U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: _I32,
    FieldDescriptor.CPPTYPE_INT64: _I64,
    FieldDescriptor.CPPTYPE_UINT32: _U32,
    FieldDescriptor.CPPTYPE_UINT64: _U64,
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(allow_nan=False),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(allow_nan=False, width=32),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
}
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)
_PATHS = st.lists(st.from_regex(r"[a-z]{1,4}(_[a-z]{1,4})?(\.[a-z]{1,3})?", fullmatch=True), max_size=3)
# 0001-01-01 to 9999-12-31, and plus or minus 10,000 years.
_SECONDS = st.integers(-62135596800, 253402300799)
_SPAN = st.tuples(st.integers(-315576000000, 315576000000), st.integers(0, 999_999_999))


class Types:
    """Message classes of the set, in a pool of their own."""

    def __init__(self, descriptor_set: bytes) -> None:
        self.pool = descriptor_pool.DescriptorPool()
        for file in FileDescriptorSet.FromString(descriptor_set).file:
            self.pool.Add(file)
        self.probe = self.of("gwconf.v1.Probe")

    def of(self, name: str) -> Any:
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))

    def json(self, message: Any) -> str:
        return json_format.MessageToJson(message, descriptor_pool=self.pool)

    def parse(self, text: bytes, message: Any) -> Any:
        return json_format.Parse(text, message, descriptor_pool=self.pool)


def _fill(data: Any, message: Any, types: Types, depth: int) -> Any:
    """Set some fields of a message to what is drawn."""
    desc: Descriptor = message.DESCRIPTOR
    filler = _WELL_KNOWN.get(desc.full_name)
    if filler is not None:
        filler(data, message, types)
        return message
    if not desc.fields:
        return message
    for field in data.draw(
        st.lists(
            st.sampled_from(list(desc.fields)), max_size=6 if depth == 3 else 2, unique_by=lambda field: field.name
        )
    ):
        _set(data, message, field, types, depth)
    return message


def _set(data: Any, message: Any, field: FieldDescriptor, types: Types, depth: int) -> None:
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        key, value = inner.fields_by_name["key"], inner.fields_by_name["value"]
        for _ in range(data.draw(st.integers(0, 2))):
            entries = getattr(message, field.name)
            if value.message_type is not None:
                _fill(data, entries[data.draw(_scalar(key))], types, depth - 1)
            else:
                entries[data.draw(_scalar(key))] = data.draw(_scalar(value))
    elif inner is not None and depth > 0:
        if field.is_repeated:
            for _ in range(data.draw(st.integers(0, 2))):
                _fill(data, getattr(message, field.name).add(), types, depth - 1)
        else:
            getattr(message, field.name).SetInParent()
            _fill(data, getattr(message, field.name), types, depth - 1)
    elif inner is None and field.is_repeated:
        getattr(message, field.name).extend(data.draw(st.lists(_scalar(field), max_size=3)))
    elif inner is None:
        setattr(message, field.name, data.draw(_scalar(field)))


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        numbers = st.sampled_from([value.number for value in field.enum_type.values])
        return numbers if field.enum_type.name == "NullValue" else numbers | _I32
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=8)
    return _SCALARS.get(field.cpp_type, _TEXT)


def _fill_time(data: Any, message: Any, types: Types) -> None:
    message.seconds, message.nanos = data.draw(_SECONDS), data.draw(st.integers(0, 999_999_999))


def _fill_span(data: Any, message: Any, types: Types) -> None:
    seconds, nanos = data.draw(_SPAN)
    message.seconds, message.nanos = seconds, 0 if abs(seconds) == 315576000000 else -nanos if seconds < 0 else nanos


def _fill_value(data: Any, message: Any, types: Types) -> None:
    types.parse(json.dumps(data.draw(_JSON)).encode(), message)


def _fill_struct(data: Any, message: Any, types: Types) -> None:
    types.parse(json.dumps(data.draw(st.dictionaries(_TEXT, _JSON, max_size=3))).encode(), message)


def _fill_list(data: Any, message: Any, types: Types) -> None:
    types.parse(json.dumps(data.draw(st.lists(_JSON, max_size=3))).encode(), message)


def _fill_any(data: Any, message: Any, types: Types) -> None:
    kind = data.draw(st.sampled_from(["gwconf.v1.Nest", "google.protobuf.Timestamp", "google.protobuf.Int64Value"]))
    message.Pack(_fill(data, types.of(kind)(), types, 1))


_WELL_KNOWN = {
    "google.protobuf.Timestamp": _fill_time,
    "google.protobuf.Duration": _fill_span,
    "google.protobuf.FieldMask": lambda data, message, types: message.paths.extend(data.draw(_PATHS)),
    "google.protobuf.Struct": _fill_struct,
    "google.protobuf.Value": _fill_value,
    "google.protobuf.ListValue": _fill_list,
    "google.protobuf.Any": _fill_any,
}


def _same(left: Any, right: Any) -> bool:
    return bool(left.SerializeToString(deterministic=True) == right.SerializeToString(deterministic=True))


@pytest.fixture(scope="module")
def types(generated: Path) -> Types:
    return Types(generated.read_bytes())


@pytest.fixture(scope="module")
def whole(generated: Path) -> Binding:
    """POST of a whole Probe."""
    return compile_plan(schema.load(generated.read_bytes())).rpcs[_WHOLE]


@pytest.fixture(scope="module")
def by_query(generated: Path) -> RequestBuilder:
    """GET of a Probe without a body."""
    bindings = compile_plan(schema.load(generated.read_bytes())).bindings
    return next(binding.request for binding in bindings if binding.rule.template == "/v1/query")


@_PLAIN
@given(data=st.data())
def test_json_becomes_the_message_that_google_makes_of_it(types: Types, whole: Binding, data: Any) -> None:
    message = _fill(data, types.probe(), types, 3)
    built = whole.request.build((), "", "application/json", types.json(message).encode())
    assert _same(types.probe.FromString(built), message)


@_PLAIN
@given(data=st.data())
def test_a_message_becomes_json_that_google_reads_as_the_same(types: Types, whole: Binding, data: Any) -> None:
    seen = types.of("gwconf.v1.Seen")(rpc="x", probe=_fill(data, types.probe(), types, 3))
    assert _same(types.parse(whole.reply.convert(seen.SerializeToString()).body, type(seen)()), seen)


@settings(_PLAIN, max_examples=40)
@given(data=st.data())
def test_a_message_comes_back_as_it_was_sent(types: Types, gateway: str, data: Any) -> None:
    message = _fill(data, types.probe(), types, 3)
    request = {
        "method": "POST",
        "path": "/v1/whole",
        "headers": {"Content-Type": "application/json"},
        "body": types.json(message),
    }
    answer = runner.send(gateway, request, 10)
    assert answer.status == 200, answer.body
    assert _same(types.parse(answer.body, types.of("gwconf.v1.Seen")()).probe, message)


@_PLAIN
@given(data=st.data())
def test_a_query_sets_what_the_same_fields_in_json_set(types: Types, by_query: RequestBuilder, data: Any) -> None:
    plain = [field for field in types.probe.DESCRIPTOR.fields if field.message_type is None]
    chosen = data.draw(st.lists(st.sampled_from(plain), max_size=6, unique_by=lambda field: field.name))
    message, pairs = types.probe(), []
    oneofs: set[Any] = set()
    for field in chosen:
        if field.enum_type is not None and field.enum_type.name == "NullValue":
            continue
        if field.containing_oneof is not None and field.containing_oneof in oneofs:
            continue
        oneofs.add(field.containing_oneof)
        _set(data, message, field, types, 1)
    for name, value in json.loads(types.json(message)).items():
        for one in value if isinstance(value, list) else [value]:
            text = one if isinstance(one, str) else json.dumps(one)
            pairs.append(f"{quote(name, safe='')}={quote(text, safe='')}")
    built = by_query.build((), "&".join(pairs), "", b"")
    assert _same(types.probe.FromString(built), message)
