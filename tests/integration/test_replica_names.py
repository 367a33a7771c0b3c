"""Where replicas come from: names that lead to several servers, and agents that register more than once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from answermesh.orchestrator.reaching import link as link_module
from answermesh.orchestrator.reaching.link import Link
from answermesh.rpc import names
from answermesh.v1.agent_service_pb2 import RunRequest, RunResponse
from answermesh.v1.finding_pb2 import Finding, Note
from answermesh.v1.mesh_pb2 import AgentCard
from answermesh.v1.mesh_service_pb2 import ListAgentsRequest, RegisterAgentRequest
from answermesh.v1.mesh_service_pb2_grpc import MeshServiceStub
from tests.integration.test_orchestrator import agents, ask
from tests.scripted_agents import ScriptedAgent, all_serving, found, scripted_mesh, serving

CARD = AgentCard(agent="glossary", produces=[Finding.KIND_NOTE], idempotent=True)


async def noting(start: RunRequest.Start, inputs: AsyncIterator[Finding]) -> AsyncIterator[RunResponse]:
    await asyncio.sleep(0)
    yield found(Finding(note=Note(label="glossary", text="Raft: a protocol")))


async def until(there: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        # What is waited for is another's state.
        while not there():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("dns:///agent:50051", True),
        ("agent.mesh.svc:50051", True),
        ("localhost:1", True),
        ("127.0.0.1:1", False),
        ("[::1]:1", False),
        ("ipv4:127.0.0.1:1", False),
        ("unix:/run/agent.sock", False),
    ],
)
def test_a_name_is_told_from_an_address(target: str, named: bool) -> None:
    assert names.is_name(target) == named


@pytest.mark.parametrize(
    "target", ["dns:///localhost:50051", "localhost:50051", "nowhere.invalid:1", "dns:///nowhere.invalid:1"]
)
async def test_a_name_of_one_server_or_of_none_stays_whole(target: str) -> None:
    assert await names.addresses(target) == [target]


async def test_replicas_follow_their_name_as_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "RESOLVE_S", 0.02)
    leads_to: list[str] = ["agent.example:1"]

    async def resolve(name: str) -> list[str]:
        assert name == "agent.example:1"
        return leads_to

    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(serving(ScriptedAgent(CARD, noting))) for _ in range(2)]
        async with asyncio.TaskGroup() as tasks:
            link = Link("glossary", ["agent.example:1"], tasks, None, resolve)
            watching = tasks.create_task(link.watch(lambda: None))

            def serving_at() -> set[str]:
                return {replica.target for replica in link.replicas if replica.serving}

            leads_to = [first, second]
            await until(lambda: serving_at() == {first, second} and len(link.replicas) == 2)
            leads_to = [second]
            await until(lambda: [replica.target for replica in link.replicas] == [second])
            await link.close()
            watching.cancel()


async def test_an_agent_that_registers_from_two_places_has_two_replicas(dsn: str) -> None:
    glossaries = [ScriptedAgent(CARD, noting) for _ in range(2)]
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(scripted_mesh(dsn, [*agents().values()]))
        mesh = MeshServiceStub(channel)
        leases = []
        targets = []
        for glossary in glossaries:
            targets.append(await stack.enter_async_context(serving(glossary)))
            lease = mesh.RegisterAgent()
            await lease.write(RegisterAgentRequest(target=targets[-1], card=CARD))
            assert (await lease.read()).name == "agents/glossary"
            leases.append(lease)
        await all_serving(channel, {"glossary"})
        async with asyncio.timeout(20):
            while not all(glossary.starts for glossary in glossaries):
                await ask(channel)
        both = await mesh.ListAgents(ListAgentsRequest(page_size=100), timeout=10)
        leases[0].cancel()

        async def places() -> list[str]:
            listed = await mesh.ListAgents(ListAgentsRequest(page_size=100), timeout=10)
            return [target for agent in listed.agents if agent.name == "agents/glossary" for target in agent.targets]

        async def places_are(wanted: list[str]) -> None:
            async with asyncio.timeout(20):
                while await places() != wanted:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

        await places_are(targets[1:])
        events = await ask(channel)
        leases[1].cancel()
        await places_are([])

    assert {agent.name: list(agent.targets) for agent in both.agents}["agents/glossary"] == targets
    assert [event.finding.note.text for event in events if event.finding.HasField("note")] == ["Raft: a protocol"]
