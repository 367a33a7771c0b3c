"""A connection to one upstream, by the client that was chosen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from answermesh.errors import invalid_field
from answermesh.gateway.setup import Reach, Tls
from answermesh.gateway.upstream.calls import Upstream
from answermesh.gateway.upstream.grpc_channel import GrpcUpstream
from answermesh.rpc.channel import open_channel
from answermesh.rpc.options import Keepalive

# Names accepted for `Reach.client`, the default first.
CLIENTS = ("grpc",)
# The answer to a ping may take this long, but not longer than the pause between two.
_PING_ANSWER_S = 20.0


@dataclass(frozen=True, slots=True)
class Opened:
    """An upstream ready to be called. Nothing is connected before the first call."""

    calls: Upstream
    # The connection's state: "idle", "connecting", "ready", "transient_failure" or "shutdown".
    state: Callable[[], str]


@asynccontextmanager
async def open_upstream(target: str, reach: Reach) -> AsyncIterator[Opened]:
    """The upstream at a gRPC target, as long as the context lasts; leaving it cancels calls under way.

    Raises Failure(INVALID_FIELD) for certificates that cannot be read.
    """
    keepalive = Keepalive(reach.keepalive_s, min(_PING_ANSWER_S, reach.keepalive_s))
    credentials = _credentials(reach.tls) if reach.tls else None
    async with open_channel(target, keepalive=keepalive, credentials=credentials, authority=reach.authority) as channel:
        yield Opened(GrpcUpstream(channel), lambda: channel.get_state().name.lower())


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        _read("--upstream-ca", tls.ca), _read("--upstream-key", tls.key), _read("--upstream-cert", tls.cert)
    )


def _read(option: str, path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise invalid_field(option, f"{path} cannot be read: {error.strerror}.") from error
