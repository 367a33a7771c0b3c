"""A matched HTTP rule carried out: request in, call upstream, answer out."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence

from grpc import StatusCode

from answermesh.gateway.http.encoding import is_plain, unzipped
from answermesh.gateway.http.exchange import Exchange
from answermesh.gateway.metadata import Headers, asks_for_timeout, timeout_s, to_headers, to_metadata
from answermesh.gateway.plan import Binding, Plan
from answermesh.gateway.protocols.framing import Framing, Raw, choose_framing
from answermesh.gateway.protocols.streaming import run_stream
from answermesh.gateway.status import CallError, Metadata, error_json, refused
from answermesh.gateway.transcoding.elements import split
from answermesh.gateway.transcoding.reply import Content
from answermesh.gateway.upstream.calls import Reply, Upstream

_EVENT_ID = re.compile(r"[0-9]{1,19}")


async def serve_rest(
    exchange: Exchange, plan: Plan, binding: Binding, segments: Sequence[str], upstream: Upstream
) -> None:
    """Answer the request. Raises CallError before the answer is started, ClientGone."""
    if binding.streams:
        await _serve_stream(exchange, plan, binding, segments, upstream)
        return
    request, metadata, timeout = unary_request(exchange, binding, segments, await exchange.body())
    reply = await exchange.attended(upstream.unary(binding.method.path, request, metadata, timeout))
    await exchange.answer(200, *unary_answer(binding, reply))


def unary_request(
    exchange: Exchange, binding: Binding, segments: Sequence[str], body: bytes
) -> tuple[bytes, Metadata, float | None]:
    """Message, metadata and deadline of a call with one message each way. Raises CallError for a bad request."""
    timeout = call_timeout_s(exchange, streams=False)
    request = binding.request.build(segments, exchange.query, exchange.content_type, body)
    return request, call_metadata(exchange), timeout


def unary_answer(binding: Binding, reply: Reply) -> tuple[str, bytes, Headers]:
    """Content type, body and headers of its answer. Raises CallError for a reply that cannot be printed."""
    content = binding.reply.convert(reply.message)
    headers = to_headers(reply.headers)
    if reply.trailers:
        headers += to_headers(reply.trailers)
    return content.content_type, content.body, headers


async def _serve_stream(
    exchange: Exchange, plan: Plan, binding: Binding, segments: Sequence[str], upstream: Upstream
) -> None:
    method = binding.method
    timeout = call_timeout_s(exchange, streams=True)
    requests: AsyncIterator[bytes] | None = None
    only: bytes | None = None
    if method.client_streaming:
        requests = _requests(exchange, binding, segments)
    else:
        # Read and checked before the call is opened: a bad request costs the upstream nothing.
        body = await exchange.body()
        only = binding.request.build(segments, exchange.query, exchange.content_type, body)
        only += _resumed(exchange, binding)
    sink = RestSink(exchange, plan, binding) if method.server_streaming else _Single(binding)
    async with upstream.stream(method.path, call_metadata(exchange), timeout, only) as call:
        await run_stream(exchange, call, sink, requests)


def call_metadata(exchange: Exchange) -> Metadata:
    """Metadata of the call: the request's headers and its id."""
    metadata = to_metadata(exchange.raw_headers)
    if b"x-request-id" in exchange.fields:
        return metadata
    return (*metadata, ("x-request-id", exchange.request_id))


def call_timeout_s(exchange: Exchange, *, streams: bool) -> float | None:
    """The call's deadline."""
    options = exchange.options
    default_s = None if streams else options.default_timeout_s
    if not asks_for_timeout(exchange.fields):
        return default_s
    return timeout_s(exchange.headers, default_s=default_s, max_s=options.max_timeout_s)


async def _requests(exchange: Exchange, binding: Binding, segments: Sequence[str]) -> AsyncIterator[bytes]:
    """The request messages; path variables and query parameters go into the first."""
    builder, content_type = binding.request, exchange.content_type
    first = True
    chunks = exchange.chunks()
    if not is_plain(exchange.headers.get("content-encoding", "")):
        chunks = unzipped(chunks)
    async for piece in chunks if builder.body.is_raw else split(chunks, exchange.options.max_body_bytes):
        if first:
            yield builder.build(segments, exchange.query, content_type, piece)
            first = False
        else:
            yield builder.body.read("" if builder.body.is_raw else content_type, piece)
    if first and builder.body.is_raw:
        yield builder.build(segments, exchange.query, content_type, b"")


def _resumed(exchange: Exchange, binding: Binding) -> bytes:
    """What Last-Event-ID sets; it is newer than what the URL says, so it comes last and wins."""
    event_id = exchange.headers.get("last-event-id", "").strip()
    if binding.resume is None or not event_id:
        return b""
    if not _EVENT_ID.fullmatch(event_id):
        raise refused("INVALID_HEADER", "Header 'Last-Event-ID' must be the id of an event of this stream, a number.")
    return binding.resume.encode(event_id)


class RestSink:
    """Writes a server stream in the format that the client accepts."""

    def __init__(self, exchange: Exchange, plan: Plan, binding: Binding) -> None:
        self._registry = plan.registry
        self._reply = binding.reply
        self._is_plain = not binding.reply.is_raw and not binding.reply.has_event_ids
        self._framing: Framing = (
            Raw() if binding.reply.is_raw else choose_framing(exchange.headers.get("accept", "*/*"))
        )
        self._resuming = binding.resume is not None and "last-event-id" in exchange.headers
        self.heartbeat = self._framing.heartbeat
        self.opens_early = self._framing.shows_errors
        self.cut_after_error = self._framing.cut_after_error

    def open(self, metadata: Metadata, first: bytes | None, *, ended: bool) -> tuple[int, Headers]:
        """200 with the stream's headers; 204 where an EventSource came back for more and there is none."""
        if ended and self._resuming and first is None and self._framing.heartbeat:
            # Else it would come back for ever: only 204 ends that (WHATWG HTML 9.2.3).
            return 204, to_headers(metadata)
        headers = to_headers(metadata)
        content_type = self._framing.content_type
        if not content_type and first is not None:
            content_type = self._reply.convert(first).content_type
        if content_type:
            headers.append((b"content-type", content_type.encode("latin-1", "replace")))
        # So that neither caches nor nginx hold events back.
        headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"), (b"vary", b"accept")]
        return 200, headers

    def items(self, messages: Sequence[bytes]) -> bytes:
        """See Sink."""
        if self._is_plain:
            return self._framing.items(self._reply.json(messages))
        contents = [self._reply.convert(message) for message in messages]
        return self._framing.items([content.body for content in contents], [content.event_id for content in contents])

    def end(self, trailers: Metadata) -> bytes:
        """The end."""
        return self._framing.end()

    def error(self, error: CallError) -> bytes | None:
        """The end of a stream that failed."""
        return self._framing.error(error_json(error, self._registry))


class _Single:
    """Writes the one answer of a client stream."""

    heartbeat = b""
    opens_early = False
    cut_after_error = True

    def __init__(self, binding: Binding) -> None:
        self._reply = binding.reply
        self._content: Content | None = None

    def open(self, metadata: Metadata, first: bytes | None, *, ended: bool) -> tuple[int, Headers]:
        """200; a call without an answer is an error of the service."""
        if first is None:
            raise CallError(StatusCode.INTERNAL, "The service ended the call without an answer.")
        self._content = self._reply.convert(first)
        headers = to_headers(metadata)
        if self._content.content_type:
            headers.append((b"content-type", self._content.content_type.encode("latin-1", "replace")))
        return 200, headers

    def items(self, messages: Sequence[bytes]) -> bytes:
        """The answer."""
        assert self._content is not None
        return self._content.body

    def end(self, trailers: Metadata) -> bytes:
        """The end."""
        return b""

    def error(self, error: CallError) -> bytes | None:
        """None: half an answer is none."""
        return None
