"""How a call failed, and its JSON: code, message and details, as HTTP clients see them.

    {"error": {"code": 404, "message": "…", "status": "NOT_FOUND", "details": [{"@type": …}]}}    AIP-193, the default
    {"code": 5, "message": "…", "details": [{"@type": …}]}                                        google.rpc.Status

A detail of a type that nobody described stays as {"@type": …, "value": base64}: it never costs the rest of the status.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from protobuf import Registry

DOMAIN = "gateway.answermesh.dev"

# google/rpc/code.proto
_HTTP_STATUSES = {
    StatusCode.OK: 200,
    StatusCode.CANCELLED: 499,
    StatusCode.UNKNOWN: 500,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.DEADLINE_EXCEEDED: 504,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.ABORTED: 409,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.INTERNAL: 500,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DATA_LOSS: 500,
    StatusCode.UNAUTHENTICATED: 401,
}
_Told = error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo
Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True, slots=True)
class Detail:
    """One `google.protobuf.Any`."""

    type_url: str
    value: bytes


class CallError(Exception):
    """The call ends with this status, told by the upstream or by the gateway itself."""

    def __init__(
        self,
        code: StatusCode,
        message: str,
        details: Iterable[Detail] = (),
        *,
        http_status: int = 0,
        headers: Iterable[tuple[str, str]] = (),
        metadata: Metadata = (),
        own: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = tuple(details)
        self.http_status = http_status or _HTTP_STATUSES[code]
        # Headers that this error asks for, and what the upstream sent along (initial metadata and trailers).
        self.headers = tuple(headers)
        self.metadata = metadata
        # Whether the gateway itself refused the request, so that no upstream is to blame.
        self.own = own

    @property
    def number(self) -> int:
        """The gRPC code as a number."""
        return int(self.code.value[0])

    def to_proto(self) -> bytes:
        """The serialised google.rpc.Status, as it travels in `grpc-status-details-bin`."""
        status = status_pb2.Status(code=self.number, message=self.message)
        status.details.extend(any_pb2.Any(type_url=detail.type_url, value=detail.value) for detail in self.details)
        return status.SerializeToString()


def refused(
    reason: str,
    message: str,
    *,
    code: StatusCode = StatusCode.INVALID_ARGUMENT,
    http_status: int = 0,
    field: str = "",
    headers: Iterable[tuple[str, str]] = (),
) -> CallError:
    """The gateway itself refuses the request. `reason` is UPPER_SNAKE_CASE; `field` is the request field at fault."""
    details = [_detail(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN))]
    if field:
        bad = error_details_pb2.BadRequest()
        bad.field_violations.add(field=field, description=message)
        details.append(_detail(bad))
    return CallError(code, message, details, http_status=http_status, headers=headers, own=True)


def unavailable(message: str) -> CallError:
    """The upstream cannot be reached; come again in a second."""
    return _come_again("UPSTREAM_UNAVAILABLE", StatusCode.UNAVAILABLE, message)


def too_many_streams(limit: int) -> CallError:
    """The gateway holds as many streams as it may; come again in a second."""
    return _come_again(
        "TOO_MANY_STREAMS",
        StatusCode.RESOURCE_EXHAUSTED,
        f"The gateway holds {limit} streams, and no more; come later.",
    )


def _come_again(reason: str, code: StatusCode, message: str) -> CallError:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromSeconds(1)
    return CallError(
        code, message, [_detail(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)), _detail(retry)]
    )


def _detail(message: _Told) -> Detail:
    return Detail(f"type.googleapis.com/{message.DESCRIPTOR.full_name}", message.SerializeToString())


def details_from_proto(serialized: bytes) -> tuple[Detail, ...]:
    """The details of a serialised google.rpc.Status; none if it cannot be read."""
    try:
        status = status_pb2.Status.FromString(serialized)
    except Exception:  # protobuf's DecodeError; unreadable details must not cost the code and message
        return ()
    return tuple(Detail(detail.type_url, detail.value) for detail in status.details)


def details_json(error: CallError, registry: Registry | None) -> list[Any]:
    """The details as ProtoJSON values."""
    return [_detail_json(detail, registry) for detail in error.details]


def _detail_json(detail: Detail, registry: Registry | None) -> Any:
    desc = registry.message(detail.type_url.rpartition("/")[2]) if registry is not None else None
    if desc is not None and desc.type_name.partition(".")[0]:
        try:
            value = orjson.loads(desc.type.from_binary(detail.value).to_json(registry=registry))
        except (ValueError, TypeError, RecursionError):
            value = None
        if isinstance(value, dict) and not desc.type_name.startswith("google.protobuf."):
            return {"@type": detail.type_url, **value}
        if value is not None:
            return {"@type": detail.type_url, "value": value}
    return {"@type": detail.type_url, "value": base64.b64encode(detail.value).decode()}


def error_json(error: CallError, registry: Registry | None, *, envelope: bool = True) -> bytes:
    """The body of an error answer: AIP-193 with `envelope`, else google.rpc.Status."""
    details = details_json(error, registry)
    if envelope:
        inner: dict[str, Any] = {"code": error.http_status, "message": error.message, "status": error.code.name}
    else:
        inner = {"code": error.number, "message": error.message}
    if details:
        inner["details"] = details
    return orjson.dumps({"error": inner} if envelope else inner)


def error_headers(error: CallError) -> list[tuple[str, str]]:
    """Headers that a status asks for: Retry-After from RetryInfo, WWW-Authenticate with 401."""
    headers = list(error.headers)
    for detail in error.details:
        if detail.type_url.endswith("/google.rpc.RetryInfo"):
            delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
            headers.append(("retry-after", str(max(0, math.ceil(delay.seconds + delay.nanos / 1e9)))))
    sent = {name for name, _ in (*error.metadata, *headers)}
    if error.http_status == 401 and "www-authenticate" not in sent:
        headers.append(("www-authenticate", "Bearer"))
    return headers
