"""The desk: which queries this process is answering, and which it takes up next.

A query that waits, or whose owner fell silent, is claimed by lease and fencing token. What another process left half
done is ended from its journal: with the part of the answer that readers have seen, or with the reason why not.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Protocol

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.ending import Tally
from answermesh.orchestrator.journal import Journal
from answermesh.orchestrator.plan import Wiring
from answermesh.orchestrator.queries import Claim, Queries
from answermesh.orchestrator.run import Agents, QueryRun, allowed_s
from answermesh.rpc.deadline import no_deadline
from answermesh.v1.query_pb2 import Query

log = logging.getLogger(__name__)

# Queries answered at once; more wait in the database, or are refused if their caller waits with them.
MAX_RUNNING = 64
# How often leases are renewed: three times before the first could run out.
RENEW_S = 3.0
# How often queries without an owner are looked for when nothing points to one.
SWEEP_S = 5.0
# How long ending a query that was stopped may take.
STOP_S = 10.0


class Plans(Protocol):
    """Where the desk learns how a query is answered."""

    def wiring(self, plan: str) -> Wiring:
        """The plan of that name with the agents as they are now. Raises Failure(NOT_FOUND | INVALID_PLAN)."""


class Desk:
    """Answers queries, as many at once as it may."""

    def __init__(self, queries: Queries, journal: Journal, plans: Plans, agents: Agents, tenant: str) -> None:
        self._queries = queries
        self._journal = journal
        self._plans = plans
        self._agents = agents
        self._tenant = tenant
        self._running: dict[str, tuple[QueryRun, asyncio.Task[None]]] = {}
        # Queries on their way into the database, which count as running: a burst must not pass while none of it is.
        self._accepting = 0
        self._tasks: asyncio.TaskGroup | None = None
        self._wanted = asyncio.Event()
        self._closing = False

    async def ask(self, query: Query, remaining_s: float | None) -> None:
        """Accept a query that ends with its caller, and start on it at once.

        Raises Failure(OVERLOADED) when too many are being answered.
        """
        if self._closing or self._room() <= 0:
            message = f"{MAX_RUNNING} queries are being answered, the most at once; try again soon."
            raise Failure(Reason.OVERLOADED, message, retry_after_s=1.0)
        wiring = self._plans.wiring(query.plan)
        self._accepting += 1
        try:
            await self._queries.accept(self._tenant, query, attached=True)
            self._start(Claim(query, 1, attached=True), wiring, remaining_s)
        finally:
            self._accepting -= 1

    def look(self) -> None:
        """There may be a query to take up."""
        self._wanted.set()

    def cancel(self, query_id: str, failure: Failure) -> asyncio.Task[None] | None:
        """End a query that is being answered here; returns the task that ends then, None if it is not here."""
        if (running := self._running.get(query_id)) is None:
            return None
        run, task = running
        run.stop(failure)
        return task

    async def end_elsewhere(self, query_id: str, failure: Failure) -> None:
        """End a query that is not being answered here, for that reason; one that has ended stays as it is."""
        if claim := await self._queries.seize(self._tenant, query_id):
            await self._end_abandoned(claim, failure)

    async def run(self) -> None:
        """Take up queries and keep their leases, for as long as the process lives; on cancel, end what is running."""
        async with asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(self._renew())
            try:
                while True:
                    await self._claim()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(SWEEP_S):
                            await self._wanted.wait()
                    self._wanted.clear()
            finally:
                await self._close()

    def _room(self) -> int:
        return MAX_RUNNING - len(self._running) - self._accepting

    async def _close(self) -> None:
        self._closing = True
        failure = Failure(Reason.SERVICE_UNAVAILABLE, "The orchestrator is stopping; ask again.")
        tasks = [self.cancel(query_id, failure) for query_id in list(self._running)]
        if waiting := [task for task in tasks if task is not None]:
            await asyncio.wait(waiting, timeout=STOP_S)

    async def _claim(self) -> None:
        if (room := self._room()) <= 0:
            return
        try:
            claims = await self._queries.claim(self._tenant, room)
        except Failure as failure:
            log.warning("waiting queries cannot be taken up: %s", failure.message)
            return
        for claim in claims:
            await self._take_up(claim)

    async def _take_up(self, claim: Claim) -> None:
        if claim.record.state == Query.STATE_QUEUED and not claim.attached:
            try:
                wiring = self._plans.wiring(claim.record.plan)
            except Failure as failure:
                await self._end_abandoned(claim, failure)
                return
            self._start(claim, wiring, None)
        else:
            gone = "The orchestrator that answered it stopped; ask again."
            await self._end_abandoned(claim, Failure(Reason.SERVICE_UNAVAILABLE, gone))

    def _start(self, claim: Claim, wiring: Wiring, remaining_s: float | None) -> None:
        assert self._tasks is not None, "the desk is not running"
        record = claim.record
        query_id = record.name.removeprefix("queries/")
        timeout_s = allowed_s(record.timeout.ToMicroseconds() / 1e6, wiring.plan.timeout_s, remaining_s)
        query_log = self._journal.open(self._tenant, record, claim.fence, 1)
        run = QueryRun(query_log, wiring, self._agents, timeout_s)

        async def answer() -> None:
            try:
                await run.execute()
            except Failure as failure:
                log.error("%s is given up: %s", record.name, failure.message)
            except Exception:
                log.exception("%s is given up", record.name)
            finally:
                self._journal.close(query_log)
                self._running.pop(query_id, None)
                self._wanted.set()

        # The run outlives the call that asked for it, so the call's deadline is not its own.
        with no_deadline():
            self._running[query_id] = (run, self._tasks.create_task(answer(), name=record.name))

    async def _end_abandoned(self, claim: Claim, failure: Failure) -> None:
        """End a query from its journal."""
        try:
            events = await self._queries.events(self._tenant, claim.record.name.removeprefix("queries/"))
            tally = Tally()
            tally.replay(events)
            query_log = self._journal.open(
                self._tenant, claim.record, claim.fence, events[-1].sequence if events else 0
            )
            try:
                query_log.append(tally.end(claim.record, stopped=failure))
                await query_log.flush()
            finally:
                self._journal.close(query_log)
        except Failure as problem:
            # Its lease runs out again, and the next sweep tries once more.
            log.warning("%s cannot be ended: %s", claim.record.name, problem.message)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            if not self._running:
                continue
            mine = list(self._running)
            try:
                kept = await self._queries.renew(self._tenant, mine)
            except Failure as failure:
                log.warning("leases cannot be renewed: %s", failure.message)
                continue
            for query_id in set(mine) - kept:
                self.cancel(query_id, Failure(Reason.WRONG_STATE, "Another orchestrator has taken the query over."))
