"""Headers to metadata and back, and deadlines from headers."""

from __future__ import annotations

import pytest

from answermesh.gateway.metadata import timeout_s, to_headers, to_metadata
from answermesh.gateway.status import CallError


def test_headers_of_one_hop_and_of_grpc_are_dropped() -> None:
    headers = [
        (b"connection", b"keep-alive, x-secret"),
        (b"x-secret", b"1"),
        (b"te", b"trailers"),
        (b"grpc-encoding", b"gzip"),
        (b"content-length", b"3"),
        (b"grpc-metadata-grpc-timeout", b"1S"),
        (b"x-team", b"blue"),
        (b"grpc-metadata-team", b"red"),
        (b"x-bad", b"a\xffb"),
    ]
    assert to_metadata(headers) == (("x-team", "blue"), ("team", "red"))


def test_binary_headers_are_base64_both_ways() -> None:
    assert to_metadata([(b"x-key-bin", b"AP8="), (b"x-two-bin", b"AP8,AQ")]) == (
        ("x-key-bin", b"\x00\xff"),
        ("x-two-bin", b"\x00\xff"),
        ("x-two-bin", b"\x01"),
    )
    assert to_headers((("x-key-bin", b"\x00\xff"),)) == [(b"x-key-bin", b"AP8")]
    with pytest.raises(CallError) as refused:
        to_metadata([(b"x-key-bin", b"*")])
    assert refused.value.http_status == 400


def test_metadata_cannot_break_into_the_answers_head() -> None:
    metadata = (("x-a", "1\r\nx-b: 2"), ("grpc-status", "0"), ("content-length", "0"), ("x-ok", "yes"))
    assert to_headers(metadata) == [(b"x-ok", b"yes")]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 60.0),
        ({"grpc-timeout": "300m"}, 0.3),
        ({"grpc-timeout": "2H"}, 3600.0),
        ({"x-server-timeout": "0.5", "grpc-timeout": "2S"}, 0.5),
        ({"request-timeout": "7"}, 7.0),
        ({"connect-timeout-ms": "250"}, 0.25),
    ],
)
def test_the_shortest_deadline_counts_up_to_the_most(headers: dict[str, str], expected: float) -> None:
    assert timeout_s(headers, default_s=60.0, max_s=3600.0) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"grpc-timeout": "soon"},
        {"grpc-timeout": "123456789S"},
        {"x-server-timeout": "-1"},
        {"connect-timeout-ms": "1.5"},
    ],
)
def test_a_deadline_that_cannot_be_read_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(CallError) as refused:
        timeout_s(headers, default_s=60.0, max_s=3600.0)
    assert refused.value.http_status == 400
