"""A service is replaced while it is called; `make rolling` does it to a whole mesh."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from answermesh.rpc.channel import join_targets, open_channel
from answermesh.serve import layout
from answermesh.serve.supervisor import Supervisor


@pytest.mark.parametrize("name", ["entities", "orchestrator"])
async def test_a_service_is_replaced_while_it_is_called(tmp_path: Path, dsn: str, name: str) -> None:
    services = layout.services(tmp_path, "127.0.0.1:0", ("127.0.0.1:0",))
    service = next(service for group in services for service in group if service.name == name)
    said: list[str] = []
    supervisor = Supervisor(tmp_path, tmp_path / "logs", {}, said.append)
    supervisor.know(layout.DATABASE, dsn)
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
        keeping = group.create_task(supervisor.keep(service))
        address = await supervisor.address(name)
        # A private service has two addresses that all who call it know; a public one keeps its own.
        target = join_targets([service.listen, service.other]) if service.other else address
        stub = HealthStub(await stack.enter_async_context(open_channel(target)))
        await stub.Check(HealthCheckRequest(), timeout=10, wait_for_ready=True)

        async def calls() -> Counter[grpc.StatusCode]:
            codes: Counter[grpc.StatusCode] = Counter()
            while not over.is_set():
                try:
                    await stub.Check(HealthCheckRequest(), timeout=10)
                except grpc.aio.AioRpcError as error:
                    codes[error.code()] += 1
                else:
                    codes[grpc.StatusCode.OK] += 1
                await asyncio.sleep(0)
            return codes

        calling = group.create_task(calls())
        before = supervisor.pids[name]
        await supervisor.roll([[service]])
        over.set()
        codes = await calling
        keeping.cancel()

    assert codes.pop(grpc.StatusCode.OK) > 0
    # The one call that comes as a port changes hands may be cut off.
    assert codes.total() <= (0 if service.other else 1), codes
    assert supervisor.pids[name] != before
    assert said == [f"{name} is replaced."]
