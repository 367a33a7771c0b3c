"""MeshService: the agents and the health of the mesh, and how an agent joins it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc

from answermesh.errors import Failure, Reason, invalid_field
from answermesh.orchestrator.health import Checkup
from answermesh.orchestrator.reaching.registry import Registry
from answermesh.rpc.pages import decode_token, encode_token, page_size
from answermesh.rpc.validate import check_name
from answermesh.v1 import mesh_service_pb2 as pb
from answermesh.v1.mesh_pb2 import Agent
from answermesh.v1.mesh_service_pb2_grpc import MeshServiceServicer

# An agent whose beat does not come for this long has left; agents beat three times as often.
LEASE_S = 10


class MeshService(MeshServiceServicer):
    """The servicer."""

    def __init__(self, registry: Registry, checkup: Checkup) -> None:
        self._registry = registry
        self._checkup = checkup

    async def ListAgents(
        self,
        request: pb.ListAgentsRequest,
        context: grpc.aio.ServicerContext[pb.ListAgentsRequest, pb.ListAgentsResponse],
    ) -> pb.ListAgentsResponse:
        size = page_size(request.page_size)
        position = decode_token("ListAgents", request.page_token)
        after = f"agents/{position[0]}" if position else ""
        agents = [agent for agent in self._registry.agents() if agent.name > after]
        more = agents[size - 1].name.removeprefix("agents/") if len(agents) > size else ""
        token = encode_token("ListAgents", [more]) if more else ""
        return pb.ListAgentsResponse(agents=agents[:size], next_page_token=token)

    async def GetAgent(
        self, request: pb.GetAgentRequest, context: grpc.aio.ServicerContext[pb.GetAgentRequest, pb.GetAgentResponse]
    ) -> pb.GetAgentResponse:
        return pb.GetAgentResponse(agent=self._registry.agent(check_name("name", request.name, "agents/*")))

    async def RegisterAgent(
        self,
        request_iterator: AsyncIterator[pb.RegisterAgentRequest],
        context: grpc.aio.ServicerContext[pb.RegisterAgentRequest, pb.RegisterAgentResponse],
    ) -> AsyncIterator[pb.RegisterAgentResponse]:
        beats = aiter(request_iterator)
        first = await _beat(beats)
        if first is None:
            return
        if not first.target:
            raise invalid_field("target", "is empty; the first message says where the mesh reaches the agent.")
        if not first.HasField("card"):
            raise invalid_field("card", "is missing; the first message brings the agent's card.")
        joined = await self._registry.join(first.target, first.card)
        try:
            beat: pb.RegisterAgentRequest | None = first
            while beat is not None:
                response = pb.RegisterAgentResponse(name=f"agents/{joined.agent}")
                response.lease_duration.FromSeconds(LEASE_S)
                yield response
                beat = await _beat(beats)
        finally:
            await self._registry.leave(joined)

    async def GetHealth(
        self, request: pb.GetHealthRequest, context: grpc.aio.ServicerContext[pb.GetHealthRequest, pb.GetHealthResponse]
    ) -> pb.GetHealthResponse:
        return pb.GetHealthResponse(health=await self._checkup.health())

    async def WatchMesh(
        self, request: pb.WatchMeshRequest, context: grpc.aio.ServicerContext[pb.WatchMeshRequest, pb.WatchMeshResponse]
    ) -> AsyncIterator[pb.WatchMeshResponse]:
        seen: dict[str, Agent] = {}
        async with aclosing(self._registry.changes()) as snapshots:
            async for agents in snapshots:
                for response in changes(seen, agents):
                    yield response
                seen = agents


def changes(before: dict[str, Agent], now: dict[str, Agent]) -> list[pb.WatchMeshResponse]:
    """What a watcher is told who knew the agents as they were before. Counts of runs alone are no change."""
    told = []
    for name, agent in now.items():
        if name not in before:
            told.append(pb.WatchMeshResponse(change=pb.WatchMeshResponse.CHANGE_PRESENT, agent=agent))
        elif _essence(agent) != _essence(before[name]):
            told.append(pb.WatchMeshResponse(change=pb.WatchMeshResponse.CHANGE_UPDATED, agent=agent))
    told.extend(
        pb.WatchMeshResponse(change=pb.WatchMeshResponse.CHANGE_REMOVED, agent=agent)
        for name, agent in before.items()
        if name not in now
    )
    return told


def _essence(agent: Agent) -> tuple[object, ...]:
    return agent.card.SerializeToString(), tuple(agent.targets), agent.health, agent.health_message


async def _beat(beats: AsyncIterator[pb.RegisterAgentRequest]) -> pb.RegisterAgentRequest | None:
    """The next beat; None after the last. Raises Failure(DEADLINE_EXCEEDED) if none comes within the lease."""
    try:
        async with asyncio.timeout(LEASE_S):
            return await anext(beats, None)
    except TimeoutError:
        message = f"No beat came for {LEASE_S} s; the agent has left the mesh. Register again."
        raise Failure(Reason.DEADLINE_EXCEEDED, message) from None
