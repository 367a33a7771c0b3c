"""Streams of responses; those of events outlive the connections and the processes that they come by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Protocol, TypeVar

from answermesh.client.doors import Door, Doors
from answermesh.client.faults import never_arrived, translated
from answermesh.client.members import chosen
from answermesh.errors import Failure, Reason
from answermesh.typed.answermesh import v1

# The mesh sends a heartbeat every second; an orchestrator that is silent for longer hangs, and another goes on. To be
# wrong costs no more than coming back, after twice the time.
_SILENCE_LIMIT_S = 2.25
# A question is accepted within milliseconds; one that was not is asked again, which costs more.
_ACCEPT_LIMIT_S = 5.0
# A broken stream is resumed at these intervals; after so many without an event it is given up. A stream that never
# brought one is given up sooner: its caller may not have to wait.
_RESUME_DELAYS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 2.0, *(5.0 for _ in range(10)))
_OPEN_ATTEMPTS = 6
_RESUMABLE = {Reason.SERVICE_UNAVAILABLE, Reason.DATABASE_UNAVAILABLE, Reason.SLOW_READER, Reason.DEADLINE_EXCEEDED}

_T = TypeVar("_T")


class Response(Protocol):
    """What brings an event."""

    event: v1.QueryEvent


# Opens a stream of the events after a sequence, at a door.
Opener = Callable[[Door, int], AsyncIterator[Response]]


async def resumed(doors: Doors, opened: Opener, after_sequence: int) -> AsyncGenerator[v1.QueryEvent, None]:
    """Events to the query's last, each once and in order, without heartbeats, over as many streams as it takes.

    Raises Failure at once where that would not help, or where nobody was ever reached; else when about a minute
    brought nothing.
    """
    failures, seen = 0, False
    while True:
        door = doors.now
        longer = 2 ** min(failures, 3)
        first_s = (_SILENCE_LIMIT_S if seen or after_sequence else _ACCEPT_LIMIT_S) * longer
        stream = read(opened(door, after_sequence), door.address, _SILENCE_LIMIT_S * longer, first_limit_s=first_s)
        broken = Failure(Reason.SERVICE_UNAVAILABLE, "The events end early; watch the query again later.")
        try:
            async with aclosing(stream) as responses:
                async for response in responses:
                    event = response.event
                    failures, seen = 0, True
                    if is_a(event, "heartbeat") or event.sequence <= after_sequence:
                        continue
                    after_sequence = event.sequence
                    yield event
                    if is_a(event, "query_ended"):
                        return
        except Failure as failure:
            if failure.reason not in _RESUMABLE:
                raise
            broken = failure
        # Somewhere else, what hangs here may be answered; what it still says on this connection is not waited for.
        if isinstance(broken.__cause__, TimeoutError):
            door.channel.close()
        doors.leave(door, broken)
        failures += 1
        nobody = not seen and never_arrived(broken) and failures >= doors.count
        if nobody or failures > (len(_RESUME_DELAYS_S) if seen or after_sequence else _OPEN_ATTEMPTS):
            raise broken
        await asyncio.sleep(_RESUME_DELAYS_S[failures - 1])


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
