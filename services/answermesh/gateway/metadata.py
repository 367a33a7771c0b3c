"""HTTP headers to gRPC metadata and back, and the deadline that headers ask for.

Every header goes through but those that belong to one hop, to the body that was rewritten, or to gRPC itself. The
prefix `Grpc-Metadata-` is taken off; a name that ends in `-bin` holds base64.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping

from answermesh.gateway.status import CallError, Metadata, refused

Headers = list[tuple[bytes, bytes]]

# RFC 9110 7.6.1, then what describes the body or the connection that is not passed on.
_HOP_BY_HOP = frozenset(
    """
    connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding
    upgrade http2-settings
    """.split()
)
_NOT_METADATA = _HOP_BY_HOP | frozenset(
    """
    host content-length content-type content-encoding accept accept-encoding expect user-agent x-server-timeout
    request-timeout connect-timeout-ms connect-protocol-version connect-content-encoding connect-accept-encoding
    last-event-id
    """.split()
)
_NOT_HEADERS = _HOP_BY_HOP | frozenset(
    ["content-length", "content-type", "content-encoding", "host", "date", "server", "user-agent"]
)
_NAME = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")
_PREFIX = "grpc-metadata-"
_GRPC_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_MILLISECONDS = re.compile(r"[0-9]{1,10}")


def to_metadata(headers: Iterable[tuple[bytes, bytes]]) -> Metadata:
    """Metadata of a request. Raises CallError (400) for a `-bin` header that is no base64."""
    pairs = [(name.decode("latin-1").lower(), value.decode("latin-1").strip()) for name, value in headers]
    named = {token.strip().lower() for name, value in pairs if name == "connection" for token in value.split(",")}
    metadata: list[tuple[str, str | bytes]] = []
    for name, value in pairs:
        name = name.removeprefix(_PREFIX)
        if name in _NOT_METADATA or name in named or name.startswith("grpc-") or not _NAME.fullmatch(name):
            continue
        if name.endswith("-bin"):
            metadata.extend((name, _decoded(name, one)) for one in value.split(","))
        elif _VALUE.fullmatch(value):
            metadata.append((name, value))
    return tuple(metadata)


def _decoded(name: str, value: str) -> bytes:
    bare = value.strip().rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error as error:
        raise refused("INVALID_HEADER", f"Header {name!r} must be base64.") from error


def to_headers(metadata: Metadata, prefix: str = "") -> Headers:
    """Headers of an answer; `prefix` goes before each name."""
    headers: Headers = []
    for name, value in metadata:
        if name in _NOT_HEADERS or name.startswith(("grpc-", ":")) or not _NAME.fullmatch(name):
            continue
        text = base64.b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode("latin-1", "replace")
        if b"\r" not in text and b"\n" not in text:
            headers.append((prefix.encode() + name.encode(), text))
    return headers


def timeout_s(headers: Mapping[str, str], *, default_s: float | None, max_s: float) -> float | None:
    """The shortest deadline that the headers ask for, or `default_s`; never more than `max_s`.

    Read are `Grpc-Timeout`, `Connect-Timeout-Ms`, and in seconds `X-Server-Timeout` and `Request-Timeout`.
    Raises CallError (400) for a value that cannot be read.
    """
    asked: list[float] = []
    if value := headers.get("grpc-timeout"):
        match = _GRPC_TIMEOUT.fullmatch(value)
        if match is None:
            raise _bad_timeout("Grpc-Timeout", "up to 8 digits and a unit of H, M, S, m, u, n, e.g. 300m")
        asked.append(int(match[1]) * _UNITS_S[match[2]])
    if value := headers.get("connect-timeout-ms"):
        if not _MILLISECONDS.fullmatch(value):
            raise _bad_timeout("Connect-Timeout-Ms", "up to 10 digits")
        asked.append(int(value) / 1000)
    for name in ("x-server-timeout", "request-timeout"):
        if value := headers.get(name):
            if not _SECONDS.fullmatch(value):
                raise _bad_timeout(name.title(), "seconds, e.g. 0.3")
            asked.append(float(value))
    return min(min(asked), max_s) if asked else default_s


def _bad_timeout(name: str, wanted: str) -> CallError:
    return refused("INVALID_HEADER", f"Header {name!r} must be {wanted}.")
