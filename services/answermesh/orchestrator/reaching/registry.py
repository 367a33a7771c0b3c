"""The registry: the agents of the mesh, how each is reached, and how each is doing.

A configured agent is watched from the start: its card is fetched when it answers, and again when it comes back. A
registered one brings its card, and is gone when its lease is. Health is pushed by the agents' health service; nothing
polls.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from answermesh.errors import Failure, Reason, not_found
from answermesh.orchestrator.answering.plan import Plan, Wiring, wire
from answermesh.orchestrator.reaching.cards import check_card
from answermesh.orchestrator.reaching.link import Link
from answermesh.orchestrator.reaching.replica import Replica
from answermesh.rpc.deadline import no_deadline
from answermesh.v1.mesh_pb2 import Agent, AgentCard

log = logging.getLogger(__name__)

# Runs that latency percentiles are taken over.
RECENT_RUNS = 200


@dataclass(slots=True)
class Entry:
    """An agent that the mesh knows."""

    agent: str
    targets: tuple[str, ...]
    link: Link
    source: Agent.Source.ValueType
    card: AgentCard | None = None
    health: Agent.Health.ValueType = Agent.HEALTH_UNSPECIFIED
    message: str = "has not answered yet"
    run_count: int = 0
    failure_count: int = 0
    durations_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_RUNS))
    watch: asyncio.Task[None] | None = None
    changed: Agent = field(default_factory=Agent)

    def to_proto(self) -> Agent:
        """The agent as the API shows it."""
        agent = Agent(
            name=f"agents/{self.agent}",
            card=self.card,
            targets=self.targets,
            source=self.source,
            health=self.health,
            health_message=self.message,
            run_count=self.run_count,
            failure_count=self.failure_count,
            update_time=self.changed.update_time,
            replicas=[replica.to_proto() for replica in self.link.replicas],
        )
        if self.durations_s:
            ordered = sorted(self.durations_s)
            agent.latency_p50.FromTimedelta(timedelta(seconds=ordered[len(ordered) // 2]))
            agent.latency_p95.FromTimedelta(timedelta(seconds=ordered[int(len(ordered) * 0.95)]))
        return agent


class Registry:
    """The agents of the mesh. Used within `async with`: leaving it ends all watching and closes all channels."""

    def __init__(self, configured: Mapping[str, Sequence[str]], plans: Mapping[str, Plan]) -> None:
        self._configured = configured
        self._plans = plans
        self._entries: dict[str, Entry] = {}
        self._changed = asyncio.Event()
        # By plan, until something changes.
        self._wirings: dict[str, Wiring] = {}
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Registry:
        await self._tasks.__aenter__()
        for agent, targets in self._configured.items():
            self._add(agent, tuple(targets), Agent.SOURCE_CONFIGURED, None)
        return self

    async def __aexit__(self, *exc: object) -> None:
        entries = list(self._entries.values())
        for entry in entries:
            if entry.watch is not None:
                entry.watch.cancel()
        for entry in entries:
            await entry.link.close()
        await self._tasks.__aexit__(None, None, None)

    # What the desk and its runs ask for.

    def wiring(self, plan: str) -> Wiring:
        """The plan of that name with the agents as they are now; registered agents that do not fit it stay out.

        Raises Failure(NOT_FOUND) for an unknown plan, INVALID_PLAN for one that cannot work.
        """
        plan = plan or "default"
        if (known := self._wirings.get(plan)) is not None:
            return known
        chosen = self._plans.get(plan)
        if chosen is None:
            names = ", ".join(sorted(self._plans))
            raise Failure(Reason.NOT_FOUND, f"plan: {plan!r} does not exist; plans are {names}.")
        cards = {name: entry.card for name, entry in self._entries.items() if entry.card is not None}
        joining: list[str] = []
        for name in sorted(self._entries) if chosen.join else []:
            if self._entries[name].source == Agent.SOURCE_REGISTERED:
                try:
                    wire(chosen, cards, [*joining, name])
                except Failure as failure:
                    log.warning("agent %s does not join plan %s: %s", name, chosen.name, failure.message)
                else:
                    joining.append(name)
        self._wirings[plan] = wire(chosen, cards, joining)
        return self._wirings[plan]

    async def settled(self, agents: Iterable[str] = ()) -> None:
        """Wait until the cards of all configured agents, and of those named, are known."""
        wanted = {*self._configured, *agents}
        while any(name not in self._entries or self._entries[name].card is None for name in wanted):
            await self._changed.wait()

    def link(self, agent: str) -> Link:
        """The replicas of an agent. Raises Failure(SERVICE_UNAVAILABLE) if it has left."""
        if entry := self._entries.get(agent):
            return entry.link
        raise Failure(Reason.SERVICE_UNAVAILABLE, f"Agent {agent!r} has left the mesh.")

    def record(self, agent: str, duration_s: float, failure: Failure | None) -> None:
        """Take note of how a run of the agent went; a run that was cancelled says nothing of the agent."""
        if (entry := self._entries.get(agent)) is None or (failure and failure.reason is Reason.CANCELLED):
            return
        entry.run_count += 1
        entry.durations_s.append(duration_s)
        if failure is not None:
            entry.failure_count += 1

    # What the API shows.

    def agents(self) -> list[Agent]:
        """All agents, ordered by name."""
        return [self._entries[name].to_proto() for name in sorted(self._entries)]

    def agent(self, name: str) -> Agent:
        """An agent. Raises Failure(NOT_FOUND)."""
        if name not in self._entries:
            raise not_found(f"agents/{name}")
        return self._entries[name].to_proto()

    async def changes(self) -> AsyncGenerator[dict[str, Agent], None]:
        """All agents now, and again after each change of one's health, card or targets, or its coming or leaving."""
        while True:
            changed = self._changed
            yield {agent.name: agent for agent in self.agents()}
            await changed.wait()

    # Joining and leaving.

    async def join(self, target: str, card: AgentCard) -> Replica:
        """Add an agent that registers itself, or one more replica of it; to be given to `leave`.

        Raises Failure(INVALID_CARD) for a malformed card, INVALID_PLAN where no plan could use it beside the agents
        that are there, WRONG_STATE where another agent has the name.
        """
        check_card(card)
        if (present := self._entries.get(card.agent)) is not None:
            if present.source == Agent.SOURCE_CONFIGURED or not _alike(present.card, card):
                there = ", ".join(present.targets)
                message = (
                    f"Agent {card.agent!r} is part of the mesh at {there}; choose another name, or let it leave first."
                )
                raise Failure(Reason.WRONG_STATE, message)
            for replica in [one for one in present.link.replicas if one.target == target]:
                await self.leave(replica)
        self._check_fits(card)
        if (present := self._entries.get(card.agent)) is None:
            present = self._add(card.agent, (target,), Agent.SOURCE_REGISTERED, card)
            joined = present.link.replicas[0]
        else:
            with no_deadline():
                joined = present.link.add(target)
            self._look(present)
        log.info("agent %s joined at %s", card.agent, target)
        return joined

    async def leave(self, replica: Replica) -> None:
        """Remove a replica that had joined, and with the last one the agent; what it is doing is cut off."""
        entry = self._entries.get(replica.agent)
        if entry is None or replica not in entry.link.replicas:
            return
        log.info("agent %s left from %s", replica.agent, replica.target)
        if len(entry.link.replicas) > 1:
            await entry.link.remove(replica)
            return
        del self._entries[replica.agent]
        if entry.watch is not None:
            entry.watch.cancel()
        self._notify(entry)
        await entry.link.close()

    def _check_fits(self, card: AgentCard) -> None:
        cards = {name: entry.card for name, entry in self._entries.items() if entry.card is not None}
        first: Failure | None = None
        for plan in self._plans.values():
            named = any(step.agent == card.agent for step in plan.steps)
            if not named and not plan.join:
                continue
            try:
                wire(plan, cards | {card.agent: card}, [card.agent])
            except Failure as failure:
                first = first or failure
            else:
                return
        if first is not None:
            raise first

    def _add(
        self, agent: str, targets: tuple[str, ...], source: Agent.Source.ValueType, card: AgentCard | None
    ) -> Entry:
        entry = Entry(agent, targets, Link(agent, targets, self._tasks, card), source, card)
        self._entries[agent] = entry
        # An agent that registers is watched beyond the deadline of whatever call it came by.
        with no_deadline():
            entry.watch = self._tasks.create_task(
                entry.link.watch(lambda: self._look(entry)), name=f"watch agents/{agent}"
            )
        self._notify(entry)
        return entry

    # Watching.

    def _look(self, entry: Entry) -> None:
        """Take over what the link knows: one replica that serves is enough."""
        serving = [replica for replica in entry.link.replicas if replica.serving]
        if entry.source == Agent.SOURCE_CONFIGURED and serving:
            entry.card = serving[0].card
        health = Agent.HEALTH_SERVING if serving else Agent.HEALTH_NOT_SERVING
        message = "" if serving else next((replica.message for replica in entry.link.replicas), "has no replica")
        targets = entry.targets
        if entry.source == Agent.SOURCE_REGISTERED:
            targets = tuple(replica.target for replica in entry.link.replicas)
        if (entry.health, entry.message, entry.targets) != (health, message, targets):
            entry.health, entry.message, entry.targets = health, message, targets
            self._notify(entry)

    def _notify(self, entry: Entry) -> None:
        entry.changed.update_time.GetCurrentTime()
        self._wirings.clear()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _alike(present: AgentCard | None, card: AgentCard) -> bool:
    """Whether two cards are of the same agent, perhaps in two versions: what flows to and from it is the same."""
    if present is None:
        return False
    return (list(present.consumes), list(present.produces), present.idempotent) == (
        list(card.consumes),
        list(card.produces),
        card.idempotent,
    )
