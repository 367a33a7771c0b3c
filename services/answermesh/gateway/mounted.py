"""The gateway as an application to serve or to mount: it opens its own connection, and learns the schema by itself."""

from __future__ import annotations

import asyncio
import contextlib
import time

import grpc

from answermesh.gateway import source
from answermesh.gateway.application import Gateway
from answermesh.gateway.descriptors.reflection import fetch
from answermesh.gateway.descriptors.schema import SchemaError
from answermesh.gateway.http.asgi import Receive, Scope, Send
from answermesh.gateway.options import Options
from answermesh.gateway.status import CallError
from answermesh.gateway.upstream.grpc_channel import GrpcUpstream
from answermesh.rpc.channel import open_channel
from answermesh.rpc.options import Keepalive

# Servers that are not ours take a ping every 5 minutes, and answer more of them with GOAWAY (gRPC's default).
_KEEPALIVE = Keepalive(time_s=300.0, timeout_s=20.0)
# Without a lifespan, a request asks for the schema itself, at most this often.
_ASK_AGAIN_S = 1.0


def app(upstream: str, *, descriptor_set: bytes | None = None, options: Options | None = None) -> MountedGateway:
    """An ASGI application that serves the gRPC services at the target `upstream` over HTTP.

    With `descriptor_set` (a serialised FileDescriptorSet) that is the schema, else the upstream's reflection is asked.
    Mount it anywhere; where the server runs its lifespan, the schema follows the upstream's, else it is learned with
    the first request, and `aclose` closes the connection. Raises schema.SchemaError for an unusable set.
    """
    return MountedGateway(upstream, descriptor_set, options or Options())


class MountedGateway:
    """See `app`."""

    def __init__(self, upstream: str, descriptor_set: bytes | None, options: Options) -> None:
        self._target = upstream
        self._options = options
        self._set = descriptor_set
        self._channel: grpc.aio.Channel | None = None
        self._gateway: Gateway | None = None
        self._calls: GrpcUpstream | None = None
        self._asking = asyncio.Lock()
        self._asked_at = -_ASK_AGAIN_S
        self._follows = False
        if descriptor_set is not None:
            # For its errors: a bad set is told at once, not with the first request.
            source.check(descriptor_set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: http and lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        gateway, calls = self._open()
        if self._set is None and not self._follows and not gateway.has_plan:
            await self._ask(gateway, calls)
        await gateway(scope, receive, send)

    async def aclose(self) -> None:
        """Close the connection; calls under way are cancelled."""
        channel, self._channel, self._gateway = self._channel, None, None
        if channel is not None:
            await channel.close()

    def _open(self) -> tuple[Gateway, GrpcUpstream]:
        if self._gateway is None or self._calls is None:
            # Here, since a channel belongs to the running loop.
            self._channel = open_channel(self._target, keepalive=_KEEPALIVE)
            self._calls = GrpcUpstream(self._channel)
            self._gateway = Gateway(self._calls, options=self._options)
            if self._set is not None:
                source.install(self._gateway, self._set)
        return self._gateway, self._calls

    async def _ask(self, gateway: Gateway, calls: GrpcUpstream) -> None:
        async with self._asking:
            if gateway.has_plan or time.monotonic() < self._asked_at + _ASK_AGAIN_S:
                return
            with contextlib.suppress(CallError, SchemaError):
                source.install(gateway, await fetch(calls))
            self._asked_at = time.monotonic()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        gateway, calls = self._open()
        async with asyncio.TaskGroup() as group:
            if self._set is None:
                self._follows = True
                follower = group.create_task(source.follow(gateway, calls))
            await send({"type": "lifespan.startup.complete"})
            await receive()
            gateway.drain()
            if self._set is None:
                follower.cancel()
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})
