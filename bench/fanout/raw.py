"""The ceiling: raw grpc.aio on uvloop, a stream per agent and query, and no more than the workload needs.

python -m bench.fanout.raw STUBS agent NAME             prints its port once it serves
python -m bench.fanout.raw STUBS orchestrator PORT…     the same
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import uvloop

from bench.fanout.workload import TEXT

# Calls end with their deadline in every serious service, so these have one.
DEADLINE_S = 30.0


class Agent:
    """Waits, then tells its parts."""

    def __init__(self, name: str, messages: Any) -> None:
        self._name = name
        self._messages = messages

    async def Run(self, request: Any, context: Any) -> AsyncIterator[Any]:
        await asyncio.sleep(request.wait_ms / 1e3)
        for number in range(request.chunks):
            yield self._messages.Part(agent=self._name, number=number, text=TEXT)


class Orchestrator:
    """Asks all agents at once. One part each is joined into the answer; more are passed on as they come.

    What is queued goes to the client as one message, the better one of the two ways measured.
    """

    def __init__(self, stubs: list[Any], messages: Any) -> None:
        self._stubs = stubs
        self._messages = messages

    async def Ask(self, request: Any, context: Any) -> AsyncIterator[Any]:
        calls = [stub.Run(request, timeout=DEADLINE_S) for stub in self._stubs]
        if request.chunks == 1:
            parts = [part for parts in await asyncio.gather(*map(_collected, calls)) for part in parts]
            yield self._messages.Parts(parts=parts, total=len(parts))
            return
        queue: asyncio.Queue[Any] = asyncio.Queue()

        async def pump(call: Any) -> None:
            async for part in call:
                queue.put_nowait(part)
            queue.put_nowait(None)

        async with asyncio.TaskGroup() as pumps:
            for call in calls:
                pumps.create_task(pump(call))
            live, total = len(calls), 0
            while live:
                ready = [await queue.get()]
                while not queue.empty():
                    ready.append(queue.get_nowait())
                live -= ready.count(None)
                if parts := [part for part in ready if part is not None]:
                    total += len(parts)
                    yield self._messages.Parts(parts=parts)
        yield self._messages.Parts(total=total)


async def _collected(call: Any) -> list[Any]:
    return [part async for part in call]


async def main(stubs: str, role: str, *rest: str) -> None:
    """Serve until the process is ended."""
    sys.path.insert(0, stubs)
    import fanout_pb2
    import fanout_pb2_grpc as rpc

    server = grpc.aio.server()
    if role == "agent":
        rpc.add_RawAgentServicer_to_server(Agent(rest[0], fanout_pb2), server)
    else:
        channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}") for port in rest]
        servicer = Orchestrator([rpc.RawAgentStub(channel) for channel in channels], fanout_pb2)
        rpc.add_RawOrchestratorServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
