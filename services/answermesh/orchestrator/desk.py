"""The desk: which queries this process is answering, and which it takes up next.

A query that waits, or whose owner fell silent, is claimed by lease and fencing token. What another process left half
done goes on from its journal: agents that ended are not run again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.ending import Tally
from answermesh.orchestrator.ephemeral import MemoryLog
from answermesh.orchestrator.journal import Journal, QueryLog
from answermesh.orchestrator.leases import LEASE_S, Claim, Leases
from answermesh.orchestrator.plan import Wiring
from answermesh.orchestrator.queries import Queries
from answermesh.orchestrator.recovery import Course, agents_of, elapsed_s
from answermesh.orchestrator.run import Agents, QueryRun, allowed_s
from answermesh.rpc.deadline import no_deadline
from answermesh.v1.query_pb2 import Query, QueryEvent

log = logging.getLogger(__name__)

# Queries answered at once; more wait in the database, or are refused if their caller waits with them.
MAX_RUNNING = 64
# Queries of an owner that died, beyond those: they were admitted once, and their readers wait.
MAX_ADOPTED = 64
# How often the lease is renewed: four times before it could run out.
RENEW_S = 0.5
# How often queries without an owner are looked for when nothing points to one.
LOOK_S = 0.5
# How often queries are looked for that this process owns and does not answer.
STRAY_S = 2.0
# How long the agents of a query that goes on here may take to be found by a process that has just started.
SETTLE_S = 5.0
# How long ending a query that was stopped may take.
STOP_S = 10.0


class Plans(Protocol):
    """Where the desk learns how a query is answered."""

    def wiring(self, plan: str) -> Wiring:
        """The plan of that name with the agents as they are now. Raises Failure(NOT_FOUND | INVALID_PLAN)."""

    async def settled(self, agents: Iterable[str] = ()) -> None:
        """Wait until all configured agents, and those named, are known."""


@dataclass(frozen=True, slots=True)
class _Running:
    """A query that is being answered here."""

    run: QueryRun
    log: QueryLog | MemoryLog
    task: asyncio.Task[None]


class Desk:
    """Answers queries, as many at once as it may."""

    def __init__(
        self, leases: Leases, queries: Queries, journal: Journal, plans: Plans, agents: Agents, tenant: str
    ) -> None:
        self._leases = leases
        self._queries = queries
        self._journal = journal
        self._plans = plans
        self._agents = agents
        self._tenant = tenant
        self._running: dict[str, _Running] = {}
        # From when on other owners' leases may be held to have run out.
        self._judges_from_s = 0.0
        # Queries on their way into the database, which count as running: a burst must not pass while none of it is.
        self._accepting = 0
        self._tasks: asyncio.TaskGroup | None = None
        self._wanted = asyncio.Event()
        self._closing = False

    async def ask(self, query: Query, remaining_s: float | None) -> None:
        """Accept a query that ends with its caller, and start on it at once.

        Raises Failure(OVERLOADED) when too many are being answered.
        """
        wiring = self._admitted(query)
        self._accepting += 1
        try:
            await self._queries.accept(self._tenant, query, attached=True)
            self._start(Claim(query, 1, attached=True), wiring, remaining_s)
        finally:
            self._accepting -= 1

    def ask_unstored(self, query: Query, remaining_s: float | None) -> MemoryLog:
        """Start on a query that is not stored, and ends with its caller; returns its log.

        Raises Failure(OVERLOADED) when too many are being answered.
        """
        wiring = self._admitted(query)
        log = MemoryLog(query)
        self._run(log, wiring, _allowed_s(query, wiring, remaining_s))
        return log

    def look(self) -> None:
        """There may be a query to take up."""
        self._wanted.set()

    def cancel(self, query_id: str, failure: Failure) -> asyncio.Task[None] | None:
        """End a query that is being answered here; returns the task that ends then, None if it is not here."""
        if (running := self._running.get(query_id)) is None:
            return None
        running.run.stop(failure)
        return running.task

    async def end_elsewhere(self, query_id: str, failure: Failure) -> None:
        """End a query that is not being answered here, for that reason; one that has ended stays as it is."""
        if claim := await self._leases.seize(self._tenant, query_id):
            await self._end_abandoned(claim, failure)

    async def run(self) -> None:
        """Take up queries and keep the lease, for as long as the process lives; on cancel, leave them to others."""
        async with asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(self._keep_lease(), name="lease")
            self._tasks.create_task(self._find_strays(), name="strays")
            try:
                await self._settled()
                while True:
                    await self._claim()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_S):
                            await self._wanted.wait()
                    self._wanted.clear()
            finally:
                await self._close()

    def _admitted(self, query: Query) -> Wiring:
        """How to answer a query, if there is room for it."""
        if self._closing or self._room() <= 0:
            message = f"{MAX_RUNNING} queries are being answered, the most at once; try again soon."
            raise Failure(Reason.OVERLOADED, message, retry_after_s=1.0)
        return self._plans.wiring(query.plan)

    def _room(self) -> int:
        return MAX_RUNNING - len(self._running) - self._accepting

    async def _settled(self, agents: Iterable[str] = ()) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self._plans.settled(agents)

    async def _close(self) -> None:
        """Leave all that is being answered to others, as it is."""
        self._closing = True
        for query_id in self._running:
            self._leave(query_id, "The orchestrator that answered it is stopping; another goes on.")
        if tasks := [running.task for running in self._running.values()]:
            await asyncio.wait(tasks, timeout=STOP_S)
        try:
            await self._leases.resign(self._tenant)
        except Failure as failure:
            log.warning("the lease cannot be given up, and runs out: %s", failure.message)

    def _leave(self, query_id: str, why: str) -> None:
        """Stop answering a query, and write nothing more of it; one that is not stored ends here with the reason."""
        running = self._running[query_id]
        failure = Failure(Reason.SERVICE_UNAVAILABLE, why)
        if isinstance(running.log, QueryLog):
            running.log.fail(failure)
        running.run.stop(failure)

    async def _claim(self) -> None:
        room = self._room()
        lapsed = asyncio.get_running_loop().time() >= self._judges_from_s
        try:
            claims = await self._leases.claim(
                self._tenant, begun=max(room + MAX_ADOPTED, 0), waiting=room, lapsed=lapsed
            )
        except Failure as failure:
            log.warning("waiting queries cannot be taken up: %s", failure.message)
            return
        for claim in claims:
            await self._take_up(claim)

    async def _take_up(self, claim: Claim) -> None:
        try:
            events: Sequence[QueryEvent] = ()
            if claim.record.state != Query.STATE_QUEUED:
                events = await self._queries.events(self._tenant, _id(claim))
                await self._settled(agents_of(events))
            wiring = self._plans.wiring(claim.record.plan)
        except Failure as failure:
            await self._end_abandoned(claim, failure)
            return
        if events:
            log.info("%s goes on here after event %d", claim.record.name, events[-1].sequence)
        self._start(claim, wiring, None, events)

    def _start(
        self, claim: Claim, wiring: Wiring, remaining_s: float | None, events: Sequence[QueryEvent] = ()
    ) -> None:
        timeout_s = max(0.0, _allowed_s(claim.record, wiring, remaining_s) - elapsed_s(events))
        query_log = self._journal.open(self._tenant, claim.record, claim.fence, events[-1].sequence if events else 1)
        self._run(query_log, wiring, timeout_s, events)

    def _run(
        self, query_log: QueryLog | MemoryLog, wiring: Wiring, timeout_s: float, events: Sequence[QueryEvent] = ()
    ) -> None:
        assert self._tasks is not None, "the desk is not running"
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
                self._running.pop(query_id, None)
                self._wanted.set()

        # The run outlives the call that asked for it, so the call's deadline is not its own.
        with no_deadline():
            task = self._tasks.create_task(answer(), name=name)
        self._running[query_id] = _Running(run, query_log, task)

    async def _end_abandoned(self, claim: Claim, failure: Failure) -> None:
        """End a query from its journal."""
        try:
            events = await self._queries.events(self._tenant, _id(claim))
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

    async def _keep_lease(self) -> None:
        """Renew the lease, and stop what others have taken."""
        loop = asyncio.get_running_loop()
        renewed_s = loop.time()
        while True:
            began_s = loop.time()
            held = self._held()
            try:
                kept = await self._leases.renew(self._tenant, held)
            except Failure as failure:
                log.warning("the lease cannot be renewed: %s", failure.message)
            else:
                if began_s - renewed_s > LEASE_S:
                    # The database was away, or this process stood still; whoever could not renew either does it now.
                    self._judges_from_s = loop.time() + LEASE_S
                renewed_s = began_s
                now_held = self._held()
                for query_id in held.keys() - kept:
                    if now_held.get(query_id) == held[query_id]:
                        self._leave(query_id, "Another orchestrator has taken the query over.")
            await asyncio.sleep(RENEW_S)

    def _held(self) -> dict[str, int]:
        """The stored queries that are being answered here, with their fencing tokens."""
        logs = ((query_id, running.log) for query_id, running in self._running.items())
        return {query_id: log.fence for query_id, log in logs if isinstance(log, QueryLog)}

    async def _find_strays(self) -> None:
        """Let go of queries that this process owns and does not answer, as after a commit whose answer was lost."""
        suspected: dict[str, int] = {}
        while True:
            await asyncio.sleep(STRAY_S)
            try:
                owned = await self._leases.owned(self._tenant)
                strays = {query_id: fence for query_id, fence in owned.items() if query_id not in self._running}
                if lost := {query_id: fence for query_id, fence in strays.items() if suspected.get(query_id) == fence}:
                    log.warning("%d queries without a run are taken up again", len(lost))
                    await self._leases.release(self._tenant, lost)
                suspected = strays
            except Failure as failure:
                log.warning("queries without a run cannot be looked for: %s", failure.message)


def _allowed_s(query: Query, wiring: Wiring, remaining_s: float | None) -> float:
    return allowed_s(query.timeout.ToMicroseconds() / 1e6, wiring.plan.timeout_s, remaining_s)


def _id(claim: Claim) -> str:
    return claim.record.name.removeprefix("queries/")
