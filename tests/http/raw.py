"""Requests as bytes over a socket, and what came back: a client that can break every rule of HTTP."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import os
import random
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# How much is tried of what is random: 1 in `make test`, more in `make fuzz-http`.
ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "1"))
SEED = int(os.environ.get("FUZZ_SEED", "20261124"))
_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Response:
    """One answer; `whole` tells whether its body came to its end."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool


@dataclass(frozen=True, slots=True)
class Talk:
    """All that a connection said, and whether the server closed it."""

    received: bytes
    closed: bool
    responses: tuple[Response, ...]

    @property
    def statuses(self) -> list[int]:
        """Of each answer."""
        return [response.status for response in self.responses]


def request(method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
    """A well-formed request; underscores in header names stand for dashes."""
    lines = [f"{method} {target} HTTP/1.1", "host: gateway"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


async def talk(address: str, *pieces: bytes, wait_s: float = 1.0, pause_s: float = 0.0, answers: int = 1) -> Talk:
    """Send the pieces, and read until the server closes, has given so many answers, or `wait_s` are over."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 26)
    received, closed = b"", False
    try:
        reading = asyncio.ensure_future(_read(reader, answers))
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_s)
        except OSError:
            pass  # The server has closed while we were sending; what it said before that counts.
        received, closed = await asyncio.wait_for(reading, wait_s)
    except TimeoutError:
        received = bytes(reader._buffer)  # type: ignore[attr-defined]  # what `_read` had put back
    finally:
        writer.transport.abort()
    return Talk(received, closed, tuple(parse(received)))


async def _read(reader: asyncio.StreamReader, answers: int) -> tuple[bytes, bool]:
    received = b""
    try:
        while chunk := await reader.read(1 << 20):
            received += chunk
            found = list(parse(received))
            if len(found) >= answers and found[-1].whole and answers > 0:
                return received, False
    except asyncio.CancelledError:
        reader._buffer[:0] = received  # type: ignore[attr-defined]
        raise
    except OSError:
        pass
    return received, True


def parse(received: bytes) -> Iterable[Response]:
    """The answers in these bytes; the last may be unfinished. Raises http.client.HTTPException for what is no HTTP."""
    stream = io.BytesIO(received)
    while stream.tell() < len(received):
        if b"\r\n\r\n" not in received[stream.tell() :]:
            return
        if received[stream.tell() :].startswith(b"HTTP/1.1 100"):
            stream.seek(received.index(b"\r\n\r\n", stream.tell()) + 4)
            continue
        response = http.client.HTTPResponse(_Socket(stream))  # type: ignore[arg-type]  # it only asks for a file
        response.begin()
        try:
            body, whole = response.read(), True
        except http.client.IncompleteRead as cut:
            body, whole = cut.partial, False
        yield Response(response.status, {k.lower(): v for k, v in response.getheaders()}, body, whole)


class _Socket:
    def __init__(self, stream: io.BytesIO) -> None:
        self._stream = stream

    def makefile(self, mode: str) -> Any:
        return _Unclosed(self._stream)


class _Unclosed(io.BufferedIOBase):
    """The stream, that the end of one answer does not close."""

    def __init__(self, stream: io.BytesIO) -> None:
        self._stream = stream

    def read(self, size: int | None = -1) -> bytes:
        return self._stream.read(size)

    def readline(self, size: int | None = -1) -> bytes:
        return self._stream.readline(size)

    def readinto(self, buffer: Any) -> int:
        return self._stream.readinto(buffer)

    def flush(self) -> None:
        pass


async def talks(address: str, cases: Iterable[tuple[bytes, ...]], **options: Any) -> list[Talk]:
    """Each case on a connection of its own, so many at once."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(pieces: tuple[bytes, ...]) -> Talk:
        async with gate:
            return await talk(address, *pieces, **options)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(case)) for case in cases]
    return [task.result() for task in tasks]


async def journal(address: str, tag: str) -> dict[str, int]:
    """What the service saw of calls with this tag."""
    told = await talk(address, request("GET", f"/v1/journal/{tag}"), wait_s=10)
    return dict(json.loads(told.responses[0].body))


async def assert_serves(address: str) -> None:
    """A good request gets its good answer."""
    told = await talk(
        address, request("POST", "/v1/whole", b'{"name":"good"}', content_type="application/json"), wait_s=10
    )
    assert told.statuses == [200], told.received[:500]
    assert json.loads(told.responses[0].body) == {"rpc": "Whole", "probe": {"name": "good"}}


# Faults of the service: it echoes a field mask or a Value that ProtoJSON cannot print; it cannot read bytes that the
# gateway does not look into, since they are protobuf already.
_NOT_OURS = (b"The service answered with what is no printable", b"Error parsing message")


def assert_no_fault(told: Talk, sent: bytes) -> None:
    """No answer is a 5xx that is the gateway's own. A 504 is a deadline that a header asked for."""
    for answer in told.responses:
        if answer.status >= 500 and answer.status != 504 and not any(fault in answer.body for fault in _NOT_OURS):
            raise AssertionError(f"{sent[:400]!r} got {answer.status} {answer.body[:400]!r}")


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """The bytes with a few of them changed, dropped, doubled, or swapped for what parsers trip over."""
    changed = bytearray(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(7):
            case 0 if at < len(changed):
                changed[at] = chance.randrange(256)
            case 1:
                changed[at:at] = bytes([chance.randrange(256)])
            case 2:
                del changed[at : at + chance.choice((1, 1, 2, 5, 40))]
            case 3:
                changed[at:at] = changed[at : at + chance.randrange(1, 40)]
            case 4:
                changed[at:at] = chance.choice(_AWKWARD)
            case 5 if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
            case _:
                changed[at:at] = bytes([chance.choice(b"0123456789")]) * chance.randrange(1, 30)
    return bytes(changed)


_AWKWARD = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\xff", b"\xc3\x28", b"%00", b"%", b"%2F", b"..", b"//", b'"',
    b"\\", b"{", b"[",
    b"[" * 200, b"\r\n\r\n", b"content-length: 0\r\n", b"transfer-encoding: chunked\r\n", b"\x80\0\0\0\0",
    b"\0\xff\xff\xff\xff", b"null", b"1e999", b"-0", b"=", b"==", b"\xf0\x9f\x98\x80", b"\\ud800", b"\xef\xbb\xbf",
)  # fmt: skip


def hang_up(connection: socket.socket, *, reset: bool) -> None:
    """Close, politely or by RST."""
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
