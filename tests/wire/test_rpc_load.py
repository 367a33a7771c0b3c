"""Many calls at once, and many one after the other: none fails, none leaves memory behind."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from answermesh.rpc.channel import open_channel
from answermesh.v1 import query_service_pb2
from answermesh.v1.query_service_pb2_grpc import QueryServiceStub
from tests.wire.servers import queries, serving

ASK = query_service_pb2.AskRequest(question="What is a lease?")


async def test_a_burst_of_streams_beyond_grpcs_own_limit_of_pending_calls_is_served() -> None:
    async def ask(request: Any, context: Any) -> AsyncIterator[Any]:
        yield query_service_pb2.AskResponse()

    async def one(stub: Any) -> int:
        return len([response async for response in stub.Ask(ASK, timeout=50)])

    async with AsyncExitStack() as stack:
        _, address = await stack.enter_async_context(serving(queries(Ask=ask)))
        channels = [await stack.enter_async_context(open_channel(address)) for _ in range(4)]
        stubs = [QueryServiceStub(channel) for channel in channels]
        # gRPC drops calls from 1000 pending ones on.
        answers = await asyncio.gather(*(one(stub) for stub in stubs for _ in range(900)))
    assert sum(answers) == 3600


async def test_streams_that_are_hung_up_leave_no_memory_behind() -> None:
    async def ask(request: Any, context: Any) -> AsyncIterator[Any]:
        yield query_service_pb2.AskResponse()
        await asyncio.Event().wait()

    async def hang_up(stub: Any, times: int) -> None:
        for _ in range(times):
            call = stub.Ask(ASK)
            try:
                await call.read()
            finally:
                call.cancel()

    async with serving(queries(Ask=ask)) as (_, address), open_channel(address) as channel:
        stub = QueryServiceStub(channel)

        async def storm(streams: int) -> tuple[int, int]:
            await asyncio.gather(*(hang_up(stub, streams // 20) for _ in range(20)))
            # A last call comes after all that was cancelled.
            await hang_up(stub, 1)
            gc.collect()
            return len(gc.get_objects()), resident_bytes()

        await storm(1000)
        objects, resident = await storm(1000)
        objects_after, resident_after = await storm(3000)
    assert objects_after - objects < 500
    # Less than 1 KiB for each; a call object that stays is several.
    assert resident_after - resident < 3000 * 1024


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
