"""An agent and its replicas: each run goes to the one that has the least to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.agent_run import AgentRun, Sink, Task
from answermesh.orchestrator.replica import Replica
from answermesh.v1.mesh_pb2 import AgentCard


@dataclass(frozen=True, slots=True)
class Begun:
    """A run, and where it runs."""

    run: AgentRun
    replica: Replica


class Link:
    """The replicas of one agent."""

    def __init__(
        self, agent: str, targets: Sequence[str], tasks: asyncio.TaskGroup, card: AgentCard | None = None
    ) -> None:
        self._agent = agent
        self.replicas = [Replica(agent, target, tasks, card) for target in targets]
        self._turn = 0

    def start(self, task: Task, sink: Sink, tasks: asyncio.TaskGroup, avoid: Collection[Replica] = ()) -> Begun:
        """Begin a run, if possible not at a replica of `avoid`. Whoever ends it calls `over`.

        Raises Failure(SERVICE_UNAVAILABLE) where there is no replica.
        """
        replica = self._choose(avoid)
        run = replica.start(task, sink, tasks)
        replica.outstanding += 1
        return Begun(run, replica)

    def over(self, begun: Begun) -> None:
        """A run is over."""
        begun.replica.outstanding -= 1

    async def ready(self) -> None:
        """Wait until a replica is connected and serves."""
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(replica.ready()) for replica in self.replicas]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    async def watch(self, changed: Callable[[], None]) -> None:
        """Keep what is known of all replicas true until cancelled."""
        async with asyncio.TaskGroup() as group:
            for replica in self.replicas:
                group.create_task(replica.watch(changed), name=f"watch {self._agent} at {replica.target}")

    async def close(self) -> None:
        """Cut off all runs."""
        for replica in self.replicas:
            await replica.close()

    def _choose(self, avoid: Collection[Replica]) -> Replica:
        """The replica with the fewest runs among the best there are; those alike take turns."""
        if not self.replicas:
            raise Failure(Reason.SERVICE_UNAVAILABLE, f"Agent {self._agent!r} has no replica.")
        if len(self.replicas) == 1:
            return self.replicas[0]
        self._turn += 1
        count = len(self.replicas)
        order = [self.replicas[(self._turn + step) % count] for step in range(count)]
        return min(order, key=lambda r: (not r.serving or r.draining, r in avoid, r.outstanding))
