"""What is wrong with bytes that are not the HTTP of a request."""

from __future__ import annotations

import httptools
from grpc import StatusCode

from answermesh.gateway.status import CallError, refused


def malformed(error: httptools.HttpParserError) -> CallError:
    """Bytes that llhttp does not take."""
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        return refused("INVALID_HTTP", "The request's method is not known to HTTP.")
    return refused("INVALID_HTTP", f"The request is not well-formed HTTP/1.1: {str(error)[:100]}.")


def head_too_large(limit: int) -> CallError:
    """A request line and headers that do not end."""
    return refused(
        "HEADERS_TOO_LARGE", f"The request's line and headers hold more than {limit} bytes.", http_status=431
    )


def no_single_host() -> CallError:
    """RFC 9112 3.2."""
    return refused("INVALID_HTTP", "A request must have one header Host, and not more.")


def too_slow() -> CallError:
    """A client that does not send what it began."""
    return refused(
        "REQUEST_TIMEOUT", "The rest of the request did not come in time.", code=StatusCode.DEADLINE_EXCEEDED,
        http_status=408,
    )  # fmt: skip


def origin_form(target: str) -> str:
    """The path and query of a request target (RFC 9112 3.2): absolute ones lose what is before the path."""
    if target.startswith("/"):
        return target
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        return target
    at = min((place for place in (rest.find("/"), rest.find("?")) if place >= 0), default=len(rest))
    path = rest[at:]
    return path if path.startswith("/") else f"/{path}"
