"""The Connect protocol beside REST on the same port: unary by POST and GET, streams; JSON and proto.

Unary calls are plain HTTP with Connect's own error JSON; streams are envelopes whose last (flag 0x02) holds the error
and the trailers as JSON.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
from grpc import StatusCode
from protobuf import Registry

from answermesh.gateway.http.exchange import Exchange
from answermesh.gateway.metadata import Headers, to_headers
from answermesh.gateway.plan import Binding, Plan
from answermesh.gateway.protocols.envelope import COMPRESSED, inflate, only_message, pack, unpack, unsupported
from answermesh.gateway.protocols.rest import call_metadata, call_timeout_s
from answermesh.gateway.protocols.streaming import run_stream
from answermesh.gateway.status import CallError, Metadata, details_json, error_headers, refused
from answermesh.gateway.transcoding.body import WholeBody
from answermesh.gateway.transcoding.opaque import to_json
from answermesh.gateway.upstream.calls import Upstream

_END = 0x02
_STREAM = "application/connect+"
_UNARY = "application/"
_ACCEPT_POST = [
    ("accept-post", "application/json, application/proto, application/connect+json, application/connect+proto")
]


class _Codec:
    """JSON or proto of one method's messages."""

    def __init__(self, plan: Plan, binding: Binding, name: str, *, strict: bool) -> None:
        if name not in ("json", "proto"):
            raise refused(
                "UNSUPPORTED_MEDIA_TYPE", f"Codec {name[:40]!r} is not supported; use json or proto.", http_status=415,
                headers=_ACCEPT_POST,
            )  # fmt: skip
        self.name = name
        self._registry = plan.registry
        self._json = WholeBody(binding.method.input, plan.registry, strict=strict)
        self._output = binding.method.output

    def decode(self, message: bytes) -> bytes:
        return message if self.name == "proto" else self._json.read("", message)

    def encode(self, message: bytes) -> bytes:
        if self.name == "proto":
            return message
        try:
            return to_json(self._output.type.from_binary(message), self._registry).encode()
        except (ValueError, TypeError, RecursionError) as error:
            raise CallError(
                StatusCode.INTERNAL, f"The service answered with what is no printable {self._output.type_name}."
            ) from error


def is_connect(exchange: Exchange) -> bool:
    """Whether the request is Connect: by its header, its Content-Type, or `connect=v1` of a GET."""
    if "connect-protocol-version" in exchange.headers:
        return True
    if exchange.method == "GET":
        return "connect=v1" in exchange.query.split("&")
    return exchange.content_type.lower().startswith((_STREAM, "application/proto"))


async def serve_connect(exchange: Exchange, plan: Plan, binding: Binding, upstream: Upstream) -> None:
    """Answer the request, errors included. Raises ClientGone."""
    try:
        method = binding.method
        if (version := exchange.headers.get("connect-protocol-version", "1")) != "1":
            raise refused("UNKNOWN_VERSION", f"Connect-Protocol-Version must be 1, not {version[:20]!r}.")
        if exchange.content_type.lower().startswith(_STREAM) and exchange.method == "POST":
            await _serve_stream(exchange, plan, binding, upstream)
        elif method.client_streaming or method.server_streaming:
            raise refused(
                "UNSUPPORTED_MEDIA_TYPE", f"{method.name} streams; use application/connect+json or +proto.",
                http_status=415, headers=_ACCEPT_POST,
            )  # fmt: skip
        else:
            await _serve_unary(exchange, plan, binding, upstream)
    except CallError as error:
        await answer_error(exchange, plan.registry, error)


async def answer_error(exchange: Exchange, registry: Registry | None, error: CallError) -> None:
    """A call that failed before its answer was started."""
    exchange.error = error
    body = orjson.dumps(_error(error, registry))
    if exchange.content_type.lower().startswith(_STREAM) and error.http_status != 415:
        content_type = exchange.content_type.partition(";")[0]
        end = orjson.dumps({"error": _error(error, registry), "metadata": _metadata(error.metadata)})
        await exchange.answer(200, content_type, pack(_END, end))
        return
    headers = to_headers(error.metadata)
    headers += [(name.encode(), value.encode()) for name, value in error_headers(error)]
    await exchange.answer(error.http_status, "application/json", body, headers)


async def _serve_unary(exchange: Exchange, plan: Plan, binding: Binding, upstream: Upstream) -> None:
    method = binding.method
    strict = exchange.options.strict
    if exchange.method == "GET":
        if not method.no_side_effects and all(rule.method != "GET" for rule in method.rules):
            raise _not_by(exchange.method)
        codec, request = _from_query(exchange, plan, binding)
    elif exchange.method == "POST":
        media = exchange.content_type.partition(";")[0].strip().lower()
        name = media.removeprefix(_UNARY) if media.startswith(_UNARY) else media
        codec = _Codec(plan, binding, name, strict=strict)
        if (encoding := exchange.headers.get("content-encoding", "")).lower() not in ("", "identity", "gzip"):
            raise unsupported(encoding)
        request = codec.decode(await exchange.body())
    else:
        raise _not_by(exchange.method)
    timeout = call_timeout_s(exchange, streams=False)
    reply = await exchange.attended(upstream.unary(method.path, request, call_metadata(exchange), timeout))
    headers = to_headers(reply.headers) + to_headers(reply.trailers, "trailer-")
    await exchange.answer(200, _UNARY + codec.name, codec.encode(reply.message), headers)


def _not_by(method: str) -> CallError:
    return refused(
        "WRONG_METHOD", f"This method is not served by {method}; use POST.", code=StatusCode.UNIMPLEMENTED,
        http_status=405, headers=[("allow", "POST")],
    )  # fmt: skip


def _from_query(exchange: Exchange, plan: Plan, binding: Binding) -> tuple[_Codec, bytes]:
    # As bytes: a message in proto is no text.
    pairs = (pair.partition("=") for pair in exchange.query.replace("+", " ").split("&"))
    query = {unquote_to_bytes(name): unquote_to_bytes(value) for name, _, value in pairs}
    codec = _Codec(plan, binding, query.get(b"encoding", b"").decode("latin-1"), strict=exchange.options.strict)
    message = query.get(b"message", b"")
    if query.get(b"base64") == b"1":
        message = _from_base64(message)
    compression = query.get(b"compression", b"").decode("latin-1")
    if compression not in ("", "identity"):
        message = inflate(message, compression, exchange.options.max_body_bytes)
    return codec, codec.decode(message)


def _from_base64(text: bytes) -> bytes:
    """URL-safe base64, with padding or without."""
    bare = text.rstrip(b"=")
    try:
        return base64.b64decode(bare + b"=" * (-len(bare) % 4), b"-_", validate=True)
    except binascii.Error as error:
        raise refused("INVALID_ENCODING", "Query parameter 'message' is no base64.", field="message") from error


async def _serve_stream(exchange: Exchange, plan: Plan, binding: Binding, upstream: Upstream) -> None:
    media = exchange.content_type.partition(";")[0].strip().lower()
    codec = _Codec(plan, binding, media.removeprefix(_STREAM), strict=exchange.options.strict)
    timeout = call_timeout_s(exchange, streams=True)
    method, messages = binding.method, _messages(exchange, codec)
    only = None if method.client_streaming else await only_message(messages)
    async with upstream.stream(method.path, call_metadata(exchange), timeout, only) as call:
        await run_stream(exchange, call, _ConnectSink(plan, codec), messages if only is None else None)


async def _messages(exchange: Exchange, codec: _Codec) -> AsyncIterator[bytes]:
    limit = exchange.options.max_body_bytes
    async for flags, message in unpack(exchange.chunks(), limit):
        if flags & ~COMPRESSED:
            raise refused("INVALID_ENVELOPE", f"A message has the flags {flags}; a client may send 0 and 1.")
        if flags & COMPRESSED:
            message = inflate(message, exchange.headers.get("connect-content-encoding", ""), limit)
        yield codec.decode(message)


class _ConnectSink:
    heartbeat = b""
    # Not before the first message: initial metadata must be among the headers, and comes no earlier.
    opens_early = False
    cut_after_error = False

    def __init__(self, plan: Plan, codec: _Codec) -> None:
        self._registry = plan.registry
        self._codec = codec

    def open(self, metadata: Metadata, first: bytes | None, *, ended: bool) -> tuple[int, Headers]:
        return 200, [*to_headers(metadata), (b"content-type", f"{_STREAM}{self._codec.name}".encode())]

    def items(self, messages: Sequence[bytes]) -> bytes:
        return b"".join([pack(0, self._codec.encode(message)) for message in messages])

    def end(self, trailers: Metadata) -> bytes:
        metadata = _metadata(trailers)
        return pack(_END, orjson.dumps({"metadata": metadata} if metadata else {}))

    def error(self, error: CallError) -> bytes:
        return pack(_END, orjson.dumps({"error": _error(error, self._registry), "metadata": _metadata(error.metadata)}))


def _metadata(metadata: Metadata) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in to_headers(metadata):
        values.setdefault(name.decode(), []).append(value.decode("latin-1"))
    return values


def _error(error: CallError, registry: Registry | None) -> dict[str, Any]:
    name = error.code.name.lower()
    told: dict[str, Any] = {"code": "canceled" if name == "cancelled" else name}
    if error.message:
        told["message"] = error.message
    if error.details:
        told["details"] = [
            {
                "type": detail.type_url.rpartition("/")[2],
                "value": base64.b64encode(detail.value).rstrip(b"=").decode(),
                "debug": debug,
            }
            for detail, debug in zip(error.details, details_json(error, registry), strict=True)
        ]
    return told
