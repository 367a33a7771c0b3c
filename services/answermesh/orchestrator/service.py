"""The orchestrator as a service: its own RPCs, and those of knowledge and of the check behind the same address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from answermesh.config import AGENTS, Settings
from answermesh.errors import invalid_field
from answermesh.orchestrator.answering import plan
from answermesh.orchestrator.desk import Desk
from answermesh.orchestrator.feedback_service import FeedbackService
from answermesh.orchestrator.health import Checkup
from answermesh.orchestrator.mesh_service import MeshService
from answermesh.orchestrator.query_service import QueryService
from answermesh.orchestrator.reaching.registry import Registry
from answermesh.orchestrator.records.journal import Journal
from answermesh.orchestrator.records.leases import Leases
from answermesh.orchestrator.records.queries import Queries
from answermesh.orchestrator.records.sessions import Sessions
from answermesh.orchestrator.records.signals import Signal, Signals
from answermesh.orchestrator.records.watching import Watching
from answermesh.orchestrator.routing import Routes
from answermesh.orchestrator.usage_service import UsageService
from answermesh.rpc.channel import open_channel, split_targets
from answermesh.rpc.server import Server
from answermesh.store import Store
from answermesh.v1.feedback_service_pb2_grpc import add_FeedbackServiceServicer_to_server
from answermesh.v1.mesh_service_pb2_grpc import add_MeshServiceServicer_to_server
from answermesh.v1.query_service_pb2_grpc import add_QueryServiceServicer_to_server
from answermesh.v1.usage_service_pb2_grpc import add_UsageServiceServicer_to_server

# Reads by watchers and lists, and one connection for the journal's writer.
POOL_SIZE = 6
# An orchestrator that is stopped in a transaction must not keep its queries locked for longer than its lease lasts.
IDLE_IN_TRANSACTION_S = 1.5


@asynccontextmanager
async def mount(server: Server, settings: Settings) -> AsyncIterator[None]:
    """Add the orchestrator's services to a server, and run its desk and journal until the block is left.

    Raises Failure(INVALID_FIELD) for plans or targets that are wrong, DATABASE_UNAVAILABLE where Postgres is not there.
    """
    plans = plan.load(settings.plans)
    routes = Routes(settings.routes, plans)
    async with AsyncExitStack() as stack:
        knowledge = await stack.enter_async_context(open_channel(settings.target("knowledge")))
        models = await stack.enter_async_context(open_channel(settings.target("models")))
        store = await stack.enter_async_context(
            Store.open(settings.database_url, pool_size=POOL_SIZE, idle_in_transaction_s=IDLE_IN_TRANSACTION_S)
        )
        registry = await stack.enter_async_context(Registry(configured_agents(settings), plans))
        # On a connection of its own: what keeps the lease must not wait behind readers.
        leases = Leases(
            await stack.enter_async_context(
                Store.open(settings.database_url, pool_size=1, idle_in_transaction_s=IDLE_IN_TRANSACTION_S)
            )
        )
        # Before the first query can be accepted, or another process could take it at once.
        await leases.renew(settings.tenant, {})
        queries = Queries(store)
        journal = Journal(store)
        signals = Signals(store)
        watching = Watching(store, journal, signals, settings.tenant)
        desk = Desk(leases, queries, journal, watching, registry, registry, settings.tenant)
        signals.on(Signal.QUERIES, lambda _: desk.look())
        signals.on(Signal.TAKEN, desk.doubt)
        checkup = Checkup(store, registry, {"knowledge": knowledge, "models": models}, plans, settings.tenant)
        server.add(
            add_QueryServiceServicer_to_server, QueryService(queries, watching, desk, registry, routes, Sessions(store))
        )
        server.add(add_MeshServiceServicer_to_server, MeshService(registry, checkup))
        server.add(add_FeedbackServiceServicer_to_server, FeedbackService(store, queries))
        server.add(add_UsageServiceServicer_to_server, UsageService(store))
        server.forward("answermesh.v1.DocumentService", knowledge)
        server.forward("answermesh.v1.GraphService", knowledge)
        if "factcheck" in settings.targets:
            checker = await stack.enter_async_context(open_channel(settings.target("factcheck")))
            server.forward("answermesh.v1.ClaimService", checker)
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(journal.run(), name="journal")
            working = tasks.create_task(desk.run(), name="desk")
            listening = tasks.create_task(signals.run(), name="signals")
            draining = tasks.create_task(_drain(server, desk), name="drain")
            try:
                yield
            finally:
                listening.cancel()
                draining.cancel()
                # The desk ends its queries first, which the journal must still write.
                working.cancel()
                await asyncio.wait([working])
                writing.cancel()


async def _drain(server: Server, desk: Desk) -> None:
    await server.draining.wait()
    server.drained.clear()
    try:
        # Until then, clients that do not know yet still call.
        await asyncio.sleep(server.drain_wait_s)
        await desk.drain()
    finally:
        server.drained.set()


def configured_agents(settings: Settings) -> dict[str, list[str]]:
    """Targets by agent: ours from [targets], others from [agents.NAME].

    Raises Failure(INVALID_FIELD) for a table without targets.
    """
    agents = {name: split_targets(settings.targets[name]) for name in AGENTS if name in settings.targets}
    for name, table in settings.agents.items():
        agents[name] = _targets(f"agents.{name}.targets", table)
    return agents


def _targets(path: str, table: Mapping[str, object]) -> list[str]:
    targets = table.get("targets")
    if not isinstance(targets, list) or not targets or not all(isinstance(target, str) for target in targets):
        raise invalid_field(path, 'must be a list of gRPC targets, such as ["dns:///glossary:50051"].')
    return list(targets)
