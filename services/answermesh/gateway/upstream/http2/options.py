"""What may be chosen about the HTTP/2 client; the defaults are meant to be kept."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class Keepalive:
    """How soon a hung peer is noticed, and how few pings a peer gets that merely has nothing to say.

    gRPC servers allow two pings too many since they last sent headers or data, where too many is more than one in
    5 minutes, and then end the connection with `too_many_pings` (gRFC A8). So in one such quiet time a few pings come
    early, and the others at the pace that every server allows.
    """

    # While calls are under way, a ping follows this long after the last sign of life, or after a new call.
    time_s: float = 10.0
    # The answer may take this long; then the connection is given up.
    timeout_s: float = 10.0
    # Early pings in one quiet time. For servers known to allow more (ours do), as many as one likes.
    early_pings: int = 2
    # Then one ping in this time.
    slow_s: float = 310.0


# Servers of the mesh allow a ping each second (see rpc.options).
MESH_KEEPALIVE = Keepalive(time_s=2.0, timeout_s=3.0, early_pings=1 << 62)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long an address is left alone after its n-th failure in a row."""

    # A restarted service is found again within 2 s.
    first_s: float = 0.1
    most_s: float = 2.0
    factor: float = 1.6
    # Up to this part more or less, so that many gateways do not come back at once.
    jitter: float = 0.2


@dataclass(frozen=True, slots=True)
class Http2Options:
    """Choices of one client. Times are seconds, sizes bytes."""

    # Verifies the server and shows our certificate; None is plaintext. See `tls.client_context`.
    tls: ssl.SSLContext | None = None
    # The name that the server's certificate must have, and the :authority of calls; "" takes the target's.
    server_name: str = ""
    # Largest message either way, as everywhere in the mesh; also after decompression.
    max_message_bytes: int = 64 * MIB
    # Largest header list that is taken: gRPC's own servers send 16 KiB at most.
    max_header_bytes: int = 64 * KIB
    # What one stream may send ahead of its reader. 256 KiB carry 250 MB/s at 1 ms of round trip.
    stream_window_bytes: int = 256 * KIB
    # What a connection may have on the way. It is given back on arrival: what is kept is bounded by the next two.
    connection_window_bytes: int = 16 * MIB
    # Streams of one connection, if the server allows as many. With their windows this makes 256 MiB.
    max_streams: int = 1000
    # What a connection keeps for readers; the call that would take more ends with RESOURCE_EXHAUSTED. More than all
    # windows together, so only whole messages larger than a window come near it.
    max_buffered_bytes: int = 512 * MIB
    # Connections to one address: a further one is made when all have as many streams as the server allows.
    max_connections: int = 4
    # Calls that wait for a connection or a stream; those beyond fail with RESOURCE_EXHAUSTED.
    max_waiting: int = 10_000
    # From the first packet to the server's settings and its word on its health.
    connect_timeout_s: float = 5.0
    # Calls wait this long for an upstream that has just gone (it may be restarting), then fail at once.
    patience_s: float = 1.0
    # The service whose health decides whether an address gets calls (grpc.health.v1); None does not ask.
    health_service: str | None = ""
    # A name is looked up again this often, and on failures, but not more often than every 5 s.
    resolve_every_s: float = 30.0
    keepalive: Keepalive = Keepalive()
    backoff: Backoff = Backoff()
