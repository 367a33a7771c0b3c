"""The deadline of a call: one instant of the event loop's clock, set by the server, read by every wait below it.

    remaining_s()            what is left
    bound_s(5)               what a wait may take that would like 5 s
    async with fail_after(5) what is within has 5 s, or what is left if that is less
    with no_deadline()       work that outlives the call that starts it

gRPC carries the deadline from process to process (`rpc.channel` passes it on, `rpc.edge` takes it over); within a
process it is a ContextVar, so tasks that a handler starts inherit it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from answermesh.errors import Failure, Reason

# An instant of loop.time(); None means that there is no deadline.
_instant: ContextVar[float | None] = ContextVar("answermesh_deadline", default=None)


def remaining_s() -> float | None:
    """Seconds until the deadline, never below 0; None if there is none."""
    instant = _instant.get()
    return None if instant is None else max(0.0, instant - asyncio.get_running_loop().time())


def bound_s(timeout_s: float) -> float:
    """`timeout_s`, or what is left if that is less."""
    left = remaining_s()
    return timeout_s if left is None else min(timeout_s, left)


def enter(timeout_s: float | None) -> None:
    """Set the deadline of the running task for good, None for none: what the server does when a call arrives."""
    _instant.set(None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s)


@asynccontextmanager
async def fail_after(timeout_s: float) -> AsyncIterator[None]:
    """Give what is within `timeout_s`, or what is left if that is less; calls made within get the shorter deadline.

    Raises Failure(DEADLINE_EXCEEDED) when the time is over; what is within is cancelled then. A TimeoutError of its
    own, and a cancellation from outside, pass.
    """
    instant = asyncio.get_running_loop().time() + bound_s(timeout_s)
    token = _instant.set(instant)
    scope = asyncio.timeout_at(instant)
    try:
        async with scope:
            yield
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise exceeded() from error
    finally:
        _instant.reset(token)


@contextmanager
def no_deadline() -> Iterator[None]:
    """Forget the deadline within: for work that outlives the call that starts it, such as a query in the background."""
    token = _instant.set(None)
    try:
        yield
    finally:
        _instant.reset(token)


def exceeded() -> Failure:
    """The failure of a call whose time is over."""
    return Failure(
        Reason.DEADLINE_EXCEEDED, "The deadline passed before the work was done; allow more time, or ask for less."
    )
