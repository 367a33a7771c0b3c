"""An exchange over ASGI, whatever server is beneath."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

from answermesh.gateway.http.exchange import ClientGone, Exchange
from answermesh.gateway.metadata import Headers
from answermesh.gateway.options import Options
from answermesh.gateway.status import CallError

T = TypeVar("T")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class AsgiExchange(Exchange):
    """One call of an ASGI application of type http."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, options: Options, cut: Callable[[], object]) -> None:
        root = scope.get("root_path", "").rstrip("/")
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw.partition(b"?")[0].decode("latin-1")
        headers = [(name.lower(), value) for name, value in scope["headers"]]
        super().__init__(
            scope["method"].upper(),
            path.removeprefix(root) if root else path,
            scope.get("query_string", b"").decode("latin-1"),
            headers,
            options,
            cut,
        )
        self.root = root
        self.peer = (scope.get("client") or ("",))[0]
        self._receive = receive
        self._send = send
        self._body_ended = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """See Exchange."""
        while not self._body_ended:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise ClientGone
            self._body_ended = not event.get("more_body", False)
            if chunk := event.get("body", b""):
                self.received_bytes += len(chunk)
                yield chunk

    async def gone(self) -> None:
        """See Exchange."""
        async for _ in self.chunks():
            pass
        while True:
            if (await self._receive())["type"] == "http.disconnect":
                raise ClientGone

    async def attended(self, work: Awaitable[T]) -> T:
        """See Exchange."""
        failure: CallError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                watcher = group.create_task(self.gone())
                try:
                    result = await work
                except CallError as error:
                    failure = error
                finally:
                    watcher.cancel()
        except BaseExceptionGroup as errors:
            if errors.subgroup(ClientGone) is not None:
                raise ClientGone from None
            raise
        if failure is not None:
            raise failure
        return result

    async def _send_head(self, status: int, headers: Headers) -> None:
        await self._sent({"type": "http.response.start", "status": status, "headers": headers})

    async def _send_body(self, chunk: bytes, *, more: bool) -> None:
        await self._sent({"type": "http.response.body", "body": chunk, "more_body": more})

    async def _sent(self, event: MutableMapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(self.options.stall_s):
                await self._send(event)
        except (TimeoutError, OSError):
            raise ClientGone from None
