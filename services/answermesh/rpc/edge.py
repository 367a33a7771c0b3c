"""What happens around each handler: deadline, tenant and validation before it, translation of errors after it.

Methods are wrapped once, when they are registered; a call pays for a few assignments. Of what a handler raises, the
caller gets

    Failure                                   its status
    AioRpcError of a call that it made        that call's status, details included
    TimeoutError at the call's deadline       DEADLINE_EXCEEDED
    CancelledError that nobody asked for      SERVICE_UNAVAILABLE: grpc.aio would leave the caller waiting
    anything else                             INTERNAL with the id under which the log holds the cause

A group of exceptions is told by its first leaf that has one of the first two kinds. A cancellation that somebody asked
for always passes: swallowing it leaks native memory in grpc.aio.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Never, TypeAlias

import grpc
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from answermesh.errors import Failure, Reason
from answermesh.rpc import deadline, tenancy
from answermesh.rpc.status import abort_with, details_of, failure_from, status_from
from answermesh.rpc.validate import check_required

_log = logging.getLogger(__name__)

# In quotes: generic for the type checker only.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Edge:
    """The edge of one server."""

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        # Tasks of the calls that are being served.
        self.calls: set[asyncio.Task[Any]] = set()

    def wrap(self, method: str, handler: Handler) -> Handler:
        """`handler`, of the full name `method`, with all that this module does around it."""
        behavior = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        # Without a deserializer, requests are bytes to pass on.
        check = check_required if handler.request_deserializer else _accept
        prepare = _first_checked if handler.request_streaming else _checked
        answer = _stream if handler.response_streaming else _unary

        async def run(request: Any, context: Any) -> Any:
            with self._serving(context):
                try:
                    return await answer(behavior, prepare(request, check), context)
                except Exception as error:
                    await _fail(method, context, error)
                except asyncio.CancelledError as error:
                    await _fail(method, context, error)

        return _MAKERS[handler.request_streaming, handler.response_streaming](
            run,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    @contextmanager
    def _serving(self, context: Any) -> Iterator[None]:
        deadline.enter(context.time_remaining())
        tenancy.enter(self._tenant)
        task = _task()
        self.calls.add(task)
        try:
            yield
        finally:
            self.calls.discard(task)


_MAKERS: dict[tuple[bool, bool], Callable[..., Handler]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


async def _unary(behavior: Any, request: Any, context: Any) -> Any:
    return await behavior(request, context)


async def _stream(behavior: Any, request: Any, context: Any) -> None:
    responses = behavior(request, context)
    if not hasattr(responses, "__aiter__"):
        # A coroutine that calls context.write itself.
        await responses
        return
    # Closed here, so that the handler's clean-up has run before the call ends, whoever ends it.
    async with aclosing(responses):
        async for response in responses:
            await context.write(response)


def _accept(request: Any) -> None:
    pass


def _checked(request: Any, check: Callable[[Any], None]) -> Any:
    check(request)
    return request


class _first_checked:  # noqa: N801 - stands for a function
    """The requests of a stream, the first of them checked.

    No async generator, since handlers that stop early would leave it unclosed.
    """

    __slots__ = ("_check", "_next", "_requests")

    def __init__(self, requests: AsyncIterator[Any], check: Callable[[Any], None]) -> None:
        self._requests = requests
        self._check: Callable[[Any], None] | None = check
        self._next: Any = None

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if self._next is None:
            # Only now: a handler that uses context.read() instead must find the stream untouched.
            self._next = self._requests.__aiter__().__anext__
        request = await self._next()
        if self._check is not None:
            check, self._check = self._check, None
            check(request)
        return request


async def _fail(method: str, context: Any, error: BaseException) -> Never:
    if _task().cancelling() and isinstance(error, asyncio.CancelledError):
        # The caller has gone, or the server stops. Nobody is left to be told.
        raise error
    if context.cancelled():
        raise asyncio.CancelledError from error
    # `cancelling` alone says nothing: before Python 3.13, a TaskGroup whose child fails while the group is being left
    # counts a cancellation of the handler that it never takes back.
    cause = _telling(error)
    if isinstance(cause, grpc.aio.AbortError):
        # The handler has ended the call itself.
        raise cause
    await abort_with(context, _status_of(method, cause))


def _telling(error: BaseException) -> BaseException:
    """The exception within `error` that the caller is told of."""
    leaves = list(_leaves(error))
    for kind in (grpc.aio.AbortError, Failure, grpc.aio.AioRpcError):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0] if len(leaves) == 1 else error


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def status_of(method: str, error: BaseException) -> Status:
    """The status by which a caller is told of an error that ended its work; what is nobody's business is logged."""
    return _status_of(method, _telling(error))


def _status_of(method: str, error: BaseException) -> Status:
    if isinstance(error, Failure):
        return status_from(error)
    if isinstance(error, grpc.aio.AioRpcError):
        _log.warning("%s: a call that it made failed: %s %s", method, error.code(), error.details())
        if status := details_of(error):
            return status
        failure = failure_from(error)
        return status_from(_gone() if failure.reason is Reason.CANCELLED else failure)
    if isinstance(error, TimeoutError) and deadline.remaining_s() == 0:
        return status_from(deadline.exceeded())
    if isinstance(error, asyncio.CancelledError):
        _log.warning("%s: the handler was cancelled from within", method, exc_info=error)
        return status_from(_gone())
    return _internal(method, error)


def _gone() -> Failure:
    return Failure(Reason.SERVICE_UNAVAILABLE, "A part of the service stopped while it worked on the call; try again.")


def _internal(method: str, error: BaseException) -> Status:
    request_id = uuid.uuid4().hex[:16]
    _log.error("%s: internal error, request %s", method, request_id, exc_info=error)
    message = f"Internal error; the log of the service holds the cause under request {request_id}."
    status = status_from(Failure(Reason.INTERNAL, message))
    status.details.add().Pack(error_details_pb2.RequestInfo(request_id=request_id))
    return status


def _task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task
