"""No request may hide in another one's body: where two readers could see two lengths, nothing is served.

Each case carries a second request after what one reading takes for the end of the first. It has a tag of its own, and
the service keeps a journal of tags: the hidden request must not have reached it (RFC 9112 6.1-6.3, 11.2).
"""

from __future__ import annotations

import json
import uuid

import pytest

from tests.gateway_process import Running
from tests.http.raw import assert_serves, journal, request, talk

_JSON = b"POST /v1/whole HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
_CHUNKED_EMPTY = b"0\r\n\r\n"

# Header lines of the first request, and its body as the reading that ends it first has it.
AMBIGUOUS: dict[str, tuple[bytes, bytes]] = {
    "length and chunked": (b"content-length: 9999\r\ntransfer-encoding: chunked\r\n", _CHUNKED_EMPTY),
    "chunked and length": (b"transfer-encoding: chunked\r\ncontent-length: 9999\r\n", _CHUNKED_EMPTY),
    "two lengths": (b"content-length: 2\r\ncontent-length: 9999\r\n", b"{}"),
    "two lengths, the longer first": (b"content-length: 9999\r\ncontent-length: 2\r\n", b"{}"),
    "two lengths in one line": (b"content-length: 2, 9999\r\n", b"{}"),
    "an unknown coding": (b"transfer-encoding: xchunked\r\n", _CHUNKED_EMPTY),
    "an unknown coding and a length": (b"transfer-encoding: xchunked\r\ncontent-length: 2\r\n", b"{}"),
    "chunked is not last": (b"transfer-encoding: chunked, identity\r\n", _CHUNKED_EMPTY),
    "chunked twice": (b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", _CHUNKED_EMPTY),
    "a quoted coding": (b'transfer-encoding: "chunked"\r\n', _CHUNKED_EMPTY),
    "a control character in the coding": (b"transfer-encoding: \x0bchunked\r\n", _CHUNKED_EMPTY),
    "space before the colon of the length": (b"content-length : 2\r\n", b"{}"),
    "space before the colon of the coding": (b"transfer-encoding : chunked\r\n", _CHUNKED_EMPTY),
    "a folded coding": (b"transfer-encoding:\r\n chunked\r\ncontent-length: 9999\r\n", _CHUNKED_EMPTY),
    "a folded length": (b"x-a: b\r\n content-length: 9999\r\ncontent-length: 2\r\n", b"{}"),
    "a length with a sign": (b"content-length: +2\r\n", b"{}"),
    "a negative length": (b"content-length: -2\r\n", b""),
    "a length in hexadecimal": (b"content-length: 0x2\r\n", b"{}"),
    "a length with a space": (b"content-length: 2 2\r\n", b"{}"),
    "a length that overflows": (b"content-length: 18446744073709551618\r\n", b"{}"),
    "no length": (b"content-length: \r\n", b""),
    "a bare carriage return ends a line": (b"x-a: b\rcontent-length: 9999\r\ncontent-length: 2\r\n", b"{}"),
    "a bare line feed ends a line": (b"x-a: b\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n", b"{}"),
    "NUL in a header": (b"x-a: b\0c\r\ncontent-length: 2\r\n", b"{}"),
    "a chunk size with a sign": (b"transfer-encoding: chunked\r\n", b"+0\r\n\r\n"),
    "a negative chunk size": (b"transfer-encoding: chunked\r\n", b"-1\r\n\r\n"),
    "a chunk size with a prefix": (b"transfer-encoding: chunked\r\n", b"0x0\r\n\r\n"),
    "a chunk size with an underscore": (b"transfer-encoding: chunked\r\n", b"0_0\r\n\r\n"),
    "a chunk size that overflows": (b"transfer-encoding: chunked\r\n", b"10000000000000000\r\n{}\r\n0\r\n\r\n"),
    "a chunk size with a space before": (b"transfer-encoding: chunked\r\n", b" 0\r\n\r\n"),
    "a chunk that is longer than it says": (b"transfer-encoding: chunked\r\n", b"1\r\n{}\r\n0\r\n\r\n"),
    "a bare line feed after a chunk size": (b"transfer-encoding: chunked\r\n", b"0\n\n"),
    "a bare line feed in a chunk extension": (b"transfer-encoding: chunked\r\n", b"0;a\nb\r\n\r\n"),
    "a bare carriage return after a chunk size": (b"transfer-encoding: chunked\r\n", b"0\r\r"),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
async def test_a_request_of_two_lengths_is_refused_and_what_hides_in_it_not_served(name: str, gateway: Running) -> None:
    lines, body = AMBIGUOUS[name]
    tag = f"smuggled-{uuid.uuid4().hex}"
    hidden = request("GET", f"/v1/count/1?tag={tag}")
    told = await talk(gateway.address, _JSON + lines + b"\r\n" + body + hidden, answers=2)
    assert (await journal(gateway.address, tag)).get("started", 0) == 0, told.received
    assert told.closed, "the rest of such a connection means nothing"
    assert all(400 <= status < 500 for status in told.statuses), told.received[:300]
    await assert_serves(gateway.address)


async def test_the_journal_would_have_shown_it(gateway: Running) -> None:
    tag = uuid.uuid4().hex
    first = _JSON + b"content-length: 2\r\n\r\n{}"
    told = await talk(gateway.address, first + request("GET", f"/v1/count/1?tag={tag}"), answers=2, wait_s=10)
    assert told.statuses == [200, 200]
    assert (await journal(gateway.address, tag))["started"] == 1


@pytest.mark.parametrize("header", ["grpc-status: 0", "grpc-encoding: gzip", "te: trailers", "connection: x-secret"])
async def test_a_header_of_the_hop_or_of_grpc_does_not_reach_the_service(header: str, gateway: Running) -> None:
    lines = header.encode() + b"\r\nx-secret: 1\r\n"
    told = await talk(gateway.address, b"GET /v1/peek HTTP/1.1\r\nhost: g\r\n" + lines + b"\r\n", wait_s=10)
    seen = json.loads(told.responses[0].body)["headers"]
    name, _, value = header.partition(": ")
    assert seen.get(name) != value
    assert ("x-secret" in seen) == (name != "connection")
