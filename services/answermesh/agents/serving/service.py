"""AgentService over any agent: the few lines by which a Python object becomes a part of the mesh."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from answermesh.agents import Agent
from answermesh.agents.serving import own_stream
from answermesh.agents.serving.registration import keep_registered
from answermesh.agents.serving.shared_stream import SharedStream
from answermesh.config import Settings
from answermesh.rpc.server import Server
from answermesh.v1 import agent_service_pb2_grpc
from answermesh.v1.agent_service_pb2 import GetCardRequest, GetCardResponse, RunManyRequest, RunRequest
from answermesh.v1.mesh_pb2 import AgentCard


class AgentService(agent_service_pb2_grpc.AgentServiceServicer):
    """Serves one agent, over a stream for each run or for many."""

    def __init__(self, agent: Agent, draining: asyncio.Event) -> None:
        """`draining` is set when the server is about to stop."""
        self._agent = agent
        self._card = card_of(agent)
        self._draining = draining

    async def GetCard(self, request: GetCardRequest, context: Any) -> GetCardResponse:
        return GetCardResponse(card=self._card)

    async def Run(self, requests: AsyncIterator[RunRequest], context: Any) -> None:  # type: ignore[override]  # writes
        await own_stream.serve(self._agent, requests, context)

    async def RunMany(self, requests: AsyncIterator[RunManyRequest], context: Any) -> None:  # type: ignore[override]
        await SharedStream(self._agent, self._draining).serve(requests, context)


def card_of(agent: Agent) -> AgentCard:
    """The agent's card, with what this wrapper offers for it."""
    card = AgentCard()
    card.CopyFrom(agent.card)
    card.multiplexed = True
    return card


@asynccontextmanager
async def mount_agent(server: Server, settings: Settings, agent: str | Agent) -> AsyncIterator[None]:
    """Add an agent to a server before it starts: one of ours by its name, or any object that is an agent.

    Raises Failure(NOT_FOUND) for a name that is none of ours, Failure(INVALID_FIELD) for a target that is not
    configured.
    """
    adder = agent_service_pb2_grpc.add_AgentServiceServicer_to_server
    if not isinstance(agent, str):
        server.add(adder, AgentService(agent, server.draining))
        yield
        return
    # Ours bring models and parsers with them, which an agent of a user's own does without.
    from answermesh.agents.ours import open_agent

    async with AsyncExitStack() as stack:
        server.add(adder, AgentService(await stack.enter_async_context(open_agent(agent, settings)), server.draining))
        if agent == "factcheck":
            # Where sentences are checked, claims are too.
            from answermesh.agents.claim_service import mount_claims

            await stack.enter_async_context(mount_claims(server, settings))
        yield


async def serve_agent(
    agent: Agent, *, listen: str = "127.0.0.1:0", mesh_address: str, advertise: str | None = None
) -> None:
    """Serve an agent and keep it registered at a mesh until SIGINT or SIGTERM, or until cancelled.

    `mesh_address` is the mesh's gRPC address, or those of all its orchestrators with commas between; `advertise` is the
    target at which the mesh reaches the agent, the bound address if it is not given. Raises Failure where the mesh
    refuses the card.
    """
    server = Server(listen)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        async with mount_agent(server, Settings(), agent):
            bound = await server.start()
            try:
                async with asyncio.TaskGroup() as group:
                    registered = [
                        group.create_task(keep_registered(address.strip(), advertise or bound, card_of(agent)))
                        for address in mesh_address.split(",")
                    ]
                    await stopped.wait()
                    for task in registered:
                        task.cancel()
            finally:
                await server.drain()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
