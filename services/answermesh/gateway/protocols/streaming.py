"""One streaming call between a client and the upstream, back-pressured both ways.

What has arrived together is written together. Nothing is read ahead of a slow client: messages stay in the call, which
stops telling the upstream that there is room. Leaving, for whatever reason, cancels the RPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from answermesh.gateway.http.exchange import ClientGone, Exchange
from answermesh.gateway.metadata import Headers
from answermesh.gateway.status import CallError, Metadata
from answermesh.gateway.upstream.calls import StreamCall


class Sink(Protocol):
    """How the responses of one call are written."""

    heartbeat: bytes
    # Headers may go before the first message.
    opens_early: bool
    # The connection is cut after an error, even one that was written.
    cut_after_error: bool

    def open(self, metadata: Metadata, first: bytes | None, *, ended: bool) -> tuple[int, Headers]:
        """Status and headers; `first` is the first message, None if there is none: not yet, or never if `ended`."""
        ...

    def items(self, messages: Sequence[bytes]) -> bytes:
        """Messages, at least one. Raises CallError, and changes nothing, if one of them cannot be printed."""
        ...

    def end(self, trailers: Metadata) -> bytes:
        """The end of a call that went well."""
        ...

    def error(self, error: CallError) -> bytes | None:
        """The end of a call that failed; None: the connection must be cut."""
        ...


async def run_stream(
    exchange: Exchange, call: StreamCall, sink: Sink, requests: AsyncIterator[bytes] | None = None
) -> None:
    """Carry the call out; `requests` are fed to it, unless it was opened with its only one.

    Raises CallError if it failed before the answer was started, ClientGone. An error after that is shown by the sink,
    or the answer is left unfinished, on which the server cuts the connection.
    """
    exchange.streams = True
    try:
        if requests is None:
            await exchange.attended(_write(exchange, call, sink))
        else:
            await _both_ways(exchange, call, sink, requests)
    except CallError as error:
        if not exchange.started:
            raise
        exchange.error = error
        last = sink.error(error)
        if last is not None:
            await exchange.write(last, more=sink.cut_after_error)


async def _both_ways(exchange: Exchange, call: StreamCall, sink: Sink, requests: AsyncIterator[bytes]) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            feeder = group.create_task(_feed(exchange, call, requests))
            await _write(exchange, call, sink)
            feeder.cancel()
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


async def _feed(exchange: Exchange, call: StreamCall, requests: AsyncIterator[bytes]) -> None:
    async for message in requests:
        exchange.messages_in += 1
        try:
            await call.write(message)
        except CallError:
            # The call is over: its status comes to the reader.
            break
    else:
        await call.done_writing()
    await exchange.gone()


async def _write(exchange: Exchange, call: StreamCall, sink: Sink) -> None:
    options = exchange.options
    messages = await _next(call, options.flush_after_s if sink.opens_early else None)
    metadata = await call.headers() if messages is not None else await _headers_so_far(call)
    first = messages[0] if messages else None
    await exchange.start(*sink.open(metadata, first, ended=messages is not None and not messages))
    if exchange.method == "HEAD":
        await exchange.write(b"", more=False)
        return
    if messages is None:
        await exchange.write(b"")
    pause_s = options.heartbeat_s if sink.heartbeat else None
    while messages is None or messages:
        if messages:
            await _write_all(exchange, messages, sink)
        messages = await (call.read() if pause_s is None else _next(call, pause_s))
        if messages is None:
            await exchange.write(sink.heartbeat)
    await exchange.write(sink.end(await call.trailers()), more=False)


async def _write_all(exchange: Exchange, messages: Sequence[bytes], sink: Sink) -> None:
    """All of them as one chunk; those before one that cannot be printed still go out."""
    exchange.messages_out += len(messages)
    try:
        chunk = sink.items(messages)
    except CallError:
        for message in messages:
            await exchange.write(sink.items((message,)))
        raise
    await exchange.write(chunk)


async def _headers_so_far(call: StreamCall) -> Metadata:
    """Initial metadata, if it has come."""
    try:
        async with asyncio.timeout(0):
            return await call.headers()
    except TimeoutError:
        return ()


async def _next(call: StreamCall, timeout_s: float | None) -> Sequence[bytes] | None:
    """What has come, or None after `timeout_s` without anything."""
    if timeout_s is None:
        return await call.read()
    try:
        async with asyncio.timeout(timeout_s):
            return await call.read()
    except TimeoutError:
        return None


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one that matters: the client's leaving, then a status, then what nobody expected."""
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [errors]
    while waiting:
        error = waiting.pop()
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(error.exceptions)
        else:
            leaves.append(error)
    for kind in (ClientGone, CallError):
        for error in leaves:
            if isinstance(error, kind):
                return error
    return leaves[0]
