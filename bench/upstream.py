"""CPU that the gateway's upstream client takes per call, beside grpc.aio on bytes, in one run.

    python bench/upstream.py [--seconds 3] [--rounds 3]

The server is a process of its own that answers with the same bytes whatever it is asked, so that it is never what is
waited for; only the client's CPU is counted. Prints one JSON line per client, call and round: microseconds of CPU (user
and system) per call, and calls per second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import time
from collections import deque
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection as Pipe
from typing import Any

import uvloop
from hpack import Decoder, Encoder

from answermesh.gateway.upstream.calls import Upstream
from answermesh.gateway.upstream.grpc_channel import GrpcUpstream
from answermesh.gateway.upstream.http2 import Http2Upstream, frames
from answermesh.gateway.upstream.http2.frames import Setting
from answermesh.rpc.channel import open_channel

IN_FLIGHT = 32
STREAM_MESSAGES = 100
MESSAGE = bytes(range(256)) * 2
METADATA = (("authorization", "Bearer 0123456789abcdef"), ("x-request-id", "9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d"))


def _headers(*fields: tuple[str, str]) -> bytes:
    encoder = Encoder()
    encoder.header_table_size = 0
    return bytes(encoder.encode([(name.encode(), value.encode()) for name, value in fields]))


_HEAD = _headers((":status", "200"), ("content-type", "application/grpc"), ("grpc-accept-encoding", "gzip"))
_TRAILERS = _headers(("grpc-status", "0"))
_UNIMPLEMENTED = _headers((":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "12"))
_BODY = frames.PREFIX.pack(0, len(MESSAGE)) + MESSAGE


def _answer(stream_id: int, messages: int) -> bytes:
    end = frames.END_HEADERS | frames.END_STREAM
    if not messages:
        return frames.frame(frames.HEADERS, end, stream_id, _UNIMPLEMENTED)
    head = frames.frame(frames.HEADERS, frames.END_HEADERS, stream_id, _HEAD)
    body = frames.frame(frames.DATA, 0, stream_id, _BODY) * messages
    return head + body + frames.frame(frames.HEADERS, end, stream_id, _TRAILERS)


class _Answering(asyncio.Protocol):
    """Just enough of a server: it looks at who asks for what, and at the connection's window."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._rest = b""
        self._decoder = Decoder()
        self._window = frames.DEFAULT_WINDOW
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._messages: dict[int, int] = {}

    def data_received(self, chunk: bytes) -> None:
        chunk = self._rest + chunk
        at, out = 0, []
        if chunk.startswith(b"PRI"):
            at = len(frames.PREFACE)
            out += [frames.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 20}), frames.window_update(0, 1 << 30)]
        while len(chunk) - at >= 9:
            high, low, kind, flags, stream_id = frames.HEADER.unpack_from(chunk, at)
            end = at + 9 + (high << 16 | low)
            if end > len(chunk):
                break
            payload, at = chunk[at + 9 : end], end
            if kind == frames.SETTINGS and not flags:
                out.append(frames.frame(frames.SETTINGS, frames.ACK, 0))
            elif kind == frames.PING and not flags:
                out.append(frames.frame(frames.PING, frames.ACK, 0, payload))
            elif kind == frames.HEADERS:
                self._messages[stream_id] = self._asked(payload)
            elif kind == frames.DATA and flags & frames.END_STREAM:
                count = self._messages.pop(stream_id)
                self._waiting.append((count * len(_BODY), _answer(stream_id, count)))
            elif kind == frames.WINDOW_UPDATE and not stream_id:
                self._window += frames.read_uint32(payload)
        self._rest = chunk[at:]
        while self._waiting and self._waiting[0][0] <= self._window:
            size, answer = self._waiting.popleft()
            self._window -= size
            out.append(answer)
        self._transport.write(b"".join(out))

    def _asked(self, block: bytes) -> int:
        """How many messages; grpc.aio sends a path in full only once, then the header table's index of it."""
        path = dict(self._decoder.decode(block))[":path"]
        return {"/bench.Bench/Echo": 1, "/bench.Bench/Feed": STREAM_MESSAGES}.get(path, 0)


def _serve(pipe: Pipe) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_Answering, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await loop.run_in_executor(None, pipe.recv)
        server.close()

    uvloop.run(run())


async def _unary(upstream: Upstream) -> None:
    await upstream.unary("/bench.Bench/Echo", MESSAGE, METADATA, 30.0)


async def _stream(upstream: Upstream) -> None:
    count = 0
    async with upstream.stream("/bench.Bench/Feed", METADATA, 30.0, MESSAGE) as call:
        while messages := await call.read():
            count += len(messages)
    assert count == STREAM_MESSAGES, count


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _measure(call: Callable[[], Awaitable[None]], seconds: float) -> dict[str, float]:
    async def caller(until: float) -> int:
        done = 0
        while time.perf_counter() < until:
            await call()
            done += 1
        return done

    await caller(time.perf_counter() + 0.3)
    cpu_s, began = _cpu_s(), time.perf_counter()
    done = sum(await asyncio.gather(*(caller(began + seconds) for _ in range(IN_FLIGHT))))
    cpu_s, took_s = _cpu_s() - cpu_s, time.perf_counter() - began
    return {"calls": done, "cpu_us": round(cpu_s / done * 1e6, 1), "per_second": round(done / took_s)}


async def _run(port: int, seconds: float, rounds: int) -> None:
    target = f"127.0.0.1:{port}"
    async with open_channel(target) as channel, Http2Upstream(target) as own:
        clients: dict[str, Upstream] = {"grpc.aio": GrpcUpstream(channel), "http2": own}
        for number in range(1, rounds + 1):
            for kind, call in (("unary", _unary), (f"stream of {STREAM_MESSAGES}", _stream)):
                for name, upstream in clients.items():
                    result = await _measure(lambda u=upstream, c=call: c(u), seconds)  # type: ignore[misc]
                    print(json.dumps({"round": number, "call": kind, "client": name, **result}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(theirs,))
    server.start()
    try:
        uvloop.run(_run(ours.recv(), arguments.seconds, arguments.rounds))
    finally:
        ours.send(None)
        server.join(10)


if __name__ == "__main__":
    main()
