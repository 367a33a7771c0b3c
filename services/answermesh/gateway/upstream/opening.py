"""A connection to one upstream, by the client that was chosen."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from answermesh.errors import invalid_field
from answermesh.gateway.setup import Reach, Tls
from answermesh.gateway.upstream.calls import Upstream
from answermesh.gateway.upstream.grpc_channel import GrpcUpstream
from answermesh.gateway.upstream.http2 import Http2Options, Http2Upstream, Keepalive, client_context
from answermesh.rpc import options as rpc_options
from answermesh.rpc.channel import open_channel

# grpc.aio pings whatever goes on, so other servers' limit of one ping in 5 minutes is kept (gRPC's default).
_GRPC_QUIET_S = 300.0
# The answer to a ping of grpc.aio may take this long, but not longer than the pause between two.
_PING_ANSWER_S = 20.0
# A server that is known to take many pings gets one whenever it is quiet.
_MANY = 1 << 62


@dataclass(frozen=True, slots=True)
class Opened:
    """An upstream ready to be called. Nothing is connected before the first call."""

    calls: Upstream
    # How many connections are in which state, for the metrics.
    connections: Callable[[], Mapping[str, int]]


def open_upstream(target: str, reach: Reach) -> AbstractAsyncContextManager[Opened]:
    """The upstream at a gRPC target, as long as the context lasts; leaving it cancels calls under way.

    Raises Failure(INVALID_FIELD) for a target that is none, and for certificates that cannot be read.
    """
    return _open_grpc(target, reach) if reach.client == "grpc" else _open_http2(target, reach)


@asynccontextmanager
async def _open_http2(target: str, reach: Reach) -> AsyncIterator[Opened]:
    keepalive = Keepalive()
    if reach.keepalive_s is not None:
        keepalive = Keepalive(reach.keepalive_s, max(1.0, 1.5 * reach.keepalive_s), early_pings=_MANY)
    options = Http2Options(
        tls=_context(reach.tls) if reach.tls else None, server_name=reach.authority, keepalive=keepalive
    )
    async with Http2Upstream(target, options) as upstream:
        yield Opened(upstream, lambda: upstream.connections)


@asynccontextmanager
async def _open_grpc(target: str, reach: Reach) -> AsyncIterator[Opened]:
    quiet_s = reach.keepalive_s or _GRPC_QUIET_S
    keepalive = rpc_options.Keepalive(quiet_s, min(_PING_ANSWER_S, quiet_s))
    credentials = _credentials(reach.tls) if reach.tls else None
    async with open_channel(
        target, keepalive=keepalive, credentials=credentials, authority=reach.authority, ours=reach.ours
    ) as channel:
        yield Opened(GrpcUpstream(channel), lambda: {channel.get_state().name.lower(): 1})


def _context(tls: Tls) -> ssl.SSLContext:
    try:
        return client_context(ca_file=tls.ca, certificate_file=tls.cert, key_file=tls.key)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(str(path) for path in (tls.ca, tls.cert, tls.key) if path)
        raise invalid_field("--upstream-tls", f"{files} cannot be used: {error.strerror or error}.") from error


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        _read("--upstream-ca", tls.ca), _read("--upstream-key", tls.key), _read("--upstream-cert", tls.cert)
    )


def _read(option: str, path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise invalid_field(option, f"{path} cannot be read: {error.strerror}.") from error
