"""What the HTTP/2 client makes of answers, frame by frame: cut, padded, compressed, malformed, without a status."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable

import pytest
from grpc import StatusCode

from answermesh.gateway.status import CallError
from answermesh.gateway.upstream.http2 import Http2Options, frames
from answermesh.gateway.upstream.http2.frames import ErrorCode, Setting
from tests.wire.scripted_http2 import OK, OPENING, PATH, Peer, answering, calling, data, grpc_message

Piece = Callable[[Peer, int], bytes]
HEAD: Piece = lambda peer, stream: peer.headers(stream, *OPENING)  # noqa: E731
END: Piece = lambda peer, stream: peer.headers(stream, *OK, end=True)  # noqa: E731


def body(payload: bytes, flags: int = 0) -> Piece:
    return lambda peer, stream: data(stream, payload, flags)


async def reply_to(*pieces: Piece, options: Http2Options | None = None) -> bytes:
    async with calling(answering(*pieces), options=options) as upstream:
        return (await upstream.unary(PATH, b"q", (), 10.0)).message


async def failure_of(*pieces: Piece, options: Http2Options | None = None) -> CallError:
    with pytest.raises(CallError) as raised:
        await reply_to(*pieces, options=options)
    return raised.value


async def all_of(*pieces: Piece) -> list[bytes]:
    messages: list[bytes] = []
    async with calling(answering(*pieces)) as upstream, upstream.stream(PATH, (), 10.0, b"q") as call:
        while some := await call.read():
            messages += some
    return messages


@pytest.mark.parametrize("cut", [1, 2, 4, 5, 6, 7])
async def test_messages_may_be_cut_anywhere(cut: int) -> None:
    whole = grpc_message(b"one") + grpc_message(b"") + grpc_message(b"three" * 50)
    pieces = [body(whole[at : at + cut]) for at in range(0, len(whole), cut)]
    assert await all_of(HEAD, *pieces, END) == [b"one", b"", b"three" * 50]


async def test_many_messages_may_lie_in_one_frame() -> None:
    assert await all_of(HEAD, body(grpc_message(b"m") * 500), END) == [b"m"] * 500


async def test_padding_and_priority_are_taken_off() -> None:
    padded = b"\x03" + grpc_message(b"answer") + b"\0\0\0"

    def head(peer: Peer, stream: int) -> bytes:
        payload = b"\x02" + b"\0\0\0\0\x10" + peer.block(OPENING) + b"\0\0"
        flags = frames.END_HEADERS | frames.PADDED | frames.WITH_PRIORITY
        return frames.frame(frames.HEADERS, flags, stream, payload)

    assert await reply_to(head, body(padded, frames.PADDED), END) == b"answer"


async def test_headers_may_go_on_in_continuations() -> None:
    def head(peer: Peer, stream: int) -> bytes:
        block = peer.block((*OPENING, ("long", "x" * 100)))
        return frames.headers(stream, block, 0, 20)

    assert await reply_to(head, body(grpc_message(b"answer")), END) == b"answer"


async def test_unknown_frames_and_priorities_are_ignored() -> None:
    def odd(peer: Peer, stream: int) -> bytes:
        unknown = frames.frame(0x77, 0xFF, stream, b"whatever") + frames.frame(0x78, 0, 0)
        return unknown + frames.frame(frames.PRIORITY, 0, stream, b"\0\0\0\0\x01")

    assert await reply_to(odd, HEAD, odd, body(grpc_message(b"answer")), odd, END) == b"answer"


async def test_informational_headers_come_before_the_real_ones() -> None:
    early: Piece = lambda peer, stream: peer.headers(stream, (":status", "103"), ("link", "x"))  # noqa: E731
    assert await reply_to(early, HEAD, body(grpc_message(b"answer")), END) == b"answer"


async def test_compressed_messages_are_decompressed_within_the_limit() -> None:
    def head(peer: Peer, stream: int) -> bytes:
        return peer.headers(stream, *OPENING, ("grpc-encoding", "gzip"))

    options = Http2Options(health_service=None, max_message_bytes=10_000)
    small, bomb = gzip.compress(b"x" * 10_000), gzip.compress(b"x" * 10_001)
    assert await reply_to(head, body(grpc_message(small, 1)), END, options=options) == b"x" * 10_000
    assert (await failure_of(head, body(grpc_message(bomb, 1)), END, options=options)).code is (
        StatusCode.RESOURCE_EXHAUSTED
    )
    assert (await failure_of(head, body(grpc_message(b"no gzip", 1)), END)).code is StatusCode.INTERNAL
    assert (await failure_of(head, body(grpc_message(small[:-9], 1)), END)).code is StatusCode.INTERNAL
    assert (await failure_of(HEAD, body(grpc_message(small, 1)), END)).code is StatusCode.INTERNAL


async def test_a_message_over_the_limit_is_refused_when_its_length_is_known() -> None:
    options = Http2Options(health_service=None, max_message_bytes=100)
    announced = frames.PREFIX.pack(0, 101) + b"x"
    assert (await failure_of(HEAD, body(announced), options=options)).code is StatusCode.RESOURCE_EXHAUSTED
    whole = grpc_message(b"x" * 101)
    assert (await failure_of(HEAD, body(whole), END, options=options)).code is StatusCode.RESOURCE_EXHAUSTED


async def test_trailers_alone_are_an_answer() -> None:
    error = await failure_of(
        lambda peer, stream: peer.headers(
            stream, *OPENING, ("grpc-status", "7"), ("grpc-message", "n%C3%B6, 100 %25 %zz"), ("why", "x"), end=True
        )
    )
    assert (error.code, error.message) == (StatusCode.PERMISSION_DENIED, "nö, 100 % %zz")
    assert error.metadata == (("why", "x"),)


async def test_binary_metadata_may_be_padded_joined_and_broken() -> None:
    def head(peer: Peer, stream: int) -> bytes:
        return peer.headers(stream, *OPENING, ("a-bin", "AQ=="), ("b-bin", "AQ,Ag"), ("c-bin", "!"))

    async with calling(answering(HEAD, body(grpc_message(b"")), END)) as upstream:
        assert (await upstream.unary(PATH, b"", (), 10.0)).headers == ()
    async with calling(answering(head, body(grpc_message(b"")), END)) as upstream:
        headers = (await upstream.unary(PATH, b"", (), 10.0)).headers
    assert headers == (("a-bin", b"\x01"), ("b-bin", b"\x01"), ("b-bin", b"\x02"))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("400", StatusCode.INTERNAL),
        ("401", StatusCode.UNAUTHENTICATED),
        ("403", StatusCode.PERMISSION_DENIED),
        ("404", StatusCode.UNIMPLEMENTED),
        ("429", StatusCode.UNAVAILABLE),
        ("502", StatusCode.UNAVAILABLE),
        ("503", StatusCode.UNAVAILABLE),
        ("504", StatusCode.UNAVAILABLE),
        ("500", StatusCode.UNKNOWN),
        ("200", StatusCode.UNKNOWN),
    ],
)
@pytest.mark.parametrize("ended", [True, False])
async def test_an_answer_that_is_not_grpc_has_the_status_of_its_http_code(
    status: str, code: StatusCode, ended: bool
) -> None:
    fields = ((":status", status), ("content-type", "text/html"))
    pieces: list[Piece] = [lambda peer, stream: peer.headers(stream, *fields, end=ended)]
    if not ended:
        pieces.append(body(b"<html>"))
    error = await failure_of(*pieces)
    assert error.code is code
    assert f"HTTP {status}" in error.message


async def test_the_status_given_wins_over_that_of_http() -> None:
    fields = ((":status", "503"), ("content-type", "application/grpc"), ("grpc-status", "8"))
    assert (await failure_of(lambda peer, stream: peer.headers(stream, *fields, end=True))).code is (
        StatusCode.RESOURCE_EXHAUSTED
    )


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ([HEAD, body(grpc_message(b"x")), body(b"", frames.END_STREAM)], StatusCode.UNKNOWN),
        ([HEAD, body(grpc_message(b"x"), frames.END_STREAM)], StatusCode.UNKNOWN),
        ([HEAD, body(grpc_message(b"x")), lambda p, s: p.headers(s, ("x", "y"), end=True)], StatusCode.UNKNOWN),
        ([HEAD, body(grpc_message(b"x")), lambda p, s: p.headers(s, ("grpc-status", "x"), end=True)],
         StatusCode.UNKNOWN),
        ([HEAD, body(grpc_message(b"x")), lambda p, s: p.headers(s, ("grpc-status", "99"), end=True)],
         StatusCode.UNKNOWN),
        ([HEAD, END], StatusCode.INTERNAL),
        ([HEAD, body(grpc_message(b"x")), body(grpc_message(b"y")), END], StatusCode.INTERNAL),
        ([HEAD, body(grpc_message(b"xyz")[:-1]), END], StatusCode.INTERNAL),
        ([HEAD, body(grpc_message(b"x", 2)), END], StatusCode.INTERNAL),
        ([body(grpc_message(b"x")), HEAD, END], StatusCode.INTERNAL),
        ([HEAD, HEAD, END], StatusCode.INTERNAL),
        ([lambda p, s: p.headers(s, ("content-type", "application/grpc"))], StatusCode.UNKNOWN),
        ([lambda p, s: p.headers(s, *OPENING, ("Upper", "x"))], StatusCode.INTERNAL),
        ([lambda p, s: p.headers(s, *OPENING, ("x", "y"), (":status", "200"))], StatusCode.INTERNAL),
    ],
)  # fmt: skip
async def test_an_answer_that_breaks_a_rule_ends_the_call_alone(pieces: list[Piece], code: StatusCode) -> None:
    async with calling(answering(*pieces)) as upstream:
        for _ in range(2):
            with pytest.raises(CallError) as raised:
                await upstream.unary(PATH, b"q", (), 10.0)
            assert raised.value.code is code
        assert upstream.reconnects == 0


async def test_a_header_list_over_the_limit_ends_the_call_alone() -> None:
    def large(peer: Peer, stream: int) -> bytes:
        return peer.headers(stream, *OPENING, *((f"x{number}", "v" * 100) for number in range(20)), end=True)

    options = Http2Options(health_service=None, max_header_bytes=2000)
    async with calling(answering(large), options=options) as upstream:
        for _ in range(2):
            with pytest.raises(CallError) as raised:
                await upstream.unary(PATH, b"q", (), 10.0)
            assert raised.value.code is StatusCode.RESOURCE_EXHAUSTED
        assert upstream.reconnects == 0


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (lambda p, s: frames.frame(frames.PUSH_PROMISE, 4, s, b"\0\0\0\x02"), ErrorCode.PROTOCOL_ERROR),
        (lambda p, s: frames.frame(frames.CONTINUATION, 4, s, b""), ErrorCode.PROTOCOL_ERROR),
        (lambda p, s: frames.frame(frames.HEADERS, 4, s + 2, b""), ErrorCode.PROTOCOL_ERROR),
        (lambda p, s: data(2, b"x"), ErrorCode.PROTOCOL_ERROR),
        (lambda p, s: data(0, b"x"), ErrorCode.PROTOCOL_ERROR),
        (lambda p, s: data(s, b"\x09x", frames.PADDED), ErrorCode.PROTOCOL_ERROR),
        (lambda p, s: frames.frame(frames.HEADERS, 4, s, b"\xff\xff\xff\xff\xff"), ErrorCode.COMPRESSION_ERROR),
        (lambda p, s: frames.header(16385, frames.DATA, 0, s), ErrorCode.FRAME_SIZE_ERROR),
        (lambda p, s: frames.frame(frames.PING, 0, 0, b"short"), ErrorCode.FRAME_SIZE_ERROR),
        (lambda p, s: frames.frame(frames.SETTINGS, 0, 0, b"short"), ErrorCode.FRAME_SIZE_ERROR),
        (lambda p, s: frames.frame(frames.SETTINGS, 1, 0, b"\0" * 6), ErrorCode.FRAME_SIZE_ERROR),
        (lambda p, s: frames.settings({Setting.MAX_FRAME_SIZE: 1}), ErrorCode.PROTOCOL_ERROR),
        (lambda p, s: frames.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 31}), ErrorCode.FLOW_CONTROL_ERROR),
        (lambda p, s: frames.window_update(0, frames.MAX_WINDOW), ErrorCode.FLOW_CONTROL_ERROR),
        (lambda p, s: frames.frame(frames.HEADERS, 0, s, b"") + data(s, b"x"), ErrorCode.PROTOCOL_ERROR),
        (lambda p, s: frames.frame(frames.HEADERS, 0, s) + frames.frame(frames.CONTINUATION, 0, s) * 99,
         ErrorCode.ENHANCE_YOUR_CALM),
        (lambda p, s: frames.frame(frames.HEADERS, 0, s) + frames.frame(frames.CONTINUATION, 0, s, b"x" * 16384) * 9,
         ErrorCode.ENHANCE_YOUR_CALM),
    ],
)  # fmt: skip
async def test_a_peer_that_breaks_the_protocol_is_told_and_left(broken: Piece, code: ErrorCode) -> None:
    told: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

    async def behavior(peer: Peer) -> None:
        stream_id = await peer.whole_request()
        peer.send(broken(peer, stream_id))
        await peer.drain()
        if not told.done():
            told.set_result(
                [frames.read_uint32(frame.payload, 4) for frame in peer.seen if frame.kind == frames.GOAWAY]
            )

    async with calling(behavior) as upstream:
        with pytest.raises(CallError) as raised:
            await upstream.unary(PATH, b"q", (), 10.0)
        assert raised.value.code is StatusCode.UNAVAILABLE
        assert await told == [code]


@pytest.mark.parametrize(
    "frame",
    [
        frames.frame(frames.PING, 0, 0, b"8 bytes!"),
        frames.settings({}),
        data(1, b""),
        frames.frame(0x77, 0, 1),
        frames.frame(frames.PRIORITY, 0, 1, b"\0\0\0\0\x01"),
    ],
)
async def test_a_flood_of_frames_that_bring_nothing_ends_the_connection(frame: bytes) -> None:
    async def behavior(peer: Peer) -> None:
        await peer.whole_request()
        peer.send(frame * 20_000)
        await peer.drain()

    async with calling(behavior) as upstream:
        with pytest.raises(CallError, match="bring nothing forward") as raised:
            await upstream.unary(PATH, b"q", (), 10.0)
        assert raised.value.code is StatusCode.UNAVAILABLE
