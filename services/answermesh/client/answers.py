"""Answers as they are made: streams of events that go on at another connection or address where one breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import timedelta

from answermesh.client.doors import Door, Doors
from answermesh.client.patience import Patience
from answermesh.client.streams import Response, is_a, resumed
from answermesh.errors import Failure, Reason
from answermesh.typed.answermesh import v1

# Longest time that the contract lets a query take, and what the way there and back may add.
_QUERY_LIMIT_S = 600.0
_MARGIN_S = 5.0
# The last thing that is said about a query that nobody wants; its reader may be in a hurry.
_CANCEL_LIMIT_S = 2.0
# How long a stored answer goes on while its reader comes back.
LINGER = timedelta(seconds=15)


async def asked(
    doors: Doors, request: v1.AskRequest, timeout_s: float | None, cancel: Callable[[str], Awaitable[object]]
) -> AsyncGenerator[v1.QueryEvent, None]:
    """The events of an answer; it is cancelled where the reader leaves before the last.

    One that is not stored ends with its stream: Failure(SERVICE_UNAVAILABLE) then.
    """
    stored = request.durability != v1.AskRequestDurability.DURABILITY_EPHEMERAL
    limit_s = (_QUERY_LIMIT_S if timeout_s is None else timeout_s) + _MARGIN_S
    name, ended = "", False
    now_s = asyncio.get_running_loop().time()
    patience = Patience(now_s, accepted=False, deadline_s=None if timeout_s is None else now_s + timeout_s)

    def opened(door: Door, after: int) -> AsyncIterator[Response]:
        if not name:
            return door.queries.ask(request, timeout=limit_s)
        if not stored:
            raise Failure(Reason.SERVICE_UNAVAILABLE, "The answer broke off, and nothing of it is stored; ask again.")
        return _watch(door, name, after)

    try:
        async with aclosing(resumed(doors, opened, 0, patience)) as events:
            async for event in events:
                name, ended = event.query, is_a(event, "query_ended")
                yield event
    finally:
        if name and stored and not ended:
            # Hanging up is not enough: the mesh would wait for this reader to come back.
            with suppress(Failure, TimeoutError):
                async with asyncio.timeout(_CANCEL_LIMIT_S):
                    await cancel(name)


def watched(doors: Doors, name: str, after_sequence: int) -> AsyncGenerator[v1.QueryEvent, None]:
    """The events of a query after a sequence."""
    patience = Patience(asyncio.get_running_loop().time(), accepted=True)
    return resumed(doors, lambda door, after: _watch(door, name, after), after_sequence, patience)


def _watch(door: Door, name: str, after_sequence: int) -> AsyncIterator[v1.WatchQueryResponse]:
    request = v1.WatchQueryRequest(name, after_sequence)
    return door.queries.watch_query(request, timeout=_QUERY_LIMIT_S + _MARGIN_S)
