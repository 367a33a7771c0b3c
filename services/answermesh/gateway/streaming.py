"""One streaming call between a client and the upstream, back-pressured both ways.

Three tasks live as long as the call: one feeds request messages and then watches for the client's hanging up, one reads
responses into a short queue, one writes what is there. A slow client fills the queue, which stops the reading, which
closes HTTP/2's window. Leaving, for whatever reason, cancels the RPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from answermesh.gateway.exchange import ClientGone, Exchange
from answermesh.gateway.metadata import Headers
from answermesh.gateway.status import CallError, Metadata
from answermesh.gateway.upstream import StreamCall

# Messages read ahead of a client that is slower than the upstream.
_AHEAD = 16
# What has arrived together is written together, up to about this size.
_CHUNK_BYTES = 128 << 10


class Sink(Protocol):
    """How the responses of one call are written."""

    heartbeat: bytes
    # Headers may go before the first message.
    opens_early: bool

    def open(self, metadata: Metadata, first: bytes | None, *, ended: bool) -> tuple[int, Headers]:
        """Status and headers; `first` is the first message, None if there is none: not yet, or never if `ended`."""
        ...

    def item(self, message: bytes) -> bytes:
        """A message. Raises CallError for one that cannot be printed."""
        ...

    def end(self, trailers: Metadata) -> bytes:
        """The end of a call that went well."""
        ...

    def error(self, error: CallError) -> bytes | None:
        """The end of a call that failed; None: the connection must be cut."""
        ...


class _End:
    """Stands in the queue for the call's end."""

    def __init__(self, error: CallError | None, trailers: Metadata = ()) -> None:
        self.error = error
        self.trailers = trailers


_Item = bytes | _End


async def run_stream(exchange: Exchange, call: StreamCall, requests: AsyncIterator[bytes], sink: Sink) -> None:
    """Carry the call out.

    Raises CallError if it failed before the answer was started, ClientGone. An error after that is shown by the sink,
    or the answer is left unfinished, on which the server cuts the connection.
    """
    reader = _Reader(call)
    try:
        async with asyncio.TaskGroup() as group:
            feeder = group.create_task(_feed(exchange, call, requests))
            pump = group.create_task(reader.run())
            await _write(exchange, reader, sink)
            pump.cancel()
            feeder.cancel()
    except BaseExceptionGroup as errors:
        error = _first(errors)
        if not isinstance(error, CallError):
            raise error from None
        await _fail(exchange, sink, error)


async def _feed(exchange: Exchange, call: StreamCall, requests: AsyncIterator[bytes]) -> None:
    async for message in requests:
        try:
            await call.write(message)
        except CallError:
            # The call is over: its status comes to the reader.
            break
    else:
        await call.done_writing()
    await exchange.gone()


class _Reader:
    def __init__(self, call: StreamCall) -> None:
        self._call = call
        self.queue: asyncio.Queue[_Item] = asyncio.Queue(_AHEAD)
        self.metadata: Metadata = ()

    async def run(self) -> None:
        try:
            self.metadata = await self._call.headers()
            while (message := await self._call.read()) is not None:
                await self.queue.put(message)
            await self.queue.put(_End(None, await self._call.trailers()))
        except CallError as error:
            await self.queue.put(_End(error))


async def _write(exchange: Exchange, reader: _Reader, sink: Sink) -> None:
    options = exchange.options
    first = await _next(reader.queue, options.flush_after_s if sink.opens_early else None)
    if isinstance(first, _End) and first.error is not None:
        raise first.error
    message = first if isinstance(first, bytes) else None
    await exchange.start(*sink.open(reader.metadata, message, ended=isinstance(first, _End)))
    if exchange.method == "HEAD":
        await exchange.write(b"", more=False)
        return
    if first is None:
        await exchange.write(b"")
    item = first
    while True:
        if item is None:
            item = await _next(reader.queue, options.heartbeat_s if sink.heartbeat else None)
            if item is None:
                await exchange.write(sink.heartbeat)
                continue
        chunk, end = _gather(item, reader.queue, sink)
        if end is None:
            await exchange.write(chunk)
            item = None
            continue
        if end.error is not None:
            if chunk:
                await exchange.write(chunk)
            raise end.error
        await exchange.write(chunk + sink.end(end.trailers), more=False)
        return


def _gather(item: _Item, queue: asyncio.Queue[_Item], sink: Sink) -> tuple[bytes, _End | None]:
    """What is there by now, as one chunk, and the end if that is there too."""
    parts: list[bytes] = []
    size = 0
    while isinstance(item, bytes):
        try:
            part = sink.item(item)
        except CallError as error:
            return b"".join(parts), _End(error)
        parts.append(part)
        size += len(part)
        if size >= _CHUNK_BYTES or queue.empty():
            return b"".join(parts), None
        item = queue.get_nowait()
    return b"".join(parts), item


async def _next(queue: asyncio.Queue[_Item], timeout_s: float | None) -> _Item | None:
    try:
        async with asyncio.timeout(timeout_s):
            return await queue.get()
    except TimeoutError:
        return None


async def _fail(exchange: Exchange, sink: Sink, error: CallError) -> None:
    if not exchange.started:
        raise error
    last = sink.error(error)
    if last is not None:
        await exchange.write(last, more=False)


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
