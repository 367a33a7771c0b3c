"""Answering one query: the streams to its agents, opened at once, and what goes through them.

What happens next is decided by `flow`; this file carries it out. Whatever ends the run (all agents done, a required one
failed, the deadline, the caller), the query gets its last event, unless the journal itself is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.answering.leg import Leg
from answermesh.orchestrator.answering.plan import Step, Wiring
from answermesh.orchestrator.answering.recovery import Course
from answermesh.orchestrator.reaching.link import Link
from answermesh.orchestrator.records.events import EventLog
from answermesh.rpc.status import status_from
from answermesh.v1.agent_service_pb2 import RunRequest
from answermesh.v1.finding_pb2 import Finding
from answermesh.v1.query_pb2 import Query, QueryEvent, UsageRecord


class Agents(Protocol):
    """Where the run finds its agents."""

    def link(self, agent: str) -> Link:
        """The replicas of an agent. Raises Failure(SERVICE_UNAVAILABLE) if it has left."""

    def record(self, agent: str, duration_s: float, failure: Failure | None) -> None:
        """Take note of how a run of the agent went."""


class QueryRun:
    """One query being answered, from its beginning or from where the `course` of it has come."""

    def __init__(
        self, query_log: EventLog, wiring: Wiring, agents: Agents, timeout_s: float, course: Course | None = None
    ) -> None:
        self._log = query_log
        self._wiring = wiring
        self._agents = agents
        self._timeout_s = timeout_s
        self._course = course or Course(wiring)
        self._flow = self._course.flow
        self._tally = self._course.tally
        self._legs: dict[str, Leg] = {}
        # Set when there is no agent to wait for any more.
        self._over = asyncio.Event()
        self._scope: asyncio.Timeout | None = None
        self._stopped: Failure | None = None
        self._started_s: dict[str, float] = {}

    def stop(self, failure: Failure) -> None:
        """End the query early, for that reason: its agents are cancelled, and `execute` returns soon.

        The first reason counts; stopping what is ending already changes nothing.
        """
        if self._stopped is not None:
            return
        self._stopped = failure
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())

    @property
    def was_late(self) -> bool:
        """Whether it was cut off at its deadline."""
        return self._stopped is not None and self._stopped.reason is Reason.DEADLINE_EXCEEDED

    @property
    def was_stopped(self) -> bool:
        """Whether it was ended early from outside."""
        return self._stopped is not None and not self.was_late

    async def execute(self) -> None:
        """Answer the query, to its last event. Returns when that is committed.

        Raises Failure where the journal takes no more events of the query.
        """
        if not self._course.running:
            self._log.append(QueryEvent(state_changed=QueryEvent.StateChanged(state=Query.STATE_RUNNING)))
            if self._log.record.HasField("route"):
                self._log.append(QueryEvent(routed=self._log.record.route))
        for step, failure in self._course.cut:
            self._started_s[step.agent] = asyncio.get_running_loop().time()
            self.ended(step, failure)
        if self._flow.fatal() is None:
            await self._answer()
        self._end_rest()
        self._tally.failures = self._flow.failures()
        self._log.append(self._tally.end(self._log.record, stopped=self._stopped))
        await self._log.flush()

    async def _answer(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() if self._stopped else loop.time() + self._timeout_s
        try:
            async with asyncio.timeout_at(deadline) as self._scope:
                await self._drive_all(deadline)
        except TimeoutError:
            self._stopped = self._stopped or Failure(
                Reason.DEADLINE_EXCEEDED, f"The answer took longer than the {self._timeout_s:g} s it was given."
            )
        finally:
            self._scope = None

    async def _drive_all(self, ends_s: float) -> None:
        """Run all agents until they end, or a required one fails."""
        await self._log.room()
        async with asyncio.TaskGroup() as tasks:
            try:
                self._begin(tasks, ends_s)
                await self._over.wait()
            finally:
                for leg in self._legs.values():
                    leg.stop()

    def _begin(self, tasks: asyncio.TaskGroup, ends_s: float) -> None:
        self._flow.begin()
        record = self._log.record
        start = RunRequest.Start(
            query=record.name,
            question=record.resolved_question or record.question,
            documents=record.documents,
            min_confidence=record.min_confidence if record.HasField("min_confidence") else None,
            unsupported=record.unsupported,
        )
        now_s = asyncio.get_running_loop().time()
        steps = self._flow.running()
        self._started_s = {step.agent: now_s for step in steps}
        for step in steps:
            try:
                link = self._agents.link(step.agent)
            except Failure as failure:
                self.ended(step, failure)
            else:
                idempotent = self._wiring.cards[step.agent].idempotent
                self._legs[step.agent] = Leg(step, start, link, self._flow, self, tasks, idempotent=idempotent)
        for leg in list(self._legs.values()):
            leg.begin(ends_s)
        if not self._flow.running():
            self._over.set()

    def started(self, agent: str, attempt: int) -> None:
        """A run of an agent begins."""
        started = QueryEvent.AgentStarted(agent=agent, attempt=self._course.attempts[agent] + attempt)
        self._log.append(QueryEvent(agent_started=started))

    def heard(
        self, agent: str, findings: Sequence[Finding], usage: Sequence[UsageRecord]
    ) -> Callable[[], Awaitable[None]] | None:
        """Journal what an agent said, and hand it on; what is returned waits until there is room for more.

        Raises Failure for what the agent must not say.
        """
        if self._log.failure is not None:
            # `_end_rest` tells.
            self._over.set()
            return None
        routed = self._flow.found(agent, findings)
        for finding in routed.new:
            self._tally.answer.add(finding)
        if routed.new:
            self._log.append(*(QueryEvent(finding=finding) for finding in routed.new))
        for record in usage:
            record.agent = agent
            if self._tally.count(record):
                self._log.append(QueryEvent(usage=record))
        full = []
        for consumer, given in routed.deliveries.items():
            if (leg := self._legs.get(consumer)) is not None:
                leg.give(given)
                if leg.is_full:
                    full.append(leg)
        return partial(self._room, full) if full or self._log.is_full else None

    async def _room(self, full: Sequence[Leg]) -> None:
        await self._log.room()
        for leg in full:
            await leg.room()

    def ended(self, step: Step, failure: Failure | None) -> None:
        """Note that an agent is over, and half-close whoever waited for it alone."""
        duration_s = asyncio.get_running_loop().time() - self._started_s[step.agent]
        ended = QueryEvent.AgentEnded(agent=step.agent, finding_count=self._flow.count(step.agent))
        ended.duration.FromMicroseconds(round(duration_s * 1e6))
        if failure is not None:
            ended.error.CopyFrom(status_from(failure))
        self._agents.record(step.agent, duration_s, failure)
        self._log.append(QueryEvent(agent_ended=ended))
        for agent in self._flow.ended(step.agent, failure):
            if (leg := self._legs.get(agent)) is not None:
                leg.finish()
        if not self._flow.running() or self._flow.fatal() is not None:
            self._over.set()

    def _end_rest(self) -> None:
        """End the agents that the query did not wait for."""
        if self._log.failure is not None:
            raise self._log.failure
        fatal = self._flow.fatal()
        for step in self._flow.running():
            if step.agent not in self._started_s:
                continue
            if fatal is not None:
                reason = Failure(Reason.CANCELLED, f"Stopped, since agent {fatal.step.agent!r} failed.")
            else:
                reason = self._stopped or Failure(Reason.CANCELLED, "Stopped.")
            self.ended(step, reason)


def allowed_s(wanted_s: float, plan_timeout_s: float, remaining_s: float | None) -> float:
    """Seconds that a query may take: what it asks for, else the plan's, and less than what its caller will wait.

    0.2 s are kept back so that the partial answer still reaches the caller.
    """
    timeout_s = wanted_s or plan_timeout_s
    return timeout_s if remaining_s is None else max(0.0, min(timeout_s, remaining_s - 0.2))
