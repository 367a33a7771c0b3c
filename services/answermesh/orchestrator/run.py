"""Answering one query: the streams to its agents, opened at once, and what goes through them.

What happens next is decided by `flow`; this file carries it out. Whatever ends the run (all agents done, a required one
failed, the deadline, the caller), the query gets its last event, unless the journal itself is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

import grpc

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.events import EventLog
from answermesh.orchestrator.plan import Step, Wiring
from answermesh.orchestrator.recovery import Course
from answermesh.orchestrator.remote import AgentRun, wait_ready
from answermesh.rpc.status import status_from
from answermesh.v1.agent_service_pb2 import RunRequest, RunResponse
from answermesh.v1.query_pb2 import Query, QueryEvent

log = logging.getLogger(__name__)

# How long an agent that went away is waited for; a process restarts within about two seconds.
RECONNECT_S = 6.0
# The pause before the second try; it doubles with each further one.
RETRY_PAUSE_S = 0.3


class Agents(Protocol):
    """Where the run finds its agents."""

    def channel(self, agent: str) -> grpc.aio.Channel:
        """The channel to an agent."""

    def record(self, agent: str, duration_s: float, failure: Failure | None) -> None:
        """Take note of how a run of the agent went."""


class _RequiredAgentFailed(Exception):
    pass


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
        self._runs: dict[str, AgentRun] = {}
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

    async def execute(self) -> None:
        """Answer the query, to its last event. Returns when that is committed.

        Raises Failure where the journal takes no more events of the query.
        """
        if not self._course.running:
            self._log.append(QueryEvent(state_changed=QueryEvent.StateChanged(state=Query.STATE_RUNNING)))
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
                await self._drive_all()
        except TimeoutError:
            self._stopped = self._stopped or Failure(
                Reason.DEADLINE_EXCEEDED, f"The answer took longer than the {self._timeout_s:g} s it was given."
            )
        finally:
            self._scope = None

    async def _drive_all(self) -> None:
        """Run all agents until they end, or a required one fails."""
        self._flow.begin()
        try:
            async with asyncio.TaskGroup() as tasks:
                for step in self._flow.running():
                    tasks.create_task(self._drive(step), name=f"{self._log.record.name}/{step.agent}")
        except* _RequiredAgentFailed:
            pass
        except* Failure as group:
            # The journal is gone, and every agent's task says so; one word of it is enough.
            raise group.exceptions[0] from None

    async def _drive(self, step: Step) -> None:
        """Run one agent to its end, trying again where that may help."""
        loop = asyncio.get_running_loop()
        self._started_s[step.agent] = loop.time()
        deadline = loop.time() + step.timeout_s
        channel = self._agents.channel(step.agent)
        attempt = 1
        while True:
            failure = await self._attempt(step, channel, attempt, deadline - loop.time())
            if failure is None or not self._flow.may_retry(step.agent, failure, attempt):
                break
            log.info("%s: %s is tried again: %s", self._log.record.name, step.agent, failure.message)
            # A channel notices late that its peer is going; without a pause all tries could fall into that moment.
            await asyncio.sleep(min(RETRY_PAUSE_S * 2 ** (attempt - 1), max(0.0, deadline - loop.time())))
            if not await wait_ready(channel, max(0.0, min(RECONNECT_S, deadline - loop.time()))):
                break
            attempt += 1
        self._end(step, failure)
        if self._flow.fatal() is not None:
            raise _RequiredAgentFailed

    async def _attempt(self, step: Step, channel: grpc.aio.Channel, attempt: int, timeout_s: float) -> Failure | None:
        """Run an agent once; returns why it failed, or None."""
        started = QueryEvent.AgentStarted(agent=step.agent, attempt=self._course.attempts[step.agent] + attempt)
        await self._log.room()
        self._log.append(QueryEvent(agent_started=started))
        record = self._log.record
        start = RunRequest.Start(query=record.name, question=record.question, documents=record.documents)
        # Nothing may run between taking the backlog and being there for deliveries, or a finding is lost or doubled.
        backlog, closed = self._flow.replay(step.agent)
        run = AgentRun(channel, start, max(timeout_s, 0.0), backlog)
        self._runs[step.agent] = run
        if closed:
            run.outbox.finish()
        try:
            async for response in run.responses():
                await self._log.room()
                touched = self._take_in(step.agent, response)
                for consumer in touched:
                    await consumer.outbox.room()
        except Failure as failure:
            if self._log.failure is not None:
                raise
            return failure
        finally:
            self._runs.pop(step.agent, None)
        return self._flow.shortfall(step.agent)

    def _take_in(self, agent: str, response: RunResponse) -> Sequence[AgentRun]:
        """Journal what an agent said, and hand it on; returns whom it was handed to."""
        routed = self._flow.found(agent, response.findings)
        for finding in routed.new:
            self._tally.answer.add(finding)
        self._log.append(*(QueryEvent(finding=finding) for finding in routed.new))
        for usage in response.usage:
            usage.agent = agent
            if self._tally.count(usage):
                self._log.append(QueryEvent(usage=usage))
        touched = []
        for consumer, findings in routed.deliveries.items():
            if run := self._runs.get(consumer):
                run.outbox.put(findings)
                touched.append(run)
        return touched

    def _end(self, step: Step, failure: Failure | None) -> None:
        """Note that an agent is over, and half-close whoever waited for it alone."""
        duration_s = asyncio.get_running_loop().time() - self._started_s[step.agent]
        ended = QueryEvent.AgentEnded(agent=step.agent, finding_count=self._flow.count(step.agent))
        ended.duration.FromTimedelta(timedelta(seconds=duration_s))
        if failure is not None:
            ended.error.CopyFrom(status_from(failure))
        self._agents.record(step.agent, duration_s, failure)
        self._log.append(QueryEvent(agent_ended=ended))
        for agent in self._flow.ended(step.agent, failure):
            if run := self._runs.get(agent):
                run.outbox.finish()

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
            self._end(step, reason)


def allowed_s(wanted_s: float, plan_timeout_s: float, remaining_s: float | None) -> float:
    """Seconds that a query may take: what it asks for, else the plan's, and less than what its caller will wait.

    0.2 s are kept back so that the partial answer still reaches the caller.
    """
    timeout_s = wanted_s or plan_timeout_s
    return timeout_s if remaining_s is None else max(0.0, min(timeout_s, remaining_s - 0.2))
