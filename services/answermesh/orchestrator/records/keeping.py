"""Keeping the lease: renewed while the process lives, and what was lost meanwhile is found out.

The process may have stood still, the database may have been away, a commit's answer may have been lost: what this
process believes to own and what it owns are compared again and again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress

from answermesh.errors import Failure
from answermesh.orchestrator.records.leases import LEASE_S, Leases

log = logging.getLogger(__name__)

# How often the lease is renewed: five times before it could run out.
RENEW_S = 0.4
# Every so many renewals, queries are looked for that this process owns and does not answer.
STRAY_ROUNDS = 4


class Keeping:
    """Keeps the lease of this process; `held` are the queries that it answers, with their fencing tokens."""

    def __init__(
        self, leases: Leases, tenant: str, held: Callable[[], Mapping[str, int]], lose: Callable[[str], None]
    ) -> None:
        self._leases = leases
        self._tenant = tenant
        self._held = held
        self._lose = lose
        self._doubted = asyncio.Event()
        self._resigned = False
        # A renewal must not follow the resignation.
        self._lock = asyncio.Lock()
        self._judges_from_s = 0.0
        self._suspected: Mapping[str, int] = {}

    @property
    def may_judge(self) -> bool:
        """Whether others' leases that seem to have run out have really done so.

        Not soon after the database was away, or this process stood still: others need time to renew theirs.
        """
        return asyncio.get_running_loop().time() >= self._judges_from_s

    def doubt(self, query_id: str) -> None:
        """A query may have another owner: find out now."""
        if query_id in self._held():
            self._doubted.set()

    async def run(self) -> None:
        """Renew the lease until it is given up; `lose` is called for each query held that has another owner."""
        loop = asyncio.get_running_loop()
        renewed_s = loop.time()
        round_ = 0
        while not self._resigned:
            round_ += 1
            began_s = loop.time()
            try:
                async with self._lock:
                    if not self._resigned:
                        await self._renew()
                if began_s - renewed_s > LEASE_S:
                    self._judges_from_s = loop.time() + LEASE_S
                renewed_s = began_s
                if round_ % STRAY_ROUNDS == 0:
                    await self._let_strays_go()
            except Failure as failure:
                log.warning("the lease cannot be renewed: %s", failure.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW_S):
                    await self._doubted.wait()
            self._doubted.clear()

    async def resign(self) -> None:
        """Give the lease up, and with it all queries."""
        self._resigned = True
        async with self._lock:
            try:
                await self._leases.resign(self._tenant)
            except Failure as failure:
                log.warning("the lease cannot be given up, and runs out: %s", failure.message)

    async def _renew(self) -> None:
        held = self._held()
        kept = await self._leases.renew(self._tenant, held)
        now = self._held()
        for query_id in held.keys() - kept:
            # It may have ended meanwhile, or been claimed anew.
            if now.get(query_id) == held[query_id]:
                self._lose(query_id)

    async def _let_strays_go(self) -> None:
        owned = await self._leases.owned(self._tenant)
        strays = {query_id: fence for query_id, fence in owned.items() if query_id not in self._held()}
        # One that is only just being taken up is not seen twice.
        if lost := {query_id: fence for query_id, fence in strays.items() if self._suspected.get(query_id) == fence}:
            log.warning("%d queries that nobody answers are taken up again", len(lost))
            await self._leases.release(self._tenant, lost)
        self._suspected = strays
