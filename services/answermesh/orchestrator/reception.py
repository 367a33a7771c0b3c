"""Who may come in: queries are let in by admission, and wait in the lobby where that helps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from answermesh.errors import Failure, Reason
from answermesh.orchestrator.admission import Admission
from answermesh.orchestrator.lobby import Caller, Lobby


class Reception:
    """Counts one tenant's queries in and out."""

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self._now_s = asyncio.get_running_loop().time
        self._admission = Admission(self._now_s())
        self._lobby = Lobby(self._admission)

    def room(self, priority: int, allowed_s: float) -> int:
        """How many more queries of a priority may begin."""
        return self._admission.room(self._tenant, priority, allowed_s, self._now_s())

    async def admit(self, priority: int, allowed_s: float, is_closed: Callable[[], bool]) -> float:
        """Let a query in that takes `allowed_s` at most; how long it had to wait. It counts as begun then.

        Who can afford it waits for a moment where nobody knows yet how much room there is. Raises Failure(OVERLOADED)
        where there is none, and SERVICE_UNAVAILABLE where the process is to stop.
        """
        began_s = self._now_s()
        called = asyncio.Event()
        caller = Caller(self._tenant, priority, allowed_s, called.set)
        try:
            if wait_s := self._lobby.enter(caller, began_s):
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await called.wait()
            if is_closed():
                raise Failure(Reason.SERVICE_UNAVAILABLE, "The orchestrator is stopping; ask again.", retry_after_s=0.0)
            if not caller.is_in:
                retry_after_s = self._admission.retry_after_s()
                message = f"More is asked than can be answered in time; try again in {retry_after_s:.1f} s."
                raise Failure(Reason.OVERLOADED, message, retry_after_s=retry_after_s)
        except BaseException:
            self._lobby.leave(caller, self._now_s())
            raise
        return self._now_s() - began_s

    def begun(self, allowed_s: float) -> None:
        """A query begins that was let in before, or elsewhere."""
        self._admission.begun(self._tenant, allowed_s, self._now_s())

    def over(self, took_s: float | None, *, late: bool) -> None:
        """A query ended; `took_s` is None where it was stopped. Whoever there is room for now is let in."""
        now_s = self._now_s()
        self._admission.over(self._tenant, took_s, now_s, late=late)
        self._lobby.call(now_s)
