"""Agents that do what a test tells them to, served over real gRPC, and a mesh of them around a real orchestrator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

import grpc

from answermesh.agents import Run
from answermesh.agents.serving.service import AgentService
from answermesh.config import Settings
from answermesh.orchestrator.service import mount
from answermesh.rpc.channel import open_channel
from answermesh.rpc.server import Server
from answermesh.v1 import agent_service_pb2 as pb
from answermesh.v1.agent_service_pb2_grpc import AgentServiceServicer, add_AgentServiceServicer_to_server
from answermesh.v1.finding_pb2 import Finding
from answermesh.v1.mesh_pb2 import Agent, AgentCard
from answermesh.v1.mesh_service_pb2 import WatchMeshRequest, WatchMeshResponse
from answermesh.v1.mesh_service_pb2_grpc import MeshServiceStub

# How runs reach agents that are served below: each on a stream of its own, or all on one.
WAYS = ("own streams", "shared stream")
_way = ContextVar("way", default=WAYS[0])

Script = Callable[[pb.RunRequest.Start, AsyncIterator[Finding]], AsyncIterator[pb.RunResponse]]


class ScriptedAgent(AgentServiceServicer):
    """An agent that follows a script, and remembers how often it was run and whether a run was cancelled."""

    def __init__(self, card: AgentCard, script: Script) -> None:
        self.card = card
        self.script = script
        self.starts: list[pb.RunRequest.Start] = []
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self._another = asyncio.Event()

    async def runs(self, count: int) -> None:
        """Wait until it was run that often."""
        while len(self.starts) < count:
            self._another.clear()
            await self._another.wait()

    async def GetCard(self, request: pb.GetCardRequest, context: object) -> pb.GetCardResponse:
        return pb.GetCardResponse(card=self.card)

    async def Run(
        self, request_iterator: AsyncIterator[pb.RunRequest], context: object
    ) -> AsyncIterator[pb.RunResponse]:
        requests = aiter(request_iterator)
        first = await anext(requests)
        self.starts.append(first.start)
        self.started.set()
        self._another.set()

        async def findings() -> AsyncIterator[Finding]:
            async for request in requests:
                for finding in request.findings:
                    yield finding

        try:
            async with aclosing(self.script(first.start, findings())) as responses:
                async for response in responses:
                    yield response
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


class WrappedScript:
    """The same agent as a Python object, for our wrapper to serve."""

    def __init__(self, agent: ScriptedAgent) -> None:
        self._agent = agent

    @property
    def card(self) -> AgentCard:
        return self._agent.card

    async def run(self, run: Run) -> None:
        agent = self._agent
        start = pb.RunRequest.Start(query=run.query, question=run.question, documents=run.documents)
        agent.starts.append(start)
        agent.started.set()
        try:
            async with aclosing(agent.script(start, run.findings)) as responses:
                async for response in responses:
                    for usage in response.usage:
                        run.ledger.record(usage)
                    await run.emit(*response.findings)
        except asyncio.CancelledError:
            agent.cancelled.set()
            raise


@contextmanager
def agents_reached_by(way: str) -> Iterator[None]:
    """Within, scripted agents are served so that runs reach them by that way."""
    token = _way.set(way)
    try:
        yield
    finally:
        _way.reset(token)


def found(*findings: Finding) -> pb.RunResponse:
    """A response that brings findings, numbered where they have no id."""
    for number, finding in enumerate(findings):
        finding.id = finding.id or f"{finding.WhichOneof('value')}-{number}"
    return pb.RunResponse(findings=findings)


@asynccontextmanager
async def scripted_mesh(
    dsn: str,
    agents: list[ScriptedAgent],
    plans: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] | None = None,
) -> AsyncIterator[grpc.aio.Channel]:
    """An orchestrator with these agents, all serving; yields a channel to it. Knowledge and models are not there.

    `more` holds tables of agents that are served elsewhere.
    """
    async with AsyncExitStack() as stack:
        tables: dict[str, Any] = dict(more or {})
        for agent in agents:
            tables[agent.card.agent] = {"targets": [await stack.enter_async_context(serving(agent))]}
        nowhere = "unix:/nonexistent/answermesh.sock"
        settings = Settings(
            database_url=dsn,
            targets={"knowledge": nowhere, "models": nowhere},
            agents=tables,
            plans=plans or {},
        )
        server = Server("127.0.0.1:0", drain_wait_s=0.0)
        await stack.enter_async_context(mount(server, settings))
        address = await server.start()
        stack.push_async_callback(server.drain, 1.0)
        channel = await stack.enter_async_context(open_channel(address))
        await all_serving(channel, {agent.card.agent for agent in agents})
        yield channel


@asynccontextmanager
async def serving(agent: ScriptedAgent, listen: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """Serve an agent; yields its address."""
    server = Server(listen, drain_wait_s=0.0)
    shared = _way.get() == WAYS[1]
    servicer = AgentService(WrappedScript(agent), server.draining) if shared else agent
    server.add(add_AgentServiceServicer_to_server, servicer)
    address = await server.start()
    try:
        yield address
    finally:
        await server.drain(0.0)


async def all_serving(channel: grpc.aio.Channel, wanted: set[str], timeout_s: float = 20.0) -> None:
    """Wait until the mesh holds these agents and they serve."""
    if not wanted:
        return
    call = MeshServiceStub(channel).WatchMesh(WatchMeshRequest(), timeout=timeout_s)
    there: set[str] = set()
    try:
        async for response in call:
            name = response.agent.name.removeprefix("agents/")
            there.discard(name)
            if response.change != WatchMeshResponse.CHANGE_REMOVED and response.agent.health == Agent.HEALTH_SERVING:
                there.add(name)
            if wanted <= there:
                return
    finally:
        call.cancel()
    raise AssertionError(f"the mesh ended its stream with {there}")
