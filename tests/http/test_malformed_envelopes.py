"""Envelopes of gRPC-Web and Connect that are broken: the call ends with a code that says whose fault it is."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from tests.gateway_process import Running
from tests.http.raw import Talk, assert_serves, request, talk
from tests.http.seeds import envelope

_PROBE = b"\x0a\x03abc"
ENVELOPES: dict[str, bytes] = {
    "nothing": b"",
    "half a head": b"\0\0\0",
    "a head alone": b"\0\0\0\0\x05",
    "shorter than it says": envelope(_PROBE)[:-1],
    "4 GB announced": b"\0\xff\xff\xff\xff" + _PROBE,
    "something after it": envelope(_PROBE) + b"x",
    "two messages for one": envelope(_PROBE) * 2,
    "trailers from the client": envelope(_PROBE) + envelope(b"grpc-status: 0\r\n", 0x80),
    "an unknown flag": envelope(_PROBE, 0x40),
    "compressed without saying how": envelope(_PROBE, 1),
    "5,000 empty messages": envelope(b"") * 5000,
}


def _ends(content_type: str, told: Talk) -> Iterator[bytes]:
    """The code of each answer that came to its end: of gRPC-Web a number, of Connect a name."""
    for answer in told.responses:
        body = answer.body
        if content_type.startswith("application/grpc-web-text"):
            body = base64.b64decode(body)
        if content_type.startswith("application/grpc-web"):
            yield body.rpartition(b"grpc-status: ")[2].partition(b"\r\n")[0]
        else:
            yield body[body.index(b"{") :]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/grpc-web+proto",
        "application/grpc-web-text",
        "application/connect+proto",
        "application/connect+json",
    ],
)
@pytest.mark.parametrize("name", ENVELOPES)
async def test_envelopes_that_are_broken_end_the_call_with_a_code(
    name: str, content_type: str, gateway: Running
) -> None:
    body = ENVELOPES[name]
    if content_type.endswith("json"):
        body = body.replace(_PROBE, b'{"a"')
    if content_type.endswith("text"):
        body = base64.b64encode(body)
    for path in ("/gwconf.v1.Bodies/Whole", "/gwconf.v1.Streams/Gather"):
        told = await talk(gateway.address, request("POST", path, body, content_type=content_type), wait_s=10)
        assert told.statuses in ([200], [400], [413], [415]), told.received[:300]
        for end in _ends(content_type, told):
            assert end not in (b"2", b"13"), f"{path}: the gateway is at fault: {told.received[:500]!r}"
            assert b'"unknown"' not in end
            assert b'"internal"' not in end
    await assert_serves(gateway.address)
