"""The desk: which queries this process is answering, and how it comes to them and leaves them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.answering.plan import DEFAULT, Wiring
from answermesh.orchestrator.answering.recovery import Course, elapsed_s
from answermesh.orchestrator.answering.run import Agents, QueryRun, allowed_s
from answermesh.orchestrator.claiming import Claiming, Plans
from answermesh.orchestrator.reception import Reception
from answermesh.orchestrator.records.ephemeral import MemoryLog
from answermesh.orchestrator.records.journal import Journal, QueryLog
from answermesh.orchestrator.records.keeping import Keeping
from answermesh.orchestrator.records.leases import Claim, Leases
from answermesh.orchestrator.records.queries import Queries
from answermesh.orchestrator.records.watching import Watching
from answermesh.rpc.deadline import exceeded, no_deadline
from answermesh.v1.query_pb2 import Query, QueryEvent

log = logging.getLogger(__name__)

# How often queries without an owner are looked for when nothing points to one.
LOOK_S = 0.25
# How long the reader of a query that goes on here may take to come back; it finds a dead process within 3 s.
RETURN_S = 10.0
STOPPING = "The orchestrator is stopping; another goes on. Watch the query again."
# How long queries may go on here when the process is to stop, before they are left to others; and those that are not
# stored, which nobody else can go on with: most of the 30 s that Kubernetes waits, and that a query is given.
DRAIN_S = 4.0
DRAIN_UNSTORED_S = 25.0
# How long ending a query that was stopped may take.
STOP_S = 10.0


@dataclass(slots=True)
class _Running:
    """A query that is being answered here."""

    run: QueryRun
    log: QueryLog | MemoryLog
    task: asyncio.Task[None]
    # How long it goes on when nobody reads it; None: to its end.
    patience_s: float | None
    alone_since_s: float | None = None


class Desk:
    """Answers queries, as many at once as it may."""

    def __init__(
        self,
        leases: Leases,
        queries: Queries,
        journal: Journal,
        watching: Watching,
        plans: Plans,
        agents: Agents,
        tenant: str,
    ) -> None:
        self._leases = leases
        self._journal = journal
        self._watching = watching
        self._plans = plans
        self._agents = agents
        self._tenant = tenant
        self._running: dict[str, _Running] = {}
        self._now_s = asyncio.get_running_loop().time
        self._reception = Reception(tenant)
        self._keeping = Keeping(leases, tenant, self._held, self._lose)
        self._claiming = Claiming(leases, queries, journal, plans, tenant, self._room, self._start)
        self._tasks: asyncio.TaskGroup | None = None
        self._wanted = asyncio.Event()
        # Whether nothing more is taken up, and whether all was left to others.
        self._draining = False
        self._closed = False
        self._emptied = asyncio.Event()
        self._may_start = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether all stored queries were left to others: they are not cancelled when their streams end."""
        return self._closed

    async def until_ready(self) -> None:
        """Wait, for some seconds after the start at most, until the agents are known."""
        await self._may_start.wait()

    async def ask(self, query: Query, remaining_s: float | None, *, linger_s: float = 0.0) -> None:
        """Accept a query that ends with its caller, and start on it at once.

        Where it may linger, it is cancelled when nobody has read it for so long; else its caller cancels it.
        Raises Failure(OVERLOADED) when too many are being answered, SERVICE_UNAVAILABLE when the process is to stop.
        """
        wiring, timeout_s = await self._admitted(query, remaining_s)
        # Whoever takes the query over knows of no caller's deadline but by this.
        query.timeout.FromMicroseconds(round(timeout_s * 1e6))
        query_log = self._journal.begin(self._tenant, query, self._leases.owner)
        self._run(query_log, wiring, timeout_s, patience_s=linger_s or None)
        # Its agents are at work already; nothing of it is shown before.
        await query_log.born()

    async def ask_unstored(self, query: Query, remaining_s: float | None) -> MemoryLog:
        """Start on a query that is not stored, and ends with its caller; returns its log.

        Raises Failure(OVERLOADED) when too many are being answered.
        """
        wiring, timeout_s = await self._admitted(query, remaining_s)
        log = MemoryLog(query)
        self._run(log, wiring, timeout_s)
        return log

    async def end_elsewhere(self, query_id: str, failure: Failure) -> None:
        """End a query that is not being answered here, for that reason; one that has ended stays as it is."""
        await self._claiming.end_elsewhere(query_id, failure)

    def look(self) -> None:
        """There may be a query to take up."""
        self._wanted.set()

    def doubt(self, query_id: str) -> None:
        """A query may have another owner."""
        self._keeping.doubt(query_id)

    def cancel(self, query_id: str, failure: Failure) -> asyncio.Task[None] | None:
        """End a query that is being answered here; returns the task that ends then, None if it is not here."""
        if (running := self._running.get(query_id)) is None:
            return None
        running.run.stop(failure)
        return running.task

    async def run(self) -> None:
        """Take up queries and keep the lease, for as long as the process lives; on cancel, leave them to others."""
        async with asyncio.TaskGroup() as self._tasks:
            keeping = self._tasks.create_task(self._keeping.run(), name="lease")
            try:
                await self._claiming.settled()
                self._may_start.set()
                while True:
                    self._dismiss()
                    if not self._draining:
                        await self._claiming.claim(lapsed=self._keeping.may_judge)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_S):
                            await self._wanted.wait()
                    self._wanted.clear()
            finally:
                await self._close()
                keeping.cancel()

    def _held(self) -> dict[str, int]:
        """The stored queries that are being answered here, with their fencing tokens."""
        logs = ((query_id, running.log) for query_id, running in self._running.items())
        return {query_id: log.fence for query_id, log in logs if isinstance(log, QueryLog) and not log.newborn_of}

    def _lose(self, query_id: str) -> None:
        self._leave(self._running[query_id], "Another orchestrator has taken the query over.")

    async def _admitted(self, query: Query, remaining_s: float | None) -> tuple[Wiring, float]:
        """How to answer a query and for how long, if there is room for it and its caller waits long enough."""
        wiring = self._plans.wiring(query.plan)
        timeout_s = _allowed_s(query, wiring, remaining_s)
        if timeout_s <= 0:
            raise exceeded()
        waited_s = await self._reception.admit(query.priority, timeout_s, lambda: self._closed)
        return wiring, timeout_s - waited_s

    def _room(self, priority: int) -> int:
        return self._reception.room(priority, DEFAULT.timeout_s)

    async def drain(self) -> None:
        """Take up nothing more, let queries end for a moment, and leave the rest to others as it is.

        What is not stored has nobody else, and goes on for longer.
        """
        self._draining = True
        ends_s = self._now_s() + DRAIN_UNSTORED_S
        await self._until_empty(self._now_s() + DRAIN_S)
        await self._hand_over()
        self._watching.move_on(Failure(Reason.SERVICE_UNAVAILABLE, STOPPING))
        await self._until_empty(ends_s)
        await self._close()

    async def _until_empty(self, until_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until_s):
                while self._running:
                    self._emptied.clear()
                    await self._emptied.wait()

    async def _hand_over(self) -> None:
        """Leave all that is stored to others, as it is."""
        self._draining = self._closed = True
        self._may_start.set()
        await self._leave_all(query_id for query_id, one in self._running.items() if isinstance(one.log, QueryLog))
        await self._keeping.resign()

    async def _close(self) -> None:
        """Leave all that is being answered."""
        await self._hand_over()
        await self._leave_all(self._running)

    async def _leave_all(self, query_ids: Iterable[str]) -> None:
        leaving = [self._running[query_id] for query_id in list(query_ids)]
        for running in leaving:
            self._leave(running, STOPPING)
        if leaving:
            await asyncio.wait([running.task for running in leaving], timeout=STOP_S)

    def _leave(self, running: _Running, why: str) -> None:
        """Stop answering a query, and write nothing more of it; one that is not stored ends here with the reason."""
        failure = Failure(Reason.SERVICE_UNAVAILABLE, why)
        if isinstance(running.log, QueryLog):
            running.log.fail(failure)
        running.run.stop(failure)

    def _start(self, claim: Claim, wiring: Wiring, events: Sequence[QueryEvent]) -> None:
        timeout_s = max(0.0, _allowed_s(claim.record, wiring, None) - elapsed_s(events))
        query_log = self._journal.open(self._tenant, claim.record, claim.fence, events[-1].sequence if events else 1)
        self._reception.begun(timeout_s)
        self._run(query_log, wiring, timeout_s, events, RETURN_S if claim.attached else None)

    def _run(
        self,
        query_log: QueryLog | MemoryLog,
        wiring: Wiring,
        timeout_s: float,
        events: Sequence[QueryEvent] = (),
        patience_s: float | None = None,
    ) -> None:
        assert self._tasks is not None, "the desk is not running"
        began_s = self._now_s()
        name = query_log.record.name
        query_id = name.removeprefix("queries/")
        run = QueryRun(query_log, wiring, self._agents, timeout_s, Course(wiring, events))

        async def answer() -> None:
            try:
                await run.execute()
            except Failure as failure:
                log.warning("%s is left: %s", name, failure.message)
            except Exception:
                log.exception("%s is given up", name)
            finally:
                if isinstance(query_log, QueryLog):
                    self._journal.close(query_log)
                else:
                    query_log.fail(Failure(Reason.INTERNAL, "The query's log is closed."))
                # It may have been lost, and taken up again, while this run of it ended.
                if (running := self._running.get(query_id)) is not None and running.run is run:
                    del self._running[query_id]
                self._reception.over(None if run.was_stopped else self._now_s() - began_s, late=run.was_late)
                self._emptied.set()
                if self._claiming.more_wait:
                    self._wanted.set()

        # The run outlives the call that asked for it, so the call's deadline is not its own.
        with no_deadline():
            task = self._tasks.create_task(answer(), name=name)
        self._running[query_id] = _Running(run, query_log, task, patience_s)

    def _dismiss(self) -> None:
        """Cancel queries whose readers did not come back."""
        now_s = asyncio.get_running_loop().time()
        for query_id, running in self._running.items():
            if running.patience_s is None or self._is_read(running.log):
                running.alone_since_s = None
            elif running.alone_since_s is None:
                running.alone_since_s = now_s
            elif now_s - running.alone_since_s > running.patience_s:
                self.cancel(query_id, Failure(Reason.CANCELLED, "Its reader did not come back."))

    def _is_read(self, log: QueryLog | MemoryLog) -> bool:
        return not isinstance(log, QueryLog) or self._watching.is_read(log)


def _allowed_s(query: Query, wiring: Wiring, remaining_s: float | None) -> float:
    return allowed_s(query.timeout.ToMicroseconds() / 1e6, wiring.plan.timeout_s, remaining_s)
