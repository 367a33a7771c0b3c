"""Wake-ups: LISTEN on a connection of its own that repairs itself; polling beneath it stays the safety net.

Notifications sent while the connection is away are lost. So every (re)connection wakes the waiter with an empty list,
which means: look for yourself. Payloads name things to look at; they never carry the things.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from answermesh.errors import Failure
from answermesh.store import opening

_log = logging.getLogger(__name__)

# More payloads than this between two waits tell no more than "look for yourself".
MAX_PAYLOADS = 1024
# Waits between attempts to connect double from the first to the second, each with up to half of it at random.
_FIRST_RETRY_S = 0.1
_LAST_RETRY_S = 5.0
# A peer that vanished without a word (a cut network) is noticed by a question at this interval.
_PROBE_INTERVAL_S = 20.0
_PROBE_TIMEOUT_S = 5.0


class Wakeups:
    """The payloads of one channel, for one waiter."""

    def __init__(self) -> None:
        self._payloads: list[str] = []
        self._woken = asyncio.Event()
        self._lost = False

    async def wait(self, timeout_s: float) -> list[str]:
        """The payloads that came since the last wait, in order; returns as soon as there is one.

        An empty list means "look for yourself": `timeout_s` has passed, or the connection was (re)made, or more than
        MAX_PAYLOADS came. Cancelling it loses no payload.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        self._woken.clear()
        payloads, lost = self._payloads, self._lost
        self._payloads, self._lost = [], False
        return [] if lost else payloads

    def add(self, payload: str) -> None:
        """Take in a payload, and wake the waiter."""
        if len(self._payloads) < MAX_PAYLOADS and not self._lost:
            self._payloads.append(payload)
            self._woken.set()
        else:
            self.lose()

    def lose(self) -> None:
        """Notifications may have been missed: wake the waiter to look for itself."""
        self._payloads.clear()
        self._lost = True
        self._woken.set()


@asynccontextmanager
async def listening(dsn: str, channel: str) -> AsyncIterator[Wakeups]:
    """Wake-ups of a channel; does not wait for the connection, whose first making already wakes the waiter."""
    wakeups = Wakeups()
    # A context of its own: the keeper outlives the call, whose deadline must not bind it.
    keeper = asyncio.create_task(_keep(dsn, channel, wakeups), context=contextvars.Context())
    try:
        yield wakeups
    finally:
        keeper.cancel()
        await asyncio.wait([keeper])


async def _keep(dsn: str, channel: str, wakeups: Wakeups) -> None:
    retry_s = _FIRST_RETRY_S
    while True:
        try:
            async with opening.connect(dsn) as connection:
                await _listen(connection, channel, wakeups)
                retry_s = _FIRST_RETRY_S
        except (Failure, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            # Whatever it is, the next attempt may succeed; until then the waiter polls.
            _log.warning("listening on %s broke off, trying again: %s", channel, error)
        await asyncio.sleep(retry_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads attempts, guards nothing
        retry_s = min(retry_s * 2, _LAST_RETRY_S)


async def _listen(connection: asyncpg.Connection[asyncpg.Record], channel: str, wakeups: Wakeups) -> None:
    """Listen until the connection is lost."""
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())
    await connection.add_listener(channel, lambda _connection, _pid, _channel, payload: wakeups.add(str(payload)))
    wakeups.lose()
    while not lost.is_set():
        try:
            async with asyncio.timeout(_PROBE_INTERVAL_S):
                await lost.wait()
        except TimeoutError:
            await connection.execute("SELECT 1", timeout=_PROBE_TIMEOUT_S)
