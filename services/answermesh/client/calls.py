"""Calls that are not streams: made at the address in use, and at the next one where nobody answers there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

from answermesh.client.doors import Door, Doors
from answermesh.client.faults import never_arrived, translated
from answermesh.errors import Failure, Reason

_T = TypeVar("_T")


class _Page(Protocol):
    next_page_token: str


_P = TypeVar("_P", bound=_Page)


class Calls:
    """Makes calls at the doors of a mesh."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def make(self, call: Callable[[Door], Awaitable[_T]], *, repeatable: bool = False) -> _T:
        """Make a call; at the next address where nobody answers at one, or none comes to the end of it.

        `repeatable`: to do it twice changes nothing. Raises Failure.
        """
        for left in reversed(range(self._doors.count)):
            door = self._doors.now
            try:
                with translated(door.address):
                    came = await call(door)
                self._doors.reached = True
                return came
            except Failure as failure:
                self._doors.leave(door, failure)
                # What may have been done is said again only where that changes nothing.
                lost = repeatable and failure.reason is Reason.SERVICE_UNAVAILABLE
                if not left or not (lost or never_arrived(failure)):
                    raise
        raise AssertionError("a mesh has an address")

    async def pages(self, fetch: Callable[[Door, str], Awaitable[_P]]) -> AsyncGenerator[_P, None]:
        """The pages of a list, to the last."""
        token = ""
        while True:
            page = await self.make(partial(_with_token, fetch, token), repeatable=True)
            yield page
            if not (token := page.next_page_token):
                return


async def _with_token(fetch: Callable[[Door, str], Awaitable[_P]], token: str, door: Door) -> _P:
    return await fetch(door, token)
