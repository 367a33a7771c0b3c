"""What is left behind: `python -m bench.leaks [--queries 100000] [--cancels 60000]`; one line of JSON at the end.

An orchestrator in this process, with all that is around a handler (deadlines, validation, translation of errors),
before agents in processes of their own; queries of both durabilities, and streams that their readers leave in the
middle. Tasks, calls, descriptors, and what Postgres holds must come back to where they were, and memory must not grow
by the query. Exit code 1 where they do not.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import uvloop

from answermesh.config import Settings
from answermesh.orchestrator.service import mount
from answermesh.rpc.channel import open_channel
from answermesh.rpc.server import Server
from answermesh.store import EmbeddedPostgres
from answermesh.v1 import query_service_pb2 as pb
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from bench.fanout.workload import AGENTS
from bench.gateway.metrics import slope
from bench.gateway.parts import end
from bench.processes import Processes

IN_FLIGHT = 32
# Looks at memory over each sort of call; the first ones fill pools and caches.
LOOKS, WARM = 24, 8
# What an allocator breathes over tens of thousands of calls; fewer say nothing of memory.
WHOLE_BYTES = 64.0
# grpcio 1.85 keeps the native arrays of a batch that fails (github.com/grpc/grpc/issues/43360): 80 and 160 bytes of a
# stream whose reader leaves while it is written to, as memray counts them. Nothing of Python's is among it.
LEFT_BYTES = 320.0
SETTLE_S = 15.0
PLANS = {"fanout": {"join": False, "agents": {name: {} for name in AGENTS}}}


@dataclass(frozen=True, slots=True)
class Held:
    """What is held at a moment."""

    tasks: int
    calls: int
    descriptors: int
    backends: int
    locks: int


async def leaks(queries: int, cancels: int) -> dict[str, Any]:
    """Ask and hang up so often; what is left of it."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leaks-")))
        processes = await stack.enter_async_context(Processes())
        agents = {name: {"targets": [await processes.start("-m", "bench.fanout.agent", name)]} for name in AGENTS}
        postgres = await stack.enter_async_context(EmbeddedPostgres(folder / "data", folder / "run"))
        nowhere = f"unix:{folder}/nowhere"
        settings = Settings(
            database_url=postgres.dsn,
            targets={"knowledge": nowhere, "models": nowhere},
            agents=agents,
            plans=PLANS,
        )
        server = Server("127.0.0.1:0", drain_wait_s=0.0)
        await stack.enter_async_context(mount(server, settings))
        address = await server.start()
        stack.push_async_callback(server.drain, 1.0)
        watcher = await asyncpg.connect(postgres.dsn)
        stack.push_async_callback(watcher.close)
        callers = await stack.enter_async_context(_callers(address))

        async def grown(how: str, durability: str, count: int) -> float:
            return await _grown(lambda calls: callers.call(how, durability, calls), count)

        # Connections are made and agents found before the first look.
        await callers.call("whole", "durable", 200)
        await callers.call("whole", "ephemeral", 200)
        before = await _held(server, watcher)
        growth = {
            "ephemeral": await grown("whole", "ephemeral", queries * 7 // 10),
            "durable": await grown("whole", "durable", queries * 3 // 10),
            "left ephemeral": await grown("left", "ephemeral", cancels * 7 // 10),
            "left durable": await grown("left", "durable", cancels * 3 // 10),
        }
        after = await _settled(server, watcher, before)
    return {
        "queries": queries,
        "cancels": cancels,
        "bytes_per_call": {name: round(figure, 1) for name, figure in growth.items()},
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "before": asdict(before),
        "after": asdict(after),
    }


class Callers:
    """Readers in a process of their own, so that what they keep is not counted."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self, how: str, durability: str, count: int) -> None:
        """So many calls: whole ones, or left in the middle."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{how} {durability} {count}\n".encode())
        assert (await self._process.stdout.readline()).strip() == b"done", "the callers have failed"


@asynccontextmanager
async def _callers(address: str) -> AsyncIterator[Callers]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.leaks", "--call", address),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Callers(process)
    finally:
        await end(process)


async def calls(address: str) -> None:
    """What the callers' process does: the calls that its standard input names, line by line."""
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with open_channel(address) as channel:
        stub = QueryServiceStub(channel)
        while line := (await lines.readline()).decode().split():
            how, durability, count = line
            request = pb.AskRequest(
                question="1 part", plan="fanout", durability=f"DURABILITY_{durability.upper()}", batched=how == "whole"
            )
            await _many(stub, request, int(count), whole=how == "whole")
            print("done", flush=True)


async def _many(stub: QueryServiceStub, request: pb.AskRequest, count: int, *, whole: bool) -> None:
    """So many calls, IN_FLIGHT at once."""
    numbers = iter(range(count))

    async def user() -> None:
        for _ in numbers:
            call = stub.Ask(request, timeout=60)
            try:
                if whole:
                    async for _ in call:
                        pass
                else:
                    await call.read()
            except grpc.aio.AioRpcError as error:
                # Readers that leave faster than their queries are cancelled may find no room.
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                await asyncio.sleep(0.01)
            finally:
                call.cancel()

    async with asyncio.TaskGroup() as users:
        for _ in range(IN_FLIGHT):
            users.create_task(user())


async def _grown(call: Callable[[int], Awaitable[None]], count: int) -> float:
    """Bytes by which memory grows for each call, once it is warm."""
    points = []
    each = max(1, count // LOOKS)
    for look in range(LOOKS):
        await call(each)
        gc.collect()
        if look >= WARM:
            points.append((float(look * each), float(_resident_bytes())))
    return slope(points)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _held(server: Server, watcher: asyncpg.Connection[asyncpg.Record]) -> Held:
    backends = await watcher.fetchval("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
    locks = await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE pid <> pg_backend_pid()")
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a Path would be told to use a thread
    tasks = len(asyncio.all_tasks())
    return Held(tasks, server.call_count, descriptors, backends, locks)


async def _settled(server: Server, watcher: asyncpg.Connection[asyncpg.Record], before: Held) -> Held:
    """What is held once it is no more than before, or at the latest after some seconds."""
    give_up_s = time.monotonic() + SETTLE_S
    while True:
        held = await _held(server, watcher)
        if not excess(before, held) or time.monotonic() > give_up_s:
            return held
        await asyncio.sleep(0.2)


def excess(before: Held, after: Held) -> dict[str, int]:
    """By how much more is held than before. A pool may have opened the connections that it is allowed."""
    pool = 6
    allowed = {"descriptors": pool, "backends": pool}
    more = {name: value - getattr(before, name) for name, value in asdict(after).items()}
    return {name: value for name, value in more.items() if value > allowed.get(name, 0)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.leaks")
    parser.add_argument("--queries", type=int, default=100_000)
    parser.add_argument("--cancels", type=int, default=60_000)
    parser.add_argument("--call", metavar="ADDRESS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        uvloop.run(calls(options.call))
        return
    came = uvloop.run(leaks(options.queries, options.cancels))
    left = excess(Held(**came["before"]), Held(**came["after"]))
    growth: dict[str, float] = came["bytes_per_call"]
    steep = {
        name: figure for name, figure in growth.items() if figure > (LEFT_BYTES if "left" in name else WHOLE_BYTES)
    }
    print(json.dumps(came | {"left_behind": left, "grows": steep}))
    raise SystemExit(1 if left or steep else 0)


if __name__ == "__main__":
    main()
