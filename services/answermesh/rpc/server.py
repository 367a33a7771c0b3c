"""A gRPC server of the mesh: its services at the edge, health, reflection, and an end that loses no call.

server = Server("unix:/run/models.sock")
server.add(add_ModelServiceServicer_to_server, servicer)
address = await server.start()
...
await server.drain()
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

import grpc

from answermesh.errors import Failure, Reason, invalid_field
from answermesh.rpc import forward, health, listen, options, reflection
from answermesh.rpc.edge import Edge, Handler
from answermesh.rpc.tenancy import DEFAULT_TENANT

# No service takes as long to be drained.
_LONGEST_S = 3600.0
# How long drain waits for handlers that were cancelled to clean up.
_CLEAN_UP_S = 5.0


class Server:
    """One server; make it within the event loop that it is to run in."""

    def __init__(
        self,
        listen: str,
        *,
        tenant: str = DEFAULT_TENANT,
        drain_wait_s: float = 0.5,
        keepalive: options.Keepalive = options.Keepalive(),  # noqa: B008 - frozen
        max_concurrent_streams: int = options.MAX_CONCURRENT_STREAMS,
        shares_port: bool = False,
    ) -> None:
        """Listens on `listen`, "HOST:PORT" (port 0 = chosen by the kernel) or "unix:PATH", once started.

        `drain_wait_s` is how long clients have to see that the server is about to stop; as measured, 0.5 s is enough
        for all of them on one machine. With `shares_port`, another server that says so too may listen on the same port,
        which the kernel then gives new connections in turn.
        """
        self._listen = listen
        # Where a successor listens already, connections that end lead to it: nobody has to be told before.
        self.drain_wait_s = 0.0 if shares_port else drain_wait_s
        self._shares_port = shares_port
        self._health = health.Health()
        self._edge = Edge(tenant)
        # Set when clients are told to go elsewhere: streams that would stay open for ever end by it, and what a service
        # has to hand over, it hands over then.
        self.draining = asyncio.Event()
        # A service whose calls cannot go on elsewhere clears it, and sets it when it has brought them to their end.
        self.drained = asyncio.Event()
        self.drained.set()
        self._services: list[str] = []
        self._started = False
        self._server = grpc.aio.server(
            options=options.server_options(
                keepalive=keepalive, max_concurrent_streams=max_concurrent_streams, shares_port=shares_port
            )
        )

    def add(self, adder: Callable[[Any, grpc.aio.Server], None], servicer: object) -> None:
        """Serve `servicer`; `adder` is the generated `add_…Servicer_to_server`. Before `start`."""
        adder(servicer, cast(grpc.aio.Server, _Registrar(self._register)))

    def forward(self, service_name: str, channel: grpc.aio.Channel) -> None:
        """Pass all calls of a service, e.g. "answermesh.v1.DocumentService", on over `channel`. Before `start`."""
        self._register(service_name, forward.handlers(service_name, channel))

    async def start(self) -> str:
        """Serve, and return the address bound: "127.0.0.1:43211" or "unix:/path.sock". Health becomes SERVING.

        Raises Failure(INVALID_FIELD) where the address cannot be listened on.
        """
        listen.claim(self._listen)
        self._register(health.SERVICE, self._health.handlers())
        for service, handlers in reflection.handlers(self._services).items():
            self._register(service, handlers)
        self._server.add_generic_rpc_handlers((_Unknown(self._edge),))
        try:
            port = self._server.add_insecure_port(self._listen)
        except RuntimeError as error:
            raise invalid_field(
                "listen", f"{self._listen} cannot be listened on; choose a free port of an address of this machine."
            ) from error
        if path := listen.socket_path(self._listen):
            path.chmod(0o600)
        await self._server.start()
        self._started = True
        self.set_serving(True)
        return listen.bound(self._listen, port)

    @property
    def call_count(self) -> int:
        """Calls that are being served now, watchers of health included."""
        return len(self._edge.calls)

    def set_serving(self, serving: bool) -> None:
        """Tell health probes, and the channels of clients, whether to send calls here."""
        self._health.set_serving(serving)

    async def drain(self, grace_s: float = 5.0) -> None:
        """Stop without losing a call.

        Clients learn that no more is served here, and go elsewhere; after that, running calls have `grace_s` to end,
        and until `drained`, before they are cancelled. Returns when the last handler has cleaned up. Cancelled, it
        stops at once.
        """
        self.draining.set()
        if not self._shares_port:
            self.set_serving(False)
        try:
            if self._started:
                await asyncio.sleep(self.drain_wait_s)
            self._health.end()
            async with asyncio.TaskGroup() as group:
                stopping = group.create_task(self._server.stop(_LONGEST_S))
                await asyncio.wait([stopping], timeout=grace_s)
                await self.drained.wait()
                await self._server.stop(None)
        except asyncio.CancelledError:
            await self._server.stop(None)
            raise
        # stop() returns as soon as the calls are cancelled, not when their handlers are done.
        if self._edge.calls:
            await asyncio.wait(self._edge.calls, timeout=_CLEAN_UP_S)

    def _register(self, service: str, handlers: Mapping[str, Handler]) -> None:
        wrapped = {name: self._edge.wrap(f"{service}/{name}", handler) for name, handler in handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, wrapped),))
        self._services.append(service)
        self._health.add(service)


class _Registrar:
    """What generated code takes for a server: hands over the handlers, so that they can be wrapped once."""

    def __init__(self, register: Callable[[str, Mapping[str, Handler]], None]) -> None:
        self._register = register

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """The same handlers again, without their names."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        self._register(service, handlers)


class _Unknown(grpc.GenericRpcHandler):
    """The last resort: calls of methods that nobody registered fail like all others, with a reason."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        method = handler_call_details.method

        async def refuse(requests: object, context: object) -> None:
            raise Failure(Reason.UNIMPLEMENTED, f"This server has no method {method}; list what it has by reflection.")

        return self._edge.wrap(method, grpc.stream_stream_rpc_method_handler(refuse))
