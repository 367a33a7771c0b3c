"""An agent and its replicas: each run goes to the one with the least to do, of those that are well."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.reaching.agent_run import AgentRun, Sink, Task
from answermesh.orchestrator.reaching.budget import Budget
from answermesh.orchestrator.reaching.first_words import FirstWords
from answermesh.orchestrator.reaching.replica import Replica
from answermesh.rpc import names
from answermesh.v1.mesh_pb2 import AgentCard

# How often names are looked up: a new replica gets runs after this. And how long one that has left its name may still
# work on its runs.
RESOLVE_S, RETIRE_S = 5.0, 60.0


@dataclass(frozen=True, slots=True)
class Begun:
    """A run, and where it runs."""

    run: AgentRun
    replica: Replica


class Link:
    """The replicas of one agent."""

    def __init__(
        self,
        agent: str,
        targets: Sequence[str],
        tasks: asyncio.TaskGroup,
        card: AgentCard | None = None,
        resolve: Callable[[str], Awaitable[Sequence[str]]] = names.addresses,
    ) -> None:
        self._agent = agent
        self._tasks = tasks
        self._card = card
        self._resolve = resolve
        self.replicas = [Replica(agent, target, tasks, card) for target in targets]
        self._watches: dict[Replica, list[asyncio.Task[None]]] = {}
        # While it is watched.
        self._group: asyncio.TaskGroup | None = None
        self._changed: Callable[[], None] = lambda: None
        self._loop = asyncio.get_running_loop()
        self.budget = Budget(self._loop.time())
        self.first_words = FirstWords()
        self._turn = 0

    def start(self, task: Task, sink: Sink, tasks: asyncio.TaskGroup, avoid: Collection[Replica] = ()) -> Begun:
        """Begin a run, if possible not at a replica of `avoid`. Whoever ends or cancels it says so to `over`.

        Raises Failure(SERVICE_UNAVAILABLE) where there is no replica.
        """
        replica = self._choose(avoid)
        run = replica.start(task, sink, tasks)
        replica.runs.add(run)
        replica.standing.begun()
        return Begun(run, replica)

    def over(self, begun: Begun, failure: Failure | None) -> None:
        """A run ended by itself, well or with a failure."""
        begun.replica.runs.discard(begun.run)
        begun.replica.standing.over(failure, self._loop.time())

    def cancelled(self, begun: Begun) -> None:
        """A run was cancelled."""
        begun.replica.runs.discard(begun.run)
        begun.replica.standing.cancelled()

    def has_other(self, avoid: Collection[Replica]) -> bool:
        """Whether a replica beside these is well."""
        now_s = self._loop.time()
        return any(replica not in avoid and _is_well(replica, now_s) for replica in self.replicas)

    async def ready(self) -> None:
        """Wait until a replica is connected and serves."""
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(replica.ready()) for replica in self.replicas]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    async def watch(self, changed: Callable[[], None]) -> None:
        """Keep what is known of all replicas true until cancelled, and follow names to where they lead."""
        async with asyncio.TaskGroup() as group:
            # Others may be added later.
            self._group, self._changed = group, changed
            for replica in list(self.replicas):
                self._watch(replica, group, changed)
                if names.is_name(replica.target):
                    group.create_task(self._follow(replica.target, group), name=f"names of {self._agent}")
            await asyncio.get_running_loop().create_future()

    def add(self, target: str) -> Replica:
        """One more replica."""
        replica = Replica(self._agent, target, self._tasks, self._card)
        self.replicas.append(replica)
        if self._group is not None:
            self._watch(replica, self._group, self._changed)
        return replica

    async def remove(self, replica: Replica) -> None:
        """A replica is gone; what it is doing is cut off."""
        if replica in self.replicas:
            self.replicas.remove(replica)
            for task in self._watches.pop(replica, ()):
                task.cancel()
            self._changed()
            await replica.close()

    async def close(self) -> None:
        """Cut off all runs."""
        for replica in self.replicas:
            await replica.close()

    def _watch(self, replica: Replica, group: asyncio.TaskGroup, changed: Callable[[], None]) -> None:
        where = f"{self._agent} at {replica.target}"
        self._watches[replica] = [
            group.create_task(replica.watch(changed), name=f"watch {where}"),
            group.create_task(replica.probe(self._alone(replica)), name=f"probe {where}"),
        ]

    async def _follow(self, name: str, group: asyncio.TaskGroup) -> None:
        """Have a replica for each address of a name."""
        there = {replica.target: replica for replica in self.replicas if replica.target == name}
        while True:
            wanted = await self._resolve(name)
            for target in set(wanted) - there.keys():
                there[target] = self.add(target)
            for target in there.keys() - set(wanted):
                group.create_task(self._retire(there.pop(target)))
            await asyncio.sleep(RESOLVE_S)

    async def _retire(self, replica: Replica) -> None:
        """Let a replica go that is still doing something: it gets no more."""
        replica.retired = True
        until_s = self._loop.time() + RETIRE_S
        # Nothing tells when its last run is over.
        while replica.runs and self._loop.time() < until_s:  # noqa: ASYNC110
            await asyncio.sleep(RESOLVE_S / 10)
        await self.remove(replica)

    def _alone(self, replica: Replica) -> Callable[[], bool]:
        return lambda: not self.has_other({replica})

    def _choose(self, avoid: Collection[Replica]) -> Replica:
        """The replica with the fewest runs among the best there are; those alike take turns."""
        if not self.replicas:
            raise Failure(Reason.SERVICE_UNAVAILABLE, f"Agent {self._agent!r} has no replica.")
        count = len(self.replicas)
        if count == 1:
            return self.replicas[0]
        self._turn += 1
        now_s = self._loop.time()
        order = [self.replicas[(self._turn + step) % count] for step in range(count)]
        return min(order, key=lambda r: (not _is_well(r, now_s), r in avoid, len(r.runs)))


def _is_well(replica: Replica, now_s: float) -> bool:
    return (
        replica.serving
        and not replica.retired
        and not replica.draining
        and not replica.hangs
        and replica.standing.may_run(now_s)
    )
