"""gRPC-Web beside REST on the same port: binary and text, unary and server streams.

Messages pass as they are; only the envelope changes. Status and trailers are the last envelope (flag 0x80) of a 200.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import AsyncIterator, Sequence
from urllib.parse import quote

from answermesh.gateway.http.exchange import Exchange
from answermesh.gateway.metadata import Headers, to_headers
from answermesh.gateway.plan import Binding
from answermesh.gateway.protocols.envelope import COMPRESSED, inflate, only_message, pack, unpack
from answermesh.gateway.protocols.rest import call_metadata, call_timeout_s
from answermesh.gateway.protocols.streaming import run_stream
from answermesh.gateway.status import CallError, Metadata, refused
from answermesh.gateway.upstream.calls import Upstream

_TRAILERS = 0x80
_BASE64_CHUNK = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
# Characters of grpc-message that stay as they are: all printable ASCII but '%' (gRPC over HTTP/2).
_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def is_grpc_web(exchange: Exchange) -> bool:
    """Whether the request is gRPC-Web, going by its Content-Type."""
    return exchange.method == "POST" and exchange.content_type.lower().startswith("application/grpc-web")


async def serve_grpc_web(exchange: Exchange, binding: Binding, upstream: Upstream) -> None:
    """Answer the request, errors included. Raises ClientGone."""
    try:
        media = exchange.content_type.partition(";")[0].strip().lower()
        if media.endswith(("+json", "+thrift")):
            raise refused("UNSUPPORTED_MEDIA_TYPE", f"{media} is not supported; use application/grpc-web+proto.")
        method, messages = binding.method, _messages(exchange)
        timeout = call_timeout_s(exchange, streams=method.client_streaming or method.server_streaming)
        only = None if method.client_streaming else await only_message(messages)
        async with upstream.stream(method.path, call_metadata(exchange), timeout, only) as call:
            await run_stream(exchange, call, _WebSink(exchange), messages if only is None else None)
    except CallError as error:
        await answer_error(exchange, error)


async def answer_error(exchange: Exchange, error: CallError) -> None:
    """A call that failed before its answer was started: 200 with nothing but trailers."""
    exchange.error = error
    sink = _WebSink(exchange)
    status, headers = sink.open((), None, ended=True)
    await exchange.start(status, headers)
    await exchange.write(sink.error(error), more=False)


async def _messages(exchange: Exchange) -> AsyncIterator[bytes]:
    limit = exchange.options.max_body_bytes
    chunks = _decoded(exchange) if _is_text(exchange) else exchange.chunks()
    async for flags, message in unpack(chunks, limit):
        if flags & COMPRESSED:
            yield inflate(message, exchange.headers.get("grpc-encoding", ""), limit)
        elif not flags:
            yield message


async def _decoded(exchange: Exchange) -> AsyncIterator[bytes]:
    """A text body may be several pieces of base64, each with its own padding."""
    body = await exchange.body()
    for piece in _BASE64_CHUNK.findall(body):
        try:
            yield base64.b64decode(piece + b"=" * (-len(piece) % 4))
        except binascii.Error as error:
            raise refused("INVALID_ENCODING", "The body is no base64.") from error


def _is_text(exchange: Exchange) -> bool:
    return exchange.content_type.lower().startswith("application/grpc-web-text")


class _WebSink:
    heartbeat = b""
    # Not before the first message: initial metadata must be among the headers, and comes no earlier.
    opens_early = False
    cut_after_error = False

    def __init__(self, exchange: Exchange) -> None:
        self._is_text = _is_text(exchange)

    def open(self, metadata: Metadata, first: bytes | None, *, ended: bool) -> tuple[int, Headers]:
        content_type = b"application/grpc-web-text+proto" if self._is_text else b"application/grpc-web+proto"
        return 200, [*to_headers(metadata), (b"content-type", content_type), (b"cache-control", b"no-cache")]

    def items(self, messages: Sequence[bytes]) -> bytes:
        return self._encoded(b"".join([pack(0, message) for message in messages]))

    def end(self, trailers: Metadata) -> bytes:
        return self._trailers(0, "", trailers, b"")

    def error(self, error: CallError) -> bytes:
        details = error.to_proto() if error.details else b""
        return self._trailers(error.number, error.message, error.metadata, details)

    def _trailers(self, code: int, message: str, trailers: Metadata, details: bytes) -> bytes:
        lines = [(b"grpc-status", str(code).encode())]
        if message:
            lines.append((b"grpc-message", quote(message, safe=_SAFE).encode()))
        if details:
            lines.append((b"grpc-status-details-bin", base64.b64encode(details).rstrip(b"=")))
        lines += to_headers(trailers)
        return self._encoded(pack(_TRAILERS, b"".join(b"%b: %b\r\n" % line for line in lines)))

    def _encoded(self, envelope: bytes) -> bytes:
        return base64.b64encode(envelope) if self._is_text else envelope
