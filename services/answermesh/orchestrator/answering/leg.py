"""One agent's part in a query: its runs, one after the other or two at once, until one ends it.

A run that fails so that another may pass is made again elsewhere; one that is slower than nearly all gets a second one
beside it, and whichever finds something first is kept. The budget bounds both.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.answering.flow import Flow
from answermesh.orchestrator.answering.plan import Step
from answermesh.orchestrator.reaching.agent_run import Refused, Sink, Task
from answermesh.orchestrator.reaching.link import Begun, Link
from answermesh.orchestrator.reaching.replica import Replica
from answermesh.v1.agent_service_pb2 import RunRequest
from answermesh.v1.finding_pb2 import Finding
from answermesh.v1.query_pb2 import UsageRecord

log = logging.getLogger(__name__)

# How long an agent that went away is waited for; a process restarts within about two seconds.
RECONNECT_S = 6.0
# The pause before the second try; it doubles with each further one.
RETRY_PAUSE_S = 0.3

# How much longer an agent may work than the query, so that the query ends by its own deadline and not by the agent's.
GRACE_S = 0.2

Room = Callable[[], Awaitable[None]]


class Whole(Protocol):
    """The query, as its legs see it."""

    def started(self, agent: str, attempt: int) -> None:
        """A run of the agent begins."""

    def heard(self, agent: str, findings: Sequence[Finding], usage: Sequence[UsageRecord]) -> Room | None:
        """The agent said something. Raises Failure for what it must not say."""

    def ended(self, step: Step, failure: Failure | None) -> None:
        """The agent is over."""


class Leg:
    """Begun once; ends by telling the query, or by being stopped."""

    def __init__(
        self,
        step: Step,
        start: RunRequest.Start,
        link: Link,
        flow: Flow,
        whole: Whole,
        tasks: asyncio.TaskGroup,
        *,
        idempotent: bool,
    ) -> None:
        self._step = step
        self._start = start
        self._link = link
        self._flow = flow
        self._whole = whole
        self._tasks = tasks
        self._idempotent = idempotent
        self._loop = asyncio.get_running_loop()
        self._begun_s = self._loop.time()
        self._deadline_s = self._begun_s + step.timeout_s
        # Until when an agent may work, by its own count.
        self._until_s = self._deadline_s
        self._timers: list[asyncio.TimerHandle] = []
        self._attempt = 0
        # Runs that go on: one, or two of which the first to find something is kept.
        self._tries: list[_Try] = []
        self._chosen: _Try | None = None
        # Where runs failed, to be passed by as long as there is another.
        self._failed_at: set[Replica] = set()
        self._again: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether `room` would wait."""
        return any(one.begun.run.is_full for one in self._tries)

    async def room(self) -> None:
        """Wait while the agent is behind with what it was given."""
        for one in list(self._tries):
            await one.begun.run.room()

    def begin(self, query_ends_s: float) -> None:
        """Start the first run. Beyond `query_ends_s`, of the loop's clock, the query itself sees to the end."""
        if self._deadline_s < query_ends_s:
            self._timers.append(self._loop.call_at(self._deadline_s, self._expire))
        self._until_s = min(self._deadline_s, query_ends_s + GRACE_S)
        self._link.budget.begun()
        if self._idempotent and len(self._link.replicas) > 1 and (p95_s := self._link.first_words.p95_s) is not None:
            self._timers.append(self._loop.call_later(p95_s, self._hedge))
        self._try()

    def give(self, findings: Iterable[Finding]) -> None:
        """Hand findings on to the agent; between two runs, the flow keeps them for the next."""
        for one in self._tries:
            one.begun.run.give(findings)

    def finish(self) -> None:
        """Nothing more comes."""
        for one in self._tries:
            one.begun.run.finish()

    def stop(self) -> None:
        """Cancel all that is going on. Nothing is told of it."""
        self._end_timers()
        if self._again is not None:
            self._again.cancel()
        for one in list(self._tries):
            self._cancel(one)

    def over(self, which: _Try, failure: Failure | None) -> None:
        """A run ended by itself."""
        if which not in self._tries:
            return
        self._tries.remove(which)
        self._link.over(which.begun, failure)
        if isinstance(failure, Refused):
            self._run()
            return
        if failure is not None and self._tries:
            # The other one goes on.
            self._failed_at.add(which.begun.replica)
            return
        for other in list(self._tries):
            self._cancel(other)
        failure = self._flow.shortfall(self._step.agent) if failure is None else failure
        if failure is not None and self._flow.may_retry(self._step.agent, failure, self._attempt):
            log.info("%s: %s is tried again: %s", self._start.query, self._step.agent, failure.message)
            self._failed_at.add(which.begun.replica)
            self._chosen = None
            self._again = self._tasks.create_task(self._retry(failure), name=f"{self._start.query}/{self._step.agent}")
            return
        self._end(failure)

    def heard(self, which: _Try, findings: Sequence[Finding], usage: Sequence[UsageRecord]) -> Room | None:
        """A run said something."""
        if which not in self._tries:
            return None
        if findings and self._chosen is None:
            self._chosen = which
            self._link.first_words.add(self._loop.time() - self._begun_s)
            for other in [one for one in self._tries if one is not which]:
                self._cancel(other)
        return self._whole.heard(self._step.agent, findings, usage)

    def _try(self) -> None:
        self._attempt += 1
        self._whole.started(self._step.agent, self._attempt)
        self._run()

    def _run(self) -> None:
        agent = self._step.agent
        # Nothing may run between taking the backlog and being there for deliveries, or a finding is lost or doubled.
        backlog, closed = self._flow.replay(agent)
        start = self._start
        if told := self._flow.told(agent):
            start = RunRequest.Start(text=told)
            start.MergeFrom(self._start)
        task = Task(start, max(0.0, self._until_s - self._loop.time()), backlog, closed)
        which = _Try(self)
        avoid = {one.begun.replica for one in self._tries} | self._failed_at
        try:
            which.begun = self._link.start(task, which, self._tasks, avoid)
        except Failure as failure:
            self._end(failure)
        else:
            self._tries.append(which)

    def _hedge(self) -> None:
        """The agent takes longer than nearly always: let another replica try too, if that can be paid for."""
        if self._chosen is not None or len(self._tries) != 1 or self._attempt >= self._step.max_attempts:
            return
        there = {self._tries[0].begun.replica}
        if self._link.has_other(there) and not self._link.budget.take(self._loop.time()):
            self._try()

    async def _retry(self, failure: Failure) -> None:
        # With time it fills, and with the runs of other queries.
        while wait_s := self._link.budget.take(self._loop.time()):  # noqa: ASYNC110
            await asyncio.sleep(wait_s)
        if not self._link.has_other(self._failed_at):
            # A channel notices late that its peer is going; without a pause all tries could fall into that moment.
            await asyncio.sleep(RETRY_PAUSE_S * 2 ** (self._attempt - 1))
            self._failed_at.clear()
            try:
                async with asyncio.timeout(RECONNECT_S):
                    await self._link.ready()
            except TimeoutError:
                self._end(failure)
                return
        self._try()

    def _cancel(self, which: _Try) -> None:
        self._tries.remove(which)
        which.begun.run.cancel()
        self._link.cancelled(which.begun)

    def _expire(self) -> None:
        message = f"Agent {self._step.agent!r} took longer than the {self._step.timeout_s:g} s it was given."
        self.stop()
        self._end(Failure(Reason.DEADLINE_EXCEEDED, message))

    def _end(self, failure: Failure | None) -> None:
        self._end_timers()
        self._whole.ended(self._step, failure)

    def _end_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()


class _Try(Sink):
    """One run of a leg, as the run knows it."""

    __slots__ = ("_leg", "begun")

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self.begun: Begun

    def heard(self, findings: Sequence[Finding], usage: Sequence[UsageRecord]) -> Room | None:
        return self._leg.heard(self, findings, usage)

    def over(self, failure: Failure | None) -> None:
        self._leg.over(self, failure)
