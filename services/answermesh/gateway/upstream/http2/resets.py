"""What RST_STREAM and GOAWAY mean for a call, as gRPC over HTTP/2 maps them (PROTOCOL-HTTP2.md, "Errors")."""

from __future__ import annotations

from grpc import StatusCode

from answermesh.gateway.status import CallError
from answermesh.gateway.upstream.calls import Unprocessed
from answermesh.gateway.upstream.http2.frames import ErrorCode

_CODES = {
    ErrorCode.REFUSED_STREAM: StatusCode.UNAVAILABLE,
    ErrorCode.CANCEL: StatusCode.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: StatusCode.PERMISSION_DENIED,
    ErrorCode.STREAM_CLOSED: StatusCode.UNKNOWN,
    ErrorCode.HTTP_1_1_REQUIRED: StatusCode.UNKNOWN,
}


def name_of(code: int) -> str:
    """The error code as RFC 9113 calls it."""
    try:
        return ErrorCode(code).name
    except ValueError:
        return str(code)


def reset_error(code: int) -> CallError:
    """The status of a call that the peer reset."""
    message = f"The upstream reset the call: {name_of(code)}."
    if code == ErrorCode.REFUSED_STREAM:
        return Unprocessed(message)
    known = code <= ErrorCode.HTTP_1_1_REQUIRED
    return CallError(_CODES.get(ErrorCode(code), StatusCode.INTERNAL) if known else StatusCode.UNKNOWN, message)
