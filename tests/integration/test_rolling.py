"""A service is replaced while it is called; `make rolling` does it to a whole mesh."""

from __future__ import annotations

import asyncio
from pathlib import Path

from answermesh.rpc.channel import join_targets, open_channel
from answermesh.serve import layout
from answermesh.serve.supervisor import Supervisor
from answermesh.v1.agent_service_pb2 import GetCardRequest
from answermesh.v1.agent_service_pb2_grpc import AgentServiceStub


async def test_a_service_is_replaced_without_a_call_lost(tmp_path: Path) -> None:
    services = layout.services(tmp_path, "127.0.0.1:0", ("127.0.0.1:0",))
    entities = next(service for group in services for service in group if service.name == "entities")
    said: list[str] = []
    supervisor = Supervisor(tmp_path, tmp_path / "logs", {}, said.append)
    over = asyncio.Event()
    async with (
        open_channel(join_targets([entities.listen, entities.other])) as channel,
        asyncio.TaskGroup() as group,
    ):
        keeping = group.create_task(supervisor.keep(entities))
        await supervisor.address("entities")
        stub = AgentServiceStub(channel)
        await stub.GetCard(GetCardRequest(), timeout=10, wait_for_ready=True)

        async def calls() -> int:
            count = 0
            while not over.is_set():
                await stub.GetCard(GetCardRequest(), timeout=10)
                count += 1
                await asyncio.sleep(0)
            return count

        calling = group.create_task(calls())
        before = supervisor.pids["entities"]
        await supervisor.roll([[entities]])
        over.set()
        count = await calling
        keeping.cancel()

    assert count > 0
    assert supervisor.pids["entities"] != before
    assert said == ["entities is replaced."]
