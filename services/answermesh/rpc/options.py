"""Options of all servers and channels of the mesh, with the source of each number.

Both ends are set here, since several only work as a pair: a server counts the pings that a client sends, a client's
stream waits for the place that a server gives, a message has to pass both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

MIB = 1 << 20

# A document of 64 MiB travels in one message (CreateDocument, GetDocument with its text), through the orchestrator as
# well, so every hop has the same limit. gRPC's own is 4 MiB for receiving and none for sending; with one for both, a
# sender gets the error instead of the other end.
MAX_MESSAGE_BYTES = 64 * MIB
# gRPC drops metadata at random from 8 KiB on, and always from 16 KiB on (measured); errors with many fields need some.
_METADATA_SOFT_BYTES = 16 * 1024
_METADATA_HARD_BYTES = 32 * 1024
# Streams that one connection may have open. One connection of the gateway carries all its readers, one of the
# orchestrator all runs of an agent; without a limit, one client can open and reset streams by the hundred thousand.
MAX_CONCURRENT_STREAMS = 1000
# Calls that arrived but are not yet taken up by the event loop. From gRPC's 1000 on they are dropped at random, from
# 3000 on always, and their callers see CANCELLED; a burst of several connections is larger than that.
_PENDING_CALLS = 10_000
_PENDING_CALLS_HARD = 20_000
# What one stream may send ahead of its reader. Left to itself, gRPC lets that grow by its bandwidth estimate to about
# 6 MB for each slow reader (measured). 256 KiB carry 250 MB/s at 1 ms of round trip.
_LOOKAHEAD_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Keepalive:
    """How soon a hung peer is noticed: at most `time_s` + `timeout_s` after its last sign of life."""

    # A ping follows this long after the last byte received. gRPC's guide advises a minute for the open internet;
    # within a mesh a hung replica has to be left within seconds.
    time_s: float = 2.0
    # The answer may take this long. Less would cut off a peer that merely waits for the processor.
    timeout_s: float = 3.0


def server_options(
    *,
    keepalive: Keepalive = Keepalive(),
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    max_concurrent_streams: int = MAX_CONCURRENT_STREAMS,
    shares_port: bool = False,
) -> list[tuple[str, Any]]:
    """Options for grpc.aio.server; `shares_port` lets a successor listen beside its predecessor."""
    return [
        *_shared(keepalive, max_message_bytes),
        # Else two servers can listen on one port by mistake, each with a part of the connections.
        ("grpc.so_reuseport", int(shares_port)),
        ("grpc.max_concurrent_streams", max_concurrent_streams),
        ("grpc.server.max_pending_requests", _PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", _PENDING_CALLS_HARD),
        # Clients may ping this often; one that does so faster is cut off with "too_many_pings" after two strikes.
        # gRPC's 5 minutes would cut off our own channels.
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(keepalive.time_s / 2)),
    ]


def channel_options(
    *,
    keepalive: Keepalive = Keepalive(),
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    ours: bool = True,
) -> list[tuple[str, Any]]:
    """Options for a channel of grpc.aio; `ours` if it leads to servers of the mesh."""
    return [
        *_shared(keepalive, max_message_bytes),
        ("grpc.service_config", json.dumps(SERVICE_CONFIG if ours else FOREIGN_SERVICE_CONFIG)),
        # The mesh is reached directly: a proxy in the environment is for the web.
        ("grpc.enable_http_proxy", 0),
        # A restarted service is found again within 2 s; gRPC's own backoff starts at 1 s and grows to 120 s.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2000),
        # New replicas behind a name are seen within 5 s of a reconnect; gRPC asks every 30 s at most.
        ("grpc.dns_min_time_between_resolutions_ms", 5000),
        # Channels do not share a connection, so closing one ends what it has open.
        ("grpc.use_local_subchannel_pool", 1),
    ]


def _shared(keepalive: Keepalive, max_message_bytes: int) -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_metadata_size", _METADATA_SOFT_BYTES),
        ("grpc.absolute_max_metadata_size", _METADATA_HARD_BYTES),
        ("grpc.keepalive_time_ms", _ms(keepalive.time_s)),
        ("grpc.keepalive_timeout_ms", _ms(keepalive.timeout_s)),
        # The one that notices a stopped process, whose kernel still acknowledges: 1.5 s instead of 60 s (measured).
        ("grpc.http2.ping_timeout_ms", _ms(keepalive.timeout_s)),
        # A quiet channel must learn of a hung peer too, before the next call runs into it.
        ("grpc.keepalive_permit_without_calls", 1),
        # Pings without data in between are otherwise stopped after two, and a long quiet stream is what they are for.
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", _LOOKAHEAD_BYTES),
    ]


# Calls that must not be made twice: without a request_id a second one makes a second thing, and the orchestrator
# itself decides whether an agent runs again. gRPC still repeats those that surely did not reach the server.
_ONCE = [
    {"service": "answermesh.v1.QueryService", "method": "CreateQuery"},
    {"service": "answermesh.v1.QueryService", "method": "Ask"},
    {"service": "answermesh.v1.FeedbackService", "method": "CreateFeedback"},
    {"service": "answermesh.v1.AgentService", "method": "Run"},
    {"service": "answermesh.v1.AgentService", "method": "RunMany"},
]

# https://github.com/grpc/grpc-proto/blob/master/grpc/service_config/service_config.proto
SERVICE_CONFIG: dict[str, Any] = {
    # The default sends everything to one replica, and ignores health.
    "loadBalancingConfig": [{"round_robin": {}}],
    # "" is the health of the whole server, which every server of the mesh tells; one without a health service counts
    # as healthy.
    "healthCheckConfig": {"serviceName": ""},
    "methodConfig": [
        {"name": _ONCE},
        {
            "name": [{}],
            "retryPolicy": {
                # Three attempts in all (Google SRE book, "Handling Overload").
                "maxAttempts": 3,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 3,
                # Only where no handler has seen the call: see rpc.status.abort_with.
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        },
    ],
    # Retries stop while more than about one call in ten fails (gRFC A6).
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
}

# Of servers that are not ours nothing is known: UNAVAILABLE may come from a handler that has done half its work, so a
# call is not made twice (but by gRPC itself where it surely did not arrive), and few have a health service.
FOREIGN_SERVICE_CONFIG: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
