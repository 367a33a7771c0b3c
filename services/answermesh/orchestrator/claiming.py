"""Taking up what nobody answers: queries that wait, or whose owner fell silent, by lease and fencing token.

What another process left half done goes on from its journal: agents that ended are not run again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from answermesh.errors import Failure
from answermesh.orchestrator.answering.ending import Tally
from answermesh.orchestrator.answering.plan import Wiring
from answermesh.orchestrator.answering.recovery import agents_of
from answermesh.orchestrator.records.journal import Journal
from answermesh.orchestrator.records.leases import Claim, Leases
from answermesh.orchestrator.records.queries import Queries
from answermesh.v1.query_pb2 import Query, QueryEvent

log = logging.getLogger(__name__)

# Queries of an owner that died, beyond what is admitted: they were once, and their readers wait.
MAX_ADOPTED = 64
# How long the agents of a query that goes on here may take to be found by a process that has just started.
SETTLE_S = 5.0


class Plans(Protocol):
    """Where the desk learns how a query is answered."""

    def wiring(self, plan: str) -> Wiring:
        """The plan of that name with the agents as they are now. Raises Failure(NOT_FOUND | INVALID_PLAN)."""

    async def settled(self, agents: Iterable[str] = ()) -> None:
        """Wait until all configured agents, and those named, are known."""


# Goes on with a query, after these events if it had begun.
Start = Callable[[Claim, Wiring, Sequence[QueryEvent]], None]


class Claiming:
    """Takes queries up for one process; `room` says for how many more of a priority there is place."""

    def __init__(
        self,
        leases: Leases,
        queries: Queries,
        journal: Journal,
        plans: Plans,
        tenant: str,
        room: Callable[[int], int],
        start: Start,
    ) -> None:
        self._leases = leases
        self._queries = queries
        self._journal = journal
        self._plans = plans
        self._tenant = tenant
        self._room = room
        self._start = start
        # Whether queries may wait that there was no room for.
        self.more_wait = True

    async def claim(self, *, lapsed: bool) -> None:
        """Take up as many as there is room for; those of others too whose lease ran out, where that is `lapsed`."""
        claims: list[Claim] = []
        try:
            # The lowest first, whose room is the least; those that matter more may go beyond it.
            for priority in (Query.PRIORITY_BATCH, Query.PRIORITY_INTERACTIVE, Query.PRIORITY_CRITICAL):
                room = self._room(priority) - len(claims)
                claimed = await self._leases.claim(
                    self._tenant,
                    begun=max(room, 0) + MAX_ADOPTED,
                    waiting=room,
                    lapsed=lapsed,
                    priority=priority,
                )
                claims += claimed
                self.more_wait = len(claimed) >= room
                if not self.more_wait:
                    break
        except Failure as failure:
            log.warning("waiting queries cannot be taken up: %s", failure.message)
        for claim in claims:
            await self._take_up(claim)

    async def _take_up(self, claim: Claim) -> None:
        try:
            events: Sequence[QueryEvent] = ()
            if claim.record.state != Query.STATE_QUEUED:
                events = await self._queries.events(self._tenant, _id(claim))
                await self.settled(agents_of(events))
            wiring = self._plans.wiring(claim.record.plan)
        except Failure as failure:
            await self._end_abandoned(claim, failure)
            return
        if events:
            log.info("%s goes on here after event %d", claim.record.name, events[-1].sequence)
        self._start(claim, wiring, events)

    async def end_elsewhere(self, query_id: str, failure: Failure) -> None:
        """End a query that is not being answered here, for that reason; one that has ended stays as it is."""
        if claim := await self._leases.seize(self._tenant, query_id):
            await self._end_abandoned(claim, failure)

    async def settled(self, agents: Iterable[str] = ()) -> None:
        """Wait until the agents are known, for some seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await self._plans.settled(agents)

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


def _id(claim: Claim) -> str:
    return claim.record.name.removeprefix("queries/")
