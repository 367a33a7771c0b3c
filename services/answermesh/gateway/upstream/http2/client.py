"""The upstream over an HTTP/2 client of our own. See calls.Upstream for what it promises."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from types import TracebackType

from grpc import StatusCode

from answermesh.gateway.status import CallError, Metadata
from answermesh.gateway.upstream.calls import Completion, Reply, Unprocessed
from answermesh.gateway.upstream.http2.call import Http2Call
from answermesh.gateway.upstream.http2.connection import Connection
from answermesh.gateway.upstream.http2.options import Http2Options
from answermesh.gateway.upstream.http2.pool import Pool
from answermesh.gateway.upstream.http2.requests import RequestHeaders
from answermesh.gateway.upstream.http2.stream import NEVER
from answermesh.gateway.upstream.http2.streaming import StreamingStream
from answermesh.gateway.upstream.http2.targets import parse_target
from answermesh.gateway.upstream.http2.unary import UnaryStream

# RFC 9113 10.5.1: the size of a header list counts so many bytes more for each field. Ours have nine of their own.
_FIELD_BYTES = 32
_OWN_FIELDS = 9


class Http2Upstream:
    """A service behind a gRPC target. Belongs to the running loop; connects with the first call; `aclose` it.

    Raises Failure(INVALID_FIELD) for a target that is none.
    """

    def __init__(self, target: str, options: Http2Options = Http2Options()) -> None:  # noqa: B008 - frozen
        parsed = parse_target(target)
        self._loop = asyncio.get_running_loop()
        self._max_message_bytes = options.max_message_bytes
        self._headers = RequestHeaders(
            "http" if options.tls is None else "https", options.server_name or parsed.authority
        )
        self._pool = Pool(parsed, options, self._headers)

    # ------------------------------------------------------------ calls
    async def unary(self, path: str, message: bytes, metadata: Metadata, timeout_s: float | None) -> Reply:
        """See Upstream."""
        deadline = NEVER if timeout_s is None else self._loop.time() + timeout_s
        try:
            return await self._unary(path, message, metadata, timeout_s, deadline)
        except Unprocessed:
            # Once more, for nobody has seen it.
            return await self._unary(path, message, metadata, self._left_s(deadline), deadline)

    async def _unary(
        self, path: str, message: bytes, metadata: Metadata, timeout_s: float | None, deadline: float
    ) -> Reply:
        connection = self._pool.pick()
        if connection is None:
            connection = await self._pool.acquire(deadline)
            timeout_s = self._left_s(deadline)
        future: asyncio.Future[Reply] = self._loop.create_future()
        stream = self._open_unary(connection, path, message, metadata, timeout_s, deadline, future)
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled():
                # Looked at, so that a failure which nobody waits for any more is not logged as forgotten.
                future.exception()
            stream.cancel()
            raise

    def start(
        self, path: str, message: bytes, metadata: Metadata, timeout_s: float | None, completion: Completion
    ) -> UnaryStream | None:
        """See Upstream."""
        connection = self._pool.pick()
        if connection is None:
            return None
        deadline = NEVER if timeout_s is None else self._loop.time() + timeout_s
        return self._open_unary(connection, path, message, metadata, timeout_s, deadline, completion)

    def _open_unary(
        self,
        connection: Connection,
        path: str,
        message: bytes,
        metadata: Metadata,
        timeout_s: float | None,
        deadline: float,
        completion: Completion,
    ) -> UnaryStream:
        stream = UnaryStream(connection, deadline, completion)
        if len(message) > self._max_message_bytes:
            raise self._too_large(message)
        connection.open(stream, self._block(connection, path, metadata, timeout_s), message)
        return stream

    def stream(self, path: str, metadata: Metadata, timeout_s: float | None, only: bytes | None = None) -> Http2Call:
        """See Upstream."""
        deadline = NEVER if timeout_s is None else self._loop.time() + timeout_s
        return Http2Call(partial(self._open_stream, path, metadata, deadline), only)

    async def _open_stream(self, path: str, metadata: Metadata, deadline: float, only: bytes | None) -> StreamingStream:
        connection = self._pool.pick() or await self._pool.acquire(deadline)
        stream = StreamingStream(connection, deadline, is_patient=only is not None)
        if only is not None and len(only) > self._max_message_bytes:
            raise self._too_large(only)
        connection.open(stream, self._block(connection, path, metadata, self._left_s(deadline)), only)
        return stream

    def _left_s(self, deadline: float) -> float | None:
        return None if deadline == NEVER else max(0.0, deadline - self._loop.time())

    def _too_large(self, message: bytes) -> CallError:
        return CallError(
            StatusCode.RESOURCE_EXHAUSTED,
            f"The request message of {len(message)} bytes is larger than {self._max_message_bytes}; send less.",
        )

    def _block(self, connection: Connection, path: str, metadata: Metadata, timeout_s: float | None) -> bytes:
        block = self._headers.block(path, metadata, timeout_s)
        if len(block) + _FIELD_BYTES * (len(metadata) + _OWN_FIELDS) > connection.max_header_bytes:
            raise CallError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"The metadata is larger than the {connection.max_header_bytes} bytes of headers that the upstream "
                "takes; send less.",
            )
        return block

    # ------------------------------------------------------------ for metrics
    @property
    def calls_in_flight(self) -> int:
        """Calls under way, with the watches of servers' health."""
        return sum(len(connection.streams) for connection in self._pool.connections)

    @property
    def calls_waiting(self) -> int:
        """Calls that wait for a connection, or for room on one."""
        return len(self._pool.waiting)

    @property
    def connections(self) -> dict[str, int]:
        """Addresses by state (connecting, ready, unhealthy, failed), and connections that only finish: draining."""
        states = Counter(link.state.value for link in self._pool.links)
        states["draining"] = sum(connection.is_draining for connection in self._pool.connections)
        return dict(states)

    @property
    def reconnects(self) -> int:
        """Connections made after the first to each address."""
        return self._pool.reconnects

    # ------------------------------------------------------------ the end
    async def aclose(self) -> None:
        """Close all connections; calls under way fail."""
        await self._pool.aclose()

    async def __aenter__(self) -> Http2Upstream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
