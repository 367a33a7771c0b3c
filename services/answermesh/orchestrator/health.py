"""How the whole mesh stands: each part asked at once, each with a short limit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib.metadata import version

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from answermesh.errors import Failure
from answermesh.orchestrator.answering.plan import DEFAULT, Plan
from answermesh.orchestrator.reaching.registry import Registry
from answermesh.rpc.status import failure_from
from answermesh.store import Store, statements
from answermesh.v1.mesh_pb2 import Agent, Health

SQL = statements("answermesh.orchestrator.records", "queries")

# A part that takes longer than this to say how it is does not serve.
PATIENCE_S = 2.0


class Checkup:
    """Asks all parts of the mesh how they are."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        services: Mapping[str, grpc.aio.Channel],
        plans: Mapping[str, Plan],
        tenant: str,
    ) -> None:
        self._store = store
        self._registry = registry
        self._services = services
        self._plan = plans.get(DEFAULT.name, DEFAULT)
        self._tenant = tenant

    async def health(self) -> Health:
        """The state of the mesh: DOWN where a required part is, DEGRADED where an optional one is."""
        asked = [self._database(), *(self._service(name) for name in self._services)]
        components = [*await asyncio.gather(*asked), *self._agents()]
        status = max(component.status for component in components)
        return Health(status=status, components=components, version=version("answermesh"))

    async def _database(self) -> Health.Component:
        try:
            async with asyncio.timeout(PATIENCE_S), self._store.transaction(self._tenant) as tx:
                await tx.fetchval(SQL.ping)
        except (Failure, TimeoutError) as error:
            what = error.message if isinstance(error, Failure) else f"does not answer within {PATIENCE_S:g} s"
            message = f"{what} Check that Postgres runs and that its disk is not full."
            return Health.Component(component="database", status=Health.STATUS_DOWN, message=message)
        return Health.Component(component="database", status=Health.STATUS_OK)

    async def _service(self, name: str) -> Health.Component:
        try:
            stub = health_pb2_grpc.HealthStub(self._services[name])
            response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
        except grpc.aio.AioRpcError as error:
            message = f"{failure_from(error).message} Start it, or look at its log."
            return Health.Component(component=name, status=Health.STATUS_DOWN, message=message)
        if response.status != health_pb2.HealthCheckResponse.SERVING:
            message = "It is starting or stopping; wait, or look at its log."
            return Health.Component(component=name, status=Health.STATUS_DOWN, message=message)
        return Health.Component(component=name, status=Health.STATUS_OK)

    def _agents(self) -> list[Health.Component]:
        required = {step.agent for step in self._plan.steps if step.required}
        present = {agent.name.removeprefix("agents/"): agent for agent in self._registry.agents()}
        components = []
        for name in sorted(present.keys() | required):
            agent = present.get(name)
            if agent is not None and agent.health == Agent.HEALTH_SERVING:
                status, message = Health.STATUS_OK, ""
            else:
                status = Health.STATUS_DOWN if name in required else Health.STATUS_DEGRADED
                message = agent.health_message if agent else "is not part of the mesh; configure it, or let it register"
            components.append(Health.Component(component=f"agents/{name}", status=status, message=message))
        return components
