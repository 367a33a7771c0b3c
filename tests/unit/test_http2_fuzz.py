"""Broken answers of a server, by the thousand: each call ends with a status, nothing crashes, hangs or grows.

make fuzz                    many more of them; FUZZ_CASES and FUZZ_SEED choose how many and which
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable

from hpack import Encoder

from answermesh.gateway.status import CallError
from answermesh.gateway.upstream.calls import Reply
from answermesh.gateway.upstream.http2 import Http2Options, frames
from answermesh.gateway.upstream.http2.connection import Connection
from answermesh.gateway.upstream.http2.frames import ErrorCode, Setting
from answermesh.gateway.upstream.http2.requests import RequestHeaders
from answermesh.gateway.upstream.http2.stream import NEVER
from answermesh.gateway.upstream.http2.streaming import StreamingStream
from answermesh.gateway.upstream.http2.unary import UnaryStream

CASES = int(os.environ.get("FUZZ_CASES", "1500"))
SEED = int(os.environ.get("FUZZ_SEED", "20261124"))
OPTIONS = Http2Options(max_message_bytes=100_000, max_buffered_bytes=300_000, stream_window_bytes=50_000)
HEADERS = RequestHeaders("http", "fuzz")


class Wire:
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, payload: bytes) -> None:
        self.written += len(payload)

    def close(self) -> None:
        pass

    abort = close


def block(*fields: tuple[str, str], huffman: bool) -> bytes:
    encoder = Encoder()
    encoder.header_table_size = 0
    return bytes(encoder.encode([(name.encode(), value.encode()) for name, value in fields], huffman=huffman))


def answer(dice: random.Random, stream_id: int) -> list[bytes]:
    """The frames of one lawful answer."""
    huffman = dice.random() < 0.5
    head = block((":status", "200"), ("content-type", "application/grpc"), ("x-bin", "AAEC"), huffman=huffman)
    payload = b"".join(
        frames.PREFIX.pack(0, size) + b"m" * size for size in dice.choices((0, 1, 5, 300, 20_000), k=dice.randint(1, 3))
    )
    cuts = sorted(dice.sample(range(len(payload) + 1), k=min(len(payload), dice.randint(0, 4))))
    pieces = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
    status = dice.choice(("0", "5", "16"))
    trailers = block(("grpc-status", status), ("grpc-message", "w%20hy"), huffman=huffman)
    return [
        frames.headers(stream_id, head, 0, dice.choice((16384, 7))),
        *(
            frames.frame(frames.DATA, 0, stream_id, piece[at : at + 16384])
            for piece in pieces
            for at in range(0, len(piece), 16384)
        ),
        frames.headers(stream_id, trailers, frames.END_STREAM, 16384),
    ]


def session(dice: random.Random, streams: list[int]) -> list[bytes]:
    """The frames of a lawful server, those of its answers interleaved."""
    out = [frames.settings({Setting.INITIAL_WINDOW_SIZE: dice.choice((0, 1, 65535, 1 << 20))})]
    out.append(frames.frame(frames.SETTINGS, frames.ACK, 0))
    waiting = [answer(dice, stream_id) for stream_id in streams]
    while waiting:
        chosen = dice.choice(waiting)
        out.append(chosen.pop(0))
        if not chosen:
            waiting.remove(chosen)
        if dice.random() < 0.1:
            out.append(dice.choice(EXTRAS)(dice.choice(streams)))
    return out


EXTRAS: list[Callable[[int], bytes]] = [
    lambda stream: frames.frame(frames.PING, 0, 0, b"12345678"),
    lambda stream: frames.window_update(stream, 1000),
    lambda stream: frames.window_update(0, 1000),
    lambda stream: frames.settings({Setting.MAX_FRAME_SIZE: 20_000, Setting.MAX_CONCURRENT_STREAMS: 2}),
    lambda stream: frames.reset(stream, ErrorCode.CANCEL),
    lambda stream: frames.reset(stream, ErrorCode.REFUSED_STREAM),
    lambda stream: frames.frame(frames.GOAWAY, 0, 0, stream.to_bytes(4, "big") + b"\0\0\0\0"),
    lambda stream: frames.frame(frames.PRIORITY, 0, stream, b"\0\0\0\0\1"),
    lambda stream: frames.frame(0x99, 0, stream, b"unknown"),
    lambda stream: frames.frame(frames.PUSH_PROMISE, 4, stream, b"\0\0\0\2\x88"),
]


def broken(dice: random.Random, pieces: list[bytes]) -> bytes:
    """The frames with some damage: among them, within them, or none."""
    for _ in range(dice.choice((0, 0, 1, 1, 2, 5))):
        at = dice.randrange(len(pieces))
        match dice.randrange(7):
            case 0:
                pieces.insert(at, pieces[dice.randrange(len(pieces))])
            case 1 if len(pieces) > 1:
                del pieces[at]
            case 2:
                other = dice.randrange(len(pieces))
                pieces[at], pieces[other] = pieces[other], pieces[at]
            case 3:
                pieces[at] = pieces[at][: dice.randrange(len(pieces[at]) + 1)]
            case 4:
                pieces[at] += dice.randbytes(dice.randint(1, 30))
            case _:
                mutable = bytearray(pieces[at])
                for _ in range(dice.randint(1, 4)):
                    # The head of a frame decides most.
                    reach = min(len(mutable), dice.choice((9, 30, 1 << 20)))
                    if reach:
                        mutable[dice.randrange(reach)] = dice.choice((0, 1, 4, 8, 255, dice.randrange(256)))
                pieces[at] = bytes(mutable)
    return b"".join(pieces)


async def one_case(seed: int) -> str:
    """Runs a case; how the calls ended, for the count."""
    dice = random.Random(seed)
    connection = Connection("fuzz", OPTIONS, OPTIONS.keepalive, (), lambda: None, lambda: None)
    wire = Wire()
    connection.connection_made(wire)  # type: ignore[arg-type]
    connection.capacity = 100
    futures: list[asyncio.Future[Reply]] = []
    streamed: list[StreamingStream] = []
    for _ in range(dice.randint(1, 3)):
        request = HEADERS.block("/f.F/F", (), None)
        if dice.random() < 0.5:
            futures.append(connection.loop.create_future())
            connection.open(UnaryStream(connection, NEVER, futures[-1]), request, b"q" * dice.choice((1, 70_000)))
        else:
            streamed.append(StreamingStream(connection, NEVER))
            connection.open(streamed[-1], request, b"q" if dice.random() < 0.5 else None)
    bytes_of_server = broken(dice, session(dice, list(range(1, connection.last_stream_id + 1, 2))))
    readers = [asyncio.ensure_future(read_all(stream)) for stream in streamed if dice.random() < 0.7]
    at = 0
    while at < len(bytes_of_server):
        size = dice.choice((1, 9, 10, 100, 20_000, 1 << 20))
        connection.data_received(bytes_of_server[at : at + size])
        at += size
        if dice.random() < 0.2:
            await asyncio.sleep(0)
        assert connection.buffered_bytes <= OPTIONS.max_buffered_bytes
    connection.connection_lost(None)
    assert all(future.done() for future in futures)
    endings = [outcome(future) for future in futures]
    endings += [ending async for ending in _endings(streamed, readers)]
    assert not connection.streams
    assert connection.buffered_bytes == 0
    assert wire.written < 1 << 20
    return " ".join(endings)


async def read_all(stream: StreamingStream) -> None:
    while await stream.read():
        pass


async def _endings(streamed: list[StreamingStream], readers: list[asyncio.Future[None]]):  # type: ignore[no-untyped-def]
    for reader in [*readers, *(asyncio.ensure_future(read_all(stream)) for stream in streamed)]:
        async with asyncio.timeout(10):
            await asyncio.wait([reader])
        yield outcome(reader)


def outcome(future: asyncio.Future[object]) -> str:
    error = future.exception()
    assert error is None or isinstance(error, CallError), repr(error)
    return "OK" if error is None else error.code.name


async def test_each_call_ends_with_a_status_whatever_the_server_sends() -> None:
    problems: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    seen: set[str] = set()
    for number in range(CASES):
        try:
            seen |= set((await one_case(SEED + number)).split())
        except Exception as error:
            raise AssertionError(f"FUZZ_SEED={SEED + number} FUZZ_CASES=1 shows it") from error
    assert not problems
    # The cases reach more than the first check.
    if CASES >= 1000:
        assert seen >= {"OK", "NOT_FOUND", "UNAVAILABLE", "INTERNAL", "CANCELLED", "UNKNOWN"}
