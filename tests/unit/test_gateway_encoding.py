"""gzip bodies, in pieces and whole, and what Accept-Encoding asks for."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answermesh.gateway.http.encoding import Unzipper, is_plain, takes_gzip, unzip, unzipped
from answermesh.gateway.status import CallError


@given(parts=st.lists(st.binary(max_size=300_000), min_size=1, max_size=3), step=st.integers(1, 5000))
def test_members_give_what_was_packed_however_they_are_cut(parts: list[bytes], step: int) -> None:
    packed = b"".join(gzip.compress(part, 1) for part in parts)
    unzipper = Unzipper()
    pieces = [piece for at in range(0, len(packed), step) for piece in unzipper.feed(packed[at : at + step])]
    unzipper.finish()
    assert b"".join(pieces) == b"".join(parts)
    assert unzip(packed, 1 << 20) == b"".join(parts)


def test_a_small_body_that_holds_a_large_one_is_unpacked_in_small_pieces() -> None:
    pieces = list(Unzipper().feed(gzip.compress(b"x" * 10_000_000)))
    assert sum(map(len, pieces)) == 10_000_000
    assert max(map(len, pieces)) <= 64 << 10


def test_more_than_the_limit_is_413() -> None:
    with pytest.raises(CallError) as refused:
        unzip(gzip.compress(b"x" * 1001), 1000)
    assert refused.value.http_status == 413
    assert unzip(gzip.compress(b"x" * 1000), 1000) == b"x" * 1000


@pytest.mark.parametrize("body", [b"", b"{}", gzip.compress(b"{}")[:-1], gzip.compress(b"{}") + b"x"])
async def test_what_is_no_whole_gzip_is_400(body: bytes) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield body

    with pytest.raises(CallError) as refused:
        unzip(body, 1000)
    assert refused.value.http_status == 400
    with pytest.raises(CallError) as refused:
        _ = [piece async for piece in unzipped(chunks())]
    assert refused.value.http_status == 400


def test_codings_are_told_apart() -> None:
    assert is_plain("")
    assert is_plain(" Identity ")
    assert not is_plain("GZIP")
    with pytest.raises(CallError) as refused:
        is_plain("br")
    assert refused.value.http_status == 415


@pytest.mark.parametrize(
    ("accept", "takes"),
    [
        ("", False), ("gzip", True), ("br, gzip;q=0.1", True), ("*", True), ("*;q=0", False), ("gzip;q=0, *", False),
        ("*;q=0, gzip", True), ("gzip; q=0.000", False), ("identity", False), ("x-gzip", True), ("deflate, br", False),
    ],
)  # fmt: skip
def test_the_name_counts_before_the_star(accept: str, takes: bool) -> None:
    assert takes_gzip(accept) is takes
