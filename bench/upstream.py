"""CPU that the gateway's upstream client takes per call, beside grpc.aio on bytes, in one run.

    python bench/upstream.py [--seconds 3] [--rounds 3]

The server is a grpc.aio server in a process of its own; only the client's CPU is counted. Prints one JSON line per
client, call and round: microseconds of CPU (user and system) per call, and calls per second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from multiprocessing.connection import Connection as Pipe
from typing import Any

import grpc
import uvloop

from answermesh.gateway.upstream.calls import Upstream
from answermesh.gateway.upstream.grpc_channel import GrpcUpstream
from answermesh.gateway.upstream.http2 import Http2Upstream
from answermesh.rpc.channel import open_channel

IN_FLIGHT = 32
STREAM_MESSAGES = 100
MESSAGE = bytes(range(256)) * 2
METADATA = (("authorization", "Bearer 0123456789abcdef"), ("x-request-id", "9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d"))


async def _echo(request: bytes, context: Any) -> bytes:
    return request


async def _feed(request: bytes, context: Any) -> AsyncIterator[bytes]:
    for _ in range(STREAM_MESSAGES):
        yield request


def _serve(pipe: Pipe) -> None:
    async def run() -> None:
        server = grpc.aio.server()
        handlers = {
            "Echo": grpc.unary_unary_rpc_method_handler(_echo),
            "Feed": grpc.unary_stream_rpc_method_handler(_feed),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Bench", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        pipe.send(port)
        await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        await server.stop(0)

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
    async with open_channel(f"127.0.0.1:{port}") as channel, Http2Upstream(f"127.0.0.1:{port}") as own:
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
