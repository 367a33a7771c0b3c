"""One address, kept connected: connects, asks the server's health, connects again when the connection goes.

connecting -> ready <-> unhealthy, and from all of them: -> failed (pausing) -> connecting
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from google.protobuf.message import DecodeError
from grpc import StatusCode
from grpc_health.v1 import health_pb2

from answermesh.gateway.status import CallError
from answermesh.gateway.upstream.http2.backoff import pause_s
from answermesh.gateway.upstream.http2.connect import connect
from answermesh.gateway.upstream.http2.connection import Connection
from answermesh.gateway.upstream.http2.options import Http2Options, Keepalive
from answermesh.gateway.upstream.http2.requests import RequestHeaders
from answermesh.gateway.upstream.http2.stream import NEVER
from answermesh.gateway.upstream.http2.streaming import StreamingStream
from answermesh.gateway.upstream.http2.targets import Address

_WATCH = "/grpc.health.v1.Health/Watch"
# A connection that lasted this long was a good one: the next is made at once.
_GOOD_S = 1.0


class State(Enum):
    """Of a link."""

    CONNECTING = "connecting"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    FAILED = "failed"


class Link:
    """See the module. `run` is one task, the pool's; `on_change` is called when the state has changed."""

    def __init__(
        self,
        address: Address,
        options: Http2Options,
        headers: RequestHeaders,
        make: Callable[[Address, Keepalive], Connection],
        on_change: Callable[[], None],
        *,
        extra: bool = False,
    ) -> None:
        self.address = address
        self.state = State.CONNECTING
        self.connection: Connection | None = None
        # One of several to the same address, which ends with its connection.
        self.extra = extra
        # In a row, and why the last one was.
        self.failures = 0
        self.error = ""
        self.connects = 0
        self._options = options
        self._keepalive = options.keepalive
        self._headers = headers
        self._make = make
        self._on_change = on_change

    async def run(self) -> None:
        """Keep the address connected until cancelled; an extra link until its connection goes."""
        try:
            while True:
                self._enter(State.CONNECTING)
                await self._once()
                if self.extra:
                    return
        finally:
            if self.connection is not None:
                self.connection.drain()

    async def _once(self) -> None:
        """One connection, from its making to its leaving, and the pause after a bad one."""
        loop = asyncio.get_running_loop()
        open_since = math.inf
        try:
            self.connection = await connect(
                self.address, self._options, lambda: self._make(self.address, self._keepalive)
            )
            open_since = loop.time()
            self.connects += 1
            await self._attend(self.connection)
            self.error = f"The connection to {self.address} ended."
            if self.connection.pinged_too_much:
                self._keepalive = _calmer(self._keepalive)
        except OSError as error:
            self.error = f"No connection to {self.address}: {error}."
        self.connection = None
        if loop.time() - open_since > _GOOD_S:
            self.failures = 0
            return
        self.failures += 1
        self._enter(State.FAILED)
        await asyncio.sleep(pause_s(self._options.backoff, self.failures, random.random()))  # noqa: S311

    def _enter(self, state: State) -> None:
        self.state = state
        self._on_change()

    async def _attend(self, connection: Connection) -> None:
        """Follow the server's health until the connection takes no more calls."""
        service = self._options.health_service
        while service is not None and not connection.is_draining:
            try:
                await self._watch(connection, service)
            except CallError as error:
                if error.code is StatusCode.UNIMPLEMENTED:
                    # A server without a word on its health counts as healthy (gRPC's health checking).
                    break
            self._enter(State.UNHEALTHY)
            # It ended the watch, which it should not; not so fast again.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.backoff.most_s):
                    await asyncio.shield(connection.leaving)
        if not connection.is_draining:
            self._enter(State.READY)
        await asyncio.shield(connection.leaving)

    async def _watch(self, connection: Connection, service: str) -> None:
        """One watch of the server's health, until it ends. Raises CallError."""
        if not connection.has_room:
            return
        stream = StreamingStream(connection, NEVER)
        request = health_pb2.HealthCheckRequest(service=service).SerializeToString()
        connection.watch = stream
        try:
            connection.open(stream, self._headers.block(_WATCH, (), None), request)
            await self._follow(stream)
        finally:
            connection.watch = None

    async def _follow(self, stream: StreamingStream) -> None:
        """Enter the state that the server tells, each time that it tells one. Raises CallError."""
        try:
            async with asyncio.timeout(self._options.connect_timeout_s):
                messages = await stream.read()
        except TimeoutError:
            self.error = f"The server at {self.address} does not tell its health."
            self._enter(State.UNHEALTHY)
            messages = await stream.read()
        while messages:
            serves = _serves(messages[-1])
            if not serves:
                self.error = f"The server at {self.address} says that it is not serving."
            self._enter(State.READY if serves else State.UNHEALTHY)
            messages = await stream.read()


def _serves(message: bytes) -> bool:
    try:
        told = health_pb2.HealthCheckResponse.FromString(message)
    except DecodeError:
        return False
    return bool(told.status == health_pb2.HealthCheckResponse.SERVING)


def _calmer(keepalive: Keepalive) -> Keepalive:
    """Half as many pings, for a server that complained (gRFC A8)."""
    return replace(keepalive, time_s=keepalive.time_s * 2, slow_s=keepalive.slow_s * 2, early_pings=1)
