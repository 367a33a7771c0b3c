"""Streams of responses; those of events outlive the connections and the processes that they come by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Protocol, TypeVar

from answermesh.client.doors import Door, Doors
from answermesh.client.faults import never_arrived, translated
from answermesh.client.members import chosen
from answermesh.client.patience import Patience
from answermesh.errors import Failure, Reason
from answermesh.typed.answermesh import v1

# What another attempt may mend; the second only where a query waits that is known to the mesh.
_RESUMABLE = {Reason.SERVICE_UNAVAILABLE, Reason.DATABASE_UNAVAILABLE, Reason.SLOW_READER, Reason.DEADLINE_EXCEEDED}
_RESUMABLE_LATER = {*_RESUMABLE, Reason.OVERLOADED}

_T = TypeVar("_T")


class Response(Protocol):
    """What brings an event."""

    event: v1.QueryEvent


# Opens a stream of the events after a sequence, at a door.
Opener = Callable[[Door, int], AsyncIterator[Response]]


async def resumed(
    doors: Doors, opened: Opener, after_sequence: int, patience: Patience
) -> AsyncGenerator[v1.QueryEvent, None]:
    """Events to the query's last, each once and in order, without heartbeats, over as many streams as it takes.

    Raises Failure at once where that would not help, or where nobody was ever reached; else when `patience` ends.
    """
    now_s = asyncio.get_running_loop().time
    failures = 0
    while True:
        door = doors.now
        stream = read(opened(door, after_sequence), door.address, patience.silence_s, first_limit_s=patience.first_s)
        broken = Failure(Reason.SERVICE_UNAVAILABLE, "The events end early; watch the query again later.")
        try:
            async with aclosing(stream) as responses:
                async for response in responses:
                    event = response.event
                    failures = 0
                    doors.reached = True
                    patience.heard(now_s())
                    if is_a(event, "heartbeat") or event.sequence <= after_sequence:
                        continue
                    after_sequence = event.sequence
                    yield event
                    if is_a(event, "query_ended"):
                        return
        except Failure as failure:
            if failure.reason not in (_RESUMABLE_LATER if patience.accepted else _RESUMABLE):
                raise
            broken = failure
        # Somewhere else, what hangs here may be answered; what it still says on this connection is not waited for.
        silent = isinstance(broken.__cause__, TimeoutError)
        if silent:
            door.channel.close()
        doors.leave(door, broken)
        failures += 1
        pause_s = patience.broke(now_s(), silent=silent)
        nobody = not doors.reached and never_arrived(broken) and failures >= doors.count
        if nobody or pause_s is None:
            raise broken
        await asyncio.sleep(pause_s)


async def read(
    responses: AsyncIterator[_T], address: str, silence_limit_s: float, *, first_limit_s: float | None = None
) -> AsyncGenerator[_T, None]:
    """The responses of a call; Failure(DEADLINE_EXCEEDED) when none comes for so long, or the first for longer."""
    # betterproto's streams are generators, whatever they are annotated as; closing one resets its RPC.
    assert isinstance(responses, AsyncGenerator)
    limit_s = silence_limit_s if first_limit_s is None else first_limit_s
    async with aclosing(responses):
        while True:
            with translated(address):
                try:
                    async with asyncio.timeout(limit_s):
                        response = await anext(responses)
                except StopAsyncIteration:
                    return
            limit_s = silence_limit_s
            yield response


def is_a(event: v1.QueryEvent, member: str) -> bool:
    """Whether an event is of that sort."""
    return chosen(event, "event")[0] == member
