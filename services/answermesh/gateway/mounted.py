"""The gateway as an application to serve or to mount: it opens its own connection, and learns the schema by itself."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from answermesh.gateway.application import Gateway
from answermesh.gateway.descriptors import schema
from answermesh.gateway.http.asgi import Receive, Scope, Send
from answermesh.gateway.options import Options
from answermesh.gateway.setup import Member, Reach
from answermesh.gateway.source import Asked, SchemaSource
from answermesh.gateway.upstream.opening import open_upstream

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
        self._stack = AsyncExitStack()
        self._opened: tuple[Gateway, SchemaSource] | None = None
        self._lock = asyncio.Lock()
        self._asked_at = -_ASK_AGAIN_S
        self._follows = False
        if descriptor_set is not None:
            # For its errors: a bad set is told at once, not with the first request.
            schema.load(descriptor_set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: http and lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        gateway, source = self._opened or await self._open()
        if not gateway.has_plan and not self._follows:
            await self._ask(gateway, source)
        await gateway(scope, receive, send)

    async def aclose(self) -> None:
        """Close the connection; calls under way are cancelled."""
        self._opened = None
        await self._stack.aclose()

    async def _open(self) -> tuple[Gateway, SchemaSource]:
        async with self._lock:
            if self._opened is None:
                # Here, since a connection belongs to the running loop.
                upstream = await self._stack.enter_async_context(open_upstream(self._target, Reach()))
                gateway = Gateway(upstream.calls, options=self._options)
                source = SchemaSource(gateway, [Asked(Member(self._target), upstream.calls)])
                if self._set is not None:
                    source.use_sets([self._set])
                self._opened = gateway, source
            return self._opened

    async def _ask(self, gateway: Gateway, source: SchemaSource) -> None:
        async with self._lock:
            if gateway.has_plan or time.monotonic() < self._asked_at + _ASK_AGAIN_S:
                return
            await source.ask_once()
            self._asked_at = time.monotonic()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        gateway, source = await self._open()
        self._follows = True
        async with asyncio.TaskGroup() as group:
            follower = group.create_task(source.follow())
            await send({"type": "lifespan.startup.complete"})
            await receive()
            gateway.drain()
            follower.cancel()
        await self.aclose()
        await send({"type": "lifespan.shutdown.complete"})
