"""One HTTP request and its answer over ASGI: bounded reading, bounded writing, and knowing when the client is gone."""

from __future__ import annotations

import asyncio
import gzip
import uuid
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

from answermesh.gateway.metadata import Headers
from answermesh.gateway.options import Options
from answermesh.gateway.status import CallError, refused

T = TypeVar("T")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_COMPRESSIBLE = ("application/json", "application/grpc-web-text", "text/")


class ClientGone(Exception):
    """The client hung up, or took nothing for too long: nobody is there to answer."""


class Exchange:
    """What one request says, and the way to answer it once."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, options: Options) -> None:
        self.method: str = scope["method"].upper()
        root = scope.get("root_path", "").rstrip("/")
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        path = raw.partition(b"?")[0].decode("latin-1")
        self.root = root
        self.path = path.removeprefix(root) if root else path
        self.query: str = scope.get("query_string", b"").decode("latin-1")
        self.raw_headers: Headers = list(scope["headers"])
        # Of a header that comes more than once, the first.
        self.headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in reversed(self.raw_headers)
        }
        self.request_id = self._request_id()
        self.options = options
        self.status = 0
        self.sent_bytes = 0
        # Full name of the RPC, for the access log.
        self.rpc = ""
        self._receive = receive
        self._send = send
        self._body_ended = False

    def _request_id(self) -> str:
        given = self.headers.get("x-request-id", "")
        if given and len(given) <= 128 and given.isascii() and given.isprintable():
            return given
        return uuid.uuid4().hex

    @property
    def content_type(self) -> str:
        """The request's Content-Type as it was sent; "" for none."""
        return self.headers.get("content-type", "")

    @property
    def started(self) -> bool:
        """Whether the answer's status has been sent."""
        return self.status != 0

    # ------------------------------------------------------------ reading
    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises ClientGone."""
        while not self._body_ended:
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise ClientGone
            self._body_ended = not event.get("more_body", False)
            if chunk := event.get("body", b""):
                yield chunk

    async def body(self) -> bytes:
        """The whole body. Raises CallError (413) for one over the limit, ClientGone."""
        limit = self.options.max_body_bytes
        declared = self.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limit:
            raise self.too_large()
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                raise self.too_large()
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        return self._decompressed(body) if "content-encoding" in self.headers else body

    def too_large(self) -> CallError:
        """The error of a body over the limit."""
        limit = self.options.max_body_bytes
        return refused("BODY_TOO_LARGE", f"The body is larger than {limit} bytes; send less.", http_status=413)

    def _decompressed(self, body: bytes) -> bytes:
        encoding = self.headers["content-encoding"].strip().lower()
        if encoding in ("", "identity"):
            return body
        if encoding != "gzip":
            raise refused(
                "UNSUPPORTED_ENCODING", "Content-Encoding must be gzip or absent.", http_status=415,
                headers=[("accept-encoding", "gzip")],
            )  # fmt: skip
        limit = self.options.max_body_bytes
        try:
            plain = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(body, limit + 1)
        except zlib.error as error:
            raise refused("INVALID_ENCODING", "The body is no gzip.") from error
        if len(plain) > limit:
            raise self.too_large()
        return plain

    async def gone(self) -> None:
        """Waits until the client hangs up, then raises ClientGone. The body must have been read."""
        async for _ in self.chunks():
            pass
        while True:
            if (await self._receive())["type"] == "http.disconnect":
                raise ClientGone

    async def attended(self, work: Awaitable[T]) -> T:
        """The result of `work`, which is cancelled if the client hangs up (ClientGone)."""
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

    # ------------------------------------------------------------ writing
    async def start(self, status: int, headers: Headers) -> None:
        """Send status and headers. CORS and the request id are added."""
        self.status = status
        headers.append((b"x-request-id", self.request_id.encode()))
        headers.extend(self._cors())
        await self._sent({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, chunk: bytes, *, more: bool = True) -> None:
        """Send a part of the body; waits while the client takes nothing, at most `stall_s` (ClientGone)."""
        self.sent_bytes += len(chunk)
        await self._sent({"type": "http.response.body", "body": chunk, "more_body": more})

    async def answer(self, status: int, content_type: str, body: bytes, headers: Headers | None = None) -> None:
        """Send a whole answer, compressed where that helps."""
        headers = headers or []
        if content_type:
            headers.append((b"content-type", content_type.encode("latin-1", "replace")))
        if content_type.startswith(_COMPRESSIBLE) and len(body) >= self.options.gzip_from_bytes:
            headers.append((b"vary", b"accept-encoding"))
            if _takes_gzip(self.headers.get("accept-encoding", "")):
                headers.append((b"content-encoding", b"gzip"))
                body = gzip.compress(body, 5, mtime=0)
        headers.append((b"content-length", str(len(body)).encode()))
        await self.start(status, headers)
        await self.write(b"" if self.method == "HEAD" else body, more=False)

    async def _sent(self, event: MutableMapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(self.options.stall_s):
                await self._send(event)
        except TimeoutError:
            raise ClientGone from None
        except OSError:
            raise ClientGone from None

    def _cors(self) -> Headers:
        origin = self.headers.get("origin")
        if origin is None or not self.options.cors_origins:
            return []
        if "*" in self.options.cors_origins:
            allowed = b"*"
        elif origin in self.options.cors_origins:
            allowed = origin.encode("latin-1")
        else:
            return []
        exposed = b"x-request-id, retry-after, grpc-status, grpc-message, grpc-status-details-bin"
        return [
            (b"access-control-allow-origin", allowed),
            (b"access-control-expose-headers", exposed),
            (b"vary", b"origin"),
        ]


def _takes_gzip(accept_encoding: str) -> bool:
    for coding in accept_encoding.lower().split(","):
        name, _, parameters = coding.partition(";")
        if name.strip() in ("gzip", "*"):
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
