"""One HTTP request and its answer: bounded reading, bounded writing, and knowing when the client is gone.

`Exchange` is what the protocols see of it. It has two faces: `asgi`, for any ASGI server, and `http1`, on a socket.
"""

from __future__ import annotations

import gzip
import itertools
import os
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from answermesh.gateway.http.encoding import is_plain, takes_gzip, unzip
from answermesh.gateway.metadata import Headers
from answermesh.gateway.options import Options
from answermesh.gateway.status import CallError, refused

T = TypeVar("T")

_JSON = (b"content-type", b"application/json")
_COMPRESSIBLE = ("application/json", "application/grpc-web-text", "text/")
# All, for the service's metadata is for pages too; the names stand for browsers that do not know the star.
_EXPOSED = b"*, x-request-id, retry-after, grpc-status, grpc-message, grpc-status-details-bin"
# Ids are unlike those of other processes by their first half, and of one process by their second.
_PROCESS_ID = os.urandom(8).hex()
_numbers = itertools.count(1)


class ClientGone(Exception):
    """The client hung up, or took nothing for too long: nobody is there to answer."""


class Exchange(ABC):
    """What one request says, and the way to answer it once."""

    # Where the gateway is mounted: "" or "/some/path".
    root = ""
    # Of the answer: its HTTP status, 0 before it is started, and the size of its body so far.
    status = 0
    sent_bytes = 0
    # Set by the face for a request that is no proper HTTP: what it is to be told.
    refusal: CallError | None = None
    # For those who look on: full name of the RPC, how it was called, how it failed, messages if it streams.
    rpc = ""
    protocol = "rest"
    error: CallError | None = None
    streams = False
    messages_in = 0
    messages_out = 0
    received_bytes = 0
    # The client's address without its port; "" where there is none.
    peer = ""
    _request_id = ""
    _headers: dict[str, str] | None = None

    def __init__(
        self, method: str, path: str, query: str, headers: Headers, options: Options, cut: Callable[[], object]
    ) -> None:
        """`headers` have lower-case names; `cut` ends the exchange from outside, its answer unfinished."""
        self.method = method
        self.path = path
        self.query = query
        self.raw_headers = headers
        # Of a header that comes more than once, the first.
        self.fields: dict[bytes, bytes] = dict(reversed(headers))
        self.options = options
        self.cut = cut
        # On the clock that measures durations.
        self.began_s = time.perf_counter()

    @property
    def request_id(self) -> str:
        """The client's X-Request-Id, or one of our own."""
        if not self._request_id:
            given = self.fields.get(b"x-request-id", b"").decode("latin-1")
            usable = 0 < len(given) <= 128 and given.isascii() and given.isprintable()
            self._request_id = given if usable else f"{_PROCESS_ID}{next(_numbers):016x}"
        return self._request_id

    @property
    def headers(self) -> dict[str, str]:
        """`fields` as text."""
        if self._headers is None:
            self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.fields.items()}
        return self._headers

    @property
    def content_type(self) -> str:
        """The request's Content-Type as it was sent; "" for none."""
        sent = self.fields.get(b"content-type")
        return sent.decode("latin-1") if sent is not None else ""

    def head_exceeds(self, limit: int) -> bool:
        """Whether header names and values are larger than `limit` bytes."""
        return sum(len(name) + len(value) for name, value in self.raw_headers) > limit

    @property
    def started(self) -> bool:
        """Whether the answer's status has been sent."""
        return self.status != 0

    # ------------------------------------------------------------ what the faces do
    @abstractmethod
    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises ClientGone."""

    @abstractmethod
    async def gone(self) -> None:
        """Returns or raises ClientGone when the client hangs up, if that is not told by cancelling the exchange."""

    @abstractmethod
    def attended(self, work: Awaitable[T]) -> Awaitable[T]:
        """The result of `work`, cancelled if the client hangs up (ClientGone). The body must have been read."""

    @abstractmethod
    async def _send_head(self, status: int, headers: Headers) -> None: ...

    @abstractmethod
    async def _send_body(self, chunk: bytes, *, more: bool) -> None: ...

    async def _send_whole(self, status: int, headers: Headers, body: bytes) -> None:
        await self._send_head(status, headers)
        await self._send_body(body, more=False)

    # ------------------------------------------------------------ reading
    async def body(self) -> bytes:
        """The whole body. Raises CallError (413) for one over the limit, ClientGone."""
        limit = self.options.max_body_bytes
        declared = self.fields.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > limit:
            raise self.too_large()
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                raise self.too_large()
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        return self._decompressed(body) if b"content-encoding" in self.fields else body

    def too_large(self) -> CallError:
        """The error of a body over the limit."""
        limit = self.options.max_body_bytes
        return refused("BODY_TOO_LARGE", f"The body is larger than {limit} bytes; send less.", http_status=413)

    def _decompressed(self, body: bytes) -> bytes:
        return body if is_plain(self.headers["content-encoding"]) else unzip(body, self.options.max_body_bytes)

    # ------------------------------------------------------------ writing
    async def start(self, status: int, headers: Headers) -> None:
        """Send status and headers. CORS and the request id are added."""
        self.status = status
        self._add_own(headers)
        await self._send_head(status, headers)

    async def write(self, chunk: bytes, *, more: bool = True) -> None:
        """Send a part of the body; waits while the client takes nothing, at most `stall_s` (ClientGone)."""
        self.sent_bytes += len(chunk)
        await self._send_body(chunk, more=more)

    async def answer(self, status: int, content_type: str, body: bytes, headers: Headers | None = None) -> None:
        """Send a whole answer, compressed where that helps."""
        await self._send_whole(status, *self._whole(status, content_type, body, headers))

    def _whole(self, status: int, content_type: str, body: bytes, headers: Headers | None) -> tuple[Headers, bytes]:
        headers = [] if headers is None else headers
        if content_type == "application/json":
            headers.append(_JSON)
        elif content_type:
            headers.append((b"content-type", content_type.encode("latin-1", "replace")))
        if len(body) >= self.options.gzip_from_bytes and content_type.startswith(_COMPRESSIBLE):
            headers.append((b"vary", b"accept-encoding"))
            if takes_gzip(self.headers.get("accept-encoding", "")):
                headers.append((b"content-encoding", b"gzip"))
                body = gzip.compress(body, 5, mtime=0)
        headers.append((b"content-length", b"%d" % len(body)))
        self._add_own(headers)
        self.status = status
        if self.method == "HEAD":
            body = b""
        self.sent_bytes = len(body)
        return headers, body

    def _add_own(self, headers: Headers) -> None:
        headers.append((b"x-request-id", self.request_id.encode()))
        origin = self.fields.get(b"origin")
        if origin is None or not self.options.cors_origins:
            return
        if "*" in self.options.cors_origins:
            allowed = b"*"
        elif origin.decode("latin-1") in self.options.cors_origins:
            allowed = origin
        else:
            return
        headers += [
            (b"access-control-allow-origin", allowed),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"origin"),
        ]
