"""An HTTP/2 server that does frame by frame what a test says, lawful or not.

    async with scripted(behavior) as target: …

`behavior(peer)` runs for each connection, after the prefaces. What it leaves open is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hpack import Decoder, Encoder

from answermesh.gateway.upstream.http2 import Http2Options, Http2Upstream, frames
from answermesh.gateway.upstream.http2.frames import ErrorCode, Setting

OPENING = ((":status", "200"), ("content-type", "application/grpc"))
OK = (("grpc-status", "0"),)
PATH = "/test.Test/Call"


@dataclass
class Frame:
    kind: int
    flags: int
    stream_id: int
    payload: bytes


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.decoder = Decoder()
        self.encoder = Encoder()
        self.encoder.header_table_size = 0
        # All frames that came, and those that `frame` has not given yet.
        self.seen: list[Frame] = []

    async def greet(self, settings: dict[Setting, int] | None = None) -> None:
        assert await self.reader.readexactly(len(frames.PREFACE)) == frames.PREFACE
        self.send(frames.settings(settings or {}))
        self.send(frames.frame(frames.SETTINGS, frames.ACK, 0))

    def send(self, *pieces: bytes) -> None:
        self.writer.write(b"".join(pieces))

    async def frame(self) -> Frame:
        """The next frame. Raises EOFError at the end."""
        header = await self.reader.readexactly(9)
        high, low, kind, flags, stream_id = frames.HEADER.unpack(header)
        frame = Frame(kind, flags, stream_id, await self.reader.readexactly(high << 16 | low))
        self.seen.append(frame)
        return frame

    async def until(self, *kinds: int) -> Frame:
        """The next frame of these kinds; others are passed over."""
        while (frame := await self.frame()).kind not in kinds or (frame.flags & frames.ACK and frame.kind == 4):
            pass
        return frame

    async def request(self) -> int:
        """Waits for the next call's headers; its stream."""
        frame = await self.until(frames.HEADERS)
        self.fields = dict(self.decoder.decode(frame.payload))
        return frame.stream_id

    async def whole_request(self) -> int:
        """Waits for the next call up to its end; its stream."""
        stream_id = await self.request()
        while not (frame := await self.until(frames.DATA)).flags & frames.END_STREAM:
            pass
        assert frame.stream_id == stream_id
        return stream_id

    async def drain(self) -> None:
        """Read until the client has closed."""
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                await self.frame()

    def block(self, fields: tuple[tuple[str, str], ...]) -> bytes:
        return bytes(self.encoder.encode([(name.encode(), value.encode()) for name, value in fields], huffman=False))

    def headers(self, stream_id: int, *fields: tuple[str, str], end: bool = False, flags: int = 0) -> bytes:
        flags |= frames.END_HEADERS | (frames.END_STREAM if end else 0)
        return frames.frame(frames.HEADERS, flags, stream_id, self.block(fields))

    def answer(self, stream_id: int, message: bytes = b"answer") -> bytes:
        """A whole answer."""
        return b"".join(
            (
                self.headers(stream_id, *OPENING),
                data(stream_id, grpc_message(message)),
                self.headers(stream_id, *OK, end=True),
            )
        )


def grpc_message(message: bytes, flag: int = 0) -> bytes:
    return frames.PREFIX.pack(flag, len(message)) + message


def data(stream_id: int, payload: bytes, flags: int = 0) -> bytes:
    return frames.frame(frames.DATA, flags, stream_id, payload)


def goaway(last: int, code: ErrorCode = ErrorCode.NO_ERROR, text: bytes = b"") -> bytes:
    return frames.frame(frames.GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big") + text)


Behavior = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def scripted(behavior: Behavior, settings: dict[Setting, int] | None = None) -> AsyncIterator[str]:
    """A server's target. A behavior that fails fails the test."""
    tasks: set[asyncio.Task[None]] = set()
    failures: list[BaseException] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            peer = Peer(reader, writer)
            await peer.greet(settings)
            await behavior(peer)
        except (EOFError, ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as error:
            failures.append(error)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        server.close()
        await server.wait_closed()
    if failures:
        raise failures[0]


@asynccontextmanager
async def calling(
    behavior: Behavior, settings: dict[Setting, int] | None = None, options: Http2Options | None = None
) -> AsyncIterator[Http2Upstream]:
    """A client of a scripted server that tells nothing of its health."""
    options = options or Http2Options(health_service=None)
    async with scripted(behavior, settings) as target, Http2Upstream(target, options) as upstream:
        yield upstream
        assert upstream.calls_in_flight == 0, "a call was left behind"


def answering(*pieces: Callable[[Peer, int], bytes]) -> Behavior:
    """Answers each call with these frames."""

    async def behavior(peer: Peer) -> None:
        while True:
            stream_id = await peer.whole_request()
            peer.send(*(piece(peer, stream_id) for piece in pieces))

    return behavior
