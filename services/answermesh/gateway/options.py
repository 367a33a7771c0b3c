"""What may be chosen about a gateway; the defaults are meant to be kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from answermesh.gateway.plan import Resume


@dataclass(frozen=True, slots=True)
class Options:
    """Choices of one gateway. Times are seconds, sizes bytes."""

    # Refuse JSON fields and query parameters that the request does not have (400); else ignore them.
    strict: bool = True
    # Errors as AIP-193 ({"error": {…}}); else as bare google.rpc.Status.
    error_envelope: bool = True
    # Largest request body, and largest single element of a client stream. Room for a 64 MiB message in JSON.
    max_body_bytes: int = 72 << 20
    # Largest path with its query, and largest sum of header names and values.
    max_url_bytes: int = 16 << 10
    max_header_bytes: int = 64 << 10
    # Open connections, and streams under way, in one process; what comes beyond is told to come later (503, 429).
    max_connections: int = 20_000
    max_streams: int = 10_000
    # Deadline of a call for which the client set none; streams have none by default.
    default_timeout_s: float | None = 60.0
    # No deadline is longer than this, whatever the client asks for.
    max_timeout_s: float = 3600.0
    # A stream's headers go out after this time even if no message has come; until then a failure has its real status.
    flush_after_s: float = 0.1
    # An idle SSE stream gets a comment this often, so that proxies keep it.
    heartbeat_s: float = 15.0
    # A client that takes nothing of what is written for this time is cut off.
    stall_s: float = 60.0
    # A client may take this long for a request's line and headers, and keep a connection idle between requests.
    head_timeout_s: float = 15.0
    keep_alive_s: float = 75.0
    # Origins that browsers may call from; "*" is all.
    cors_origins: tuple[str, ...] = ("*",)
    # Answers of at least this size are compressed if the client takes gzip.
    gzip_from_bytes: int = 1024
    # Serve /metrics, where the service has no such path itself. A mounted gateway counts nothing.
    metrics: bool = True
    # Streams that can be resumed, by full method name.
    resumes: Mapping[str, Resume] = field(default_factory=dict)
