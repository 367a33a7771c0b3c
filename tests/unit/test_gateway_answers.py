"""Streams by Accept, the shortest floats, errors as JSON, and Any of types unknown."""

from __future__ import annotations

import struct
from decimal import Decimal

import orjson
import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from answermesh.gateway.protocols.framing import JsonArray, Ndjson, Sse, choose_framing
from answermesh.gateway.status import CallError, Detail, details_from_proto, error_headers, error_json, unavailable
from answermesh.gateway.transcoding.floats import shortest
from answermesh.gateway.transcoding.native import is_native


@pytest.mark.parametrize(
    ("accept", "framing"),
    [
        ("", JsonArray),
        ("*/*", JsonArray),
        ("text/event-stream", Sse),
        ("application/x-ndjson, application/json;q=0.5", Ndjson),
        ("application/json;q=0.1, text/event-stream;q=0.9", Sse),
        ("text/event-stream;q=0, */*", JsonArray),
        ("text/event-stream;q=x", JsonArray),
    ],
)
def test_the_format_is_the_one_that_accept_likes_best(accept: str, framing: type[object]) -> None:
    assert isinstance(choose_framing(accept), framing)


def test_an_array_is_never_closed_after_an_error() -> None:
    array = JsonArray()
    assert array.items([b"1"]) + array.items([b"2"]) == b"[1,2"
    assert array.error(b'{"error":{}}') == b',{"error":{}}'
    assert array.cut_after_error
    assert JsonArray().end() == b"[]"


def test_an_event_carries_its_id_and_an_error_its_name() -> None:
    assert Sse().items([b"{}"], ["7"]) == b"id: 7\ndata: {}\n\n"
    assert Sse().error(b'{"error":{}}') == b'event: error\ndata: {"error":{}}\n\n'


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_shortened_float_is_the_same_in_32_bits(value: float) -> None:
    short = shortest(value)
    assert struct.pack("<f", short) == struct.pack("<f", value)
    assert _digits(short) <= _digits(value)


def _digits(value: float) -> int:
    """Significant digits, which are what is shortened: 999999995904.0 becomes 1000000000000.0."""
    return len(Decimal(repr(value)).normalize().as_tuple().digits)


def test_an_error_has_the_http_status_the_name_and_the_details() -> None:
    error = CallError(StatusCode.NOT_FOUND, "gone", [Detail("type.googleapis.com/no.Such", b"\x08\x01")])
    assert orjson.loads(error_json(error, None)) == {
        "error": {
            "code": 404,
            "message": "gone",
            "status": "NOT_FOUND",
            "details": [{"@type": "type.googleapis.com/no.Such", "value": "CAE="}],
        }
    }
    assert orjson.loads(error_json(error, None, envelope=False))["code"] == 5
    assert details_from_proto(error.to_proto()) == error.details


def test_a_retry_delay_becomes_retry_after_and_401_says_how_to_authenticate() -> None:
    assert ("retry-after", "1") in error_headers(unavailable("later"))
    assert error_headers(CallError(StatusCode.UNAUTHENTICATED, "who?")) == [("www-authenticate", "Bearer")]


def test_unreadable_details_do_not_cost_the_status() -> None:
    assert details_from_proto(b"\xff\xff") == ()


def test_json_is_converted_by_compiled_code() -> None:
    assert is_native()
