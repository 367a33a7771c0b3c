"""Failure <-> google.rpc.Status: what a caller is told when a call fails, and how a caller reads it.

    Failure --status_from--> Status --(trailing metadata)--> AioRpcError --failure_from--> Failure

A Status holds ErrorInfo (domain "answermesh", reason), and where they apply BadRequest and RetryInfo. An error that
carries no such details comes from gRPC itself or from a stranger's server: its code is kept, its text only where a
server chose it for its caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Never

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from answermesh.errors import Failure, Field, Reason

DOMAIN = "answermesh"
# Where gRPC carries a Status (https://grpc.io/docs/guides/error).
DETAILS_KEY = "grpc-status-details-bin"
# Trailers are metadata, refused by most clients above 8 KiB. The message is in them twice, once with up to 3 bytes for
# each of its own and once in base64: 2600 bytes; the fields take 4000 in base64.
_MAX_MESSAGE_BYTES = 600
_MAX_FIELDS_BYTES = 3000
_MAX_PATH_BYTES = 200

_CODES = {code.value[0]: code for code in grpc.StatusCode}
# Codes whose text a server writes for its caller. UNKNOWN, INTERNAL and UNAVAILABLE carry exceptions, paths and
# addresses.
_TOLD = {
    grpc.StatusCode.INVALID_ARGUMENT: Reason.INVALID_FIELD,
    grpc.StatusCode.OUT_OF_RANGE: Reason.INVALID_FIELD,
    grpc.StatusCode.NOT_FOUND: Reason.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: Reason.REQUEST_ID_REUSED,
    grpc.StatusCode.FAILED_PRECONDITION: Reason.WRONG_STATE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Reason.OVERLOADED,
    grpc.StatusCode.ABORTED: Reason.WRONG_STATE,
}
# What grpc.aio says by itself, as INTERNAL, of a call that broke off while a message was being sent; nothing else tells
# it from a server's own INTERNAL.
BROKEN_OFF = "Internal error from Core"
_UNTOLD = {
    grpc.StatusCode.DEADLINE_EXCEEDED: (Reason.DEADLINE_EXCEEDED, "The deadline passed before the work was done."),
    grpc.StatusCode.CANCELLED: (Reason.CANCELLED, "The call was cancelled."),
    grpc.StatusCode.UNAVAILABLE: (
        Reason.SERVICE_UNAVAILABLE,
        "A service needed for the call does not answer; try again, or see `answermesh doctor`.",
    ),
    grpc.StatusCode.UNIMPLEMENTED: (
        Reason.UNIMPLEMENTED,
        "The service reached does not know this method; it may be of another version.",
    ),
}


def status_from(failure: Failure) -> Status:
    """The status that tells of `failure`. Over-long texts are cut, so that it always fits in the trailers."""
    details: list[Any] = [error_details_pb2.ErrorInfo(domain=DOMAIN, reason=failure.reason.name)]
    if failure.fields:
        details.append(error_details_pb2.BadRequest(field_violations=_violations(failure.fields)))
    if failure.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(failure.retry_after_s * 1e9))
        details.append(retry)
    status = Status(code=failure.reason.code.value[0], message=_cut(failure.message, _MAX_MESSAGE_BYTES))
    for detail in details:
        status.details.add().Pack(detail)
    return status


def failure_from_status(status: Status) -> Failure:
    """The failure that `status` tells of; the inverse of `status_from`.

    A status without our ErrorInfo gets the reason that its code comes nearest to.
    """
    reason: Reason | None = None
    fields: list[Field] = []
    retry_after_s: float | None = None
    for detail in status.details:
        if (error_info := _unpack(detail, error_details_pb2.ErrorInfo)) and error_info.domain == DOMAIN:
            reason = Reason.__members__.get(error_info.reason)
        elif bad_request := _unpack(detail, error_details_pb2.BadRequest):
            fields += [Field(violation.field, violation.description) for violation in bad_request.field_violations]
        elif retry := _unpack(detail, error_details_pb2.RetryInfo):
            retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9
    if reason is None:
        return _failure_of_code(_CODES.get(status.code, grpc.StatusCode.UNKNOWN), status.message)
    return Failure(reason, status.message, fields=fields, retry_after_s=retry_after_s)


def failure_from(error: grpc.aio.AioRpcError) -> Failure:
    """The failure that a call ended with."""
    status = details_of(error)
    return failure_from_status(status) if status else _failure_of_code(error.code(), error.details() or "")


def details_of(error: grpc.aio.AioRpcError) -> Status | None:
    """The status that the server sent along with `error`; None if there is none, or one that contradicts the code."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                status = Status.FromString(value)
            except DecodeError:
                return None
            return status if status.code == error.code().value[0] else None
    return None


async def abort(context: Any, failure: Failure) -> Never:
    """End the call of `context` with `failure`. Handlers need not: they raise the failure."""
    await abort_with(context, status_from(failure))


async def abort_with(context: Any, status: Status) -> Never:
    """End the call of `context` with `status`, details included."""
    trailers: list[tuple[str, str | bytes]] = [*(context.trailing_metadata() or ())]
    trailers.append((DETAILS_KEY, status.SerializeToString()))
    if status.code == grpc.StatusCode.UNAVAILABLE.value[0]:
        # Only a call that no handler has seen is retried by the channel (gRFC A6, pushback): what a handler found
        # unavailable is for its caller to judge, else each hop would multiply the tries.
        trailers.append(("grpc-retry-pushback-ms", "-1"))
    await context.abort(_CODES.get(status.code, grpc.StatusCode.UNKNOWN), status.message, tuple(trailers))
    raise AssertionError("abort returned")


def _failure_of_code(code: grpc.StatusCode, text: str) -> Failure:
    if code in _TOLD:
        # gRPC's own words are the only sign that tells a message over the limit from a server that is overloaded.
        too_large = code is grpc.StatusCode.RESOURCE_EXHAUSTED and "message larger than max" in text
        return Failure(Reason.TOO_LARGE if too_large else _TOLD[code], text or code.name)
    if code is grpc.StatusCode.INTERNAL and text == BROKEN_OFF:
        code = grpc.StatusCode.UNAVAILABLE
    reason, sentence = _UNTOLD.get(code, (Reason.INTERNAL, "A service needed for the call failed; its log says why."))
    return Failure(reason, sentence)


def _unpack(detail: any_pb2.Any, kind: Any) -> Any:
    if not detail.Is(kind.DESCRIPTOR):
        return None
    message = kind()
    try:
        detail.Unpack(message)
    except DecodeError:
        return None
    return message


def _violations(fields: Iterable[Field]) -> Iterator[error_details_pb2.BadRequest.FieldViolation]:
    left = _MAX_FIELDS_BYTES
    for field in fields:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(field.path, _MAX_PATH_BYTES), description=_cut(field.description, _MAX_MESSAGE_BYTES)
        )
        left -= violation.ByteSize()
        if left < 0:
            return
        yield violation


def _cut(text: str, max_bytes: int) -> str:
    encoded = text.encode()
    return text if len(encoded) <= max_bytes else encoded[: max_bytes - 3].decode(errors="ignore") + "…"
