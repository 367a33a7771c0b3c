"""HTTP headers to gRPC metadata and back, and the deadline that headers ask for.

Every header goes through but those that belong to one hop, to the body that was rewritten, or to gRPC itself. The
prefix `Grpc-Metadata-` is taken off; a name that ends in `-bin` holds base64.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping

from grpc import StatusCode

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
# A header Connection of these values names no other header.
_PLAIN_CONNECTION = (b"keep-alive", b"close", b"")
_NAME = re.compile(r"[0-9a-z_.-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")
_PREFIX = "grpc-metadata-"
_GRPC_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])")
_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
# A call takes longer than this, so a shorter deadline is over at once.
_SHORTEST_S = 1e-4
_MILLISECONDS = re.compile(r"[0-9]{1,10}")
_TIMEOUT_NAMES = frozenset((b"grpc-timeout", b"connect-timeout-ms", b"x-server-timeout", b"request-timeout"))

# What was converted lately, up to so many entries of up to so many bytes.
_REMEMBERED = 4096
_REMEMBERED_BYTES = 512
_kept: dict[tuple[bytes, bytes], Metadata] = {}
_headers: dict[tuple[Metadata, str], Headers] = {}


def to_metadata(headers: Iterable[tuple[bytes, bytes]]) -> Metadata:
    """Metadata of a request's headers, whose names are in lower case.

    Raises CallError (400) for a `-bin` header that is no base64.
    """
    metadata: list[tuple[str, str | bytes]] = []
    for header in headers:
        kept = _kept.get(header)
        if kept is None:
            kept = _keep(header)
        if kept:
            metadata += kept
        elif header[0] == b"connection" and header[1].lower() not in _PLAIN_CONNECTION:
            return _without_named(tuple(headers))
    return tuple(metadata)


def _keep(header: tuple[bytes, bytes]) -> Metadata:
    """What one header adds; remembered, since clients send the same ones again and again."""
    kept = _as_metadata(header[0].decode("latin-1"), header[1].decode("latin-1").strip())
    if len(header[0]) + len(header[1]) <= _REMEMBERED_BYTES:
        if len(_kept) >= _REMEMBERED:
            _kept.clear()
        _kept[header] = kept
    return kept


def _as_metadata(name: str, value: str) -> Metadata:
    name = name.removeprefix(_PREFIX)
    if name in _NOT_METADATA or name.startswith("grpc-") or not _NAME.fullmatch(name):
        return ()
    if name.endswith("-bin"):
        return tuple((name, _decoded(name, one)) for one in value.split(","))
    return ((name, value),) if _VALUE.fullmatch(value) else ()


def _without_named(headers: tuple[tuple[bytes, bytes], ...]) -> Metadata:
    """Metadata where the header Connection names others that belong to this hop."""
    named = {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}
    return to_metadata([header for header in headers if header[0] not in named and header[0] != b"connection"])


def _decoded(name: str, value: str) -> bytes:
    bare = value.strip().rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error as error:
        raise refused("INVALID_HEADER", f"Header {name!r} must be base64.") from error


def to_headers(metadata: Metadata, prefix: str = "") -> Headers:
    """Headers of an answer; `prefix` goes before each name."""
    if not metadata:
        return []
    known = _headers.get((metadata, prefix))
    if known is None:
        known = _as_headers(metadata, prefix)
        if sum(len(name) + len(value) for name, value in metadata) <= _REMEMBERED_BYTES:
            if len(_headers) >= _REMEMBERED:
                _headers.clear()
            _headers[metadata, prefix] = known
    return known.copy()


def _as_headers(metadata: Metadata, prefix: str) -> Headers:
    headers: Headers = []
    for name, value in metadata:
        if name in _NOT_HEADERS or name.startswith(("grpc-", ":")) or not _NAME.fullmatch(name):
            continue
        text = base64.b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode("latin-1", "replace")
        if b"\r" not in text and b"\n" not in text:
            headers.append((prefix.encode() + name.encode(), text))
    return headers


def asks_for_timeout(fields: Mapping[bytes, bytes]) -> bool:
    """Whether any header asks for a deadline."""
    return not _TIMEOUT_NAMES.isdisjoint(fields)


def timeout_s(headers: Mapping[str, str], *, default_s: float | None, max_s: float) -> float | None:
    """The shortest deadline that the headers ask for, or `default_s`; never more than `max_s`.

    Read are `Grpc-Timeout`, `Connect-Timeout-Ms`, and in seconds `X-Server-Timeout` and `Request-Timeout`.
    Raises CallError: 400 for a value that cannot be read, 504 for a deadline that is over already.
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
    if not asked:
        return default_s
    shortest = min(*asked, max_s)
    if shortest < _SHORTEST_S:
        raise CallError(StatusCode.DEADLINE_EXCEEDED, "The deadline was over before the service could be called.")
    return shortest


def _bad_timeout(name: str, wanted: str) -> CallError:
    return refused("INVALID_HEADER", f"Header {name!r} must be {wanted}.")
