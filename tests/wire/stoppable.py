"""A server in a process of its own, for tests that stop or kill it: `python -m tests.wire.stoppable ADDRESS`.

Prints the address bound. GetQuery answers with the process id as the query's name; Ask sends one event and then
nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

from answermesh.rpc.options import Keepalive
from answermesh.v1 import query_service_pb2
from tests.wire.servers import queries, serving

# Short, so that the tests do not wait for long.
KEEPALIVE = Keepalive(time_s=0.3, timeout_s=0.7)


async def get_query(request: Any, context: Any) -> Any:
    return query_service_pb2.GetQueryResponse(query={"name": str(os.getpid())})


async def ask(request: Any, context: Any) -> AsyncIterator[Any]:
    yield query_service_pb2.AskResponse()
    await asyncio.Event().wait()


async def main(listen: str) -> None:
    service = queries(GetQuery=get_query, Ask=ask)
    async with serving(service, listen=listen, keepalive=KEEPALIVE) as (_, address):
        print(address, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
