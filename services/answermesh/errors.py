"""Why a call fails: one table of reasons, and the one exception that carries them.

    Failure                      raised inside, translated once at the edge (rpc.status)
      .reason      Reason        the row of the table: gRPC code, HTTP status
      .message     str           names the thing, the value, the limit and what to do
      .fields      (Field, …)    for INVALID_FIELD and its kin: which field, and what is wrong with it
      .retry_after_s             when to try again, where that is known

The names are those of `answermesh.v1.Error.Reason` without their prefix; a test holds the two together.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from grpc import StatusCode


class Reason(enum.Enum):
    """A cause, with the gRPC code and the HTTP status that it is told by."""

    INVALID_FIELD = (StatusCode.INVALID_ARGUMENT, 400)
    INVALID_PAGE_TOKEN = (StatusCode.INVALID_ARGUMENT, 400)
    INVALID_FILTER = (StatusCode.INVALID_ARGUMENT, 400)
    UNREADABLE_DOCUMENT = (StatusCode.INVALID_ARGUMENT, 400)
    TOO_LARGE = (StatusCode.INVALID_ARGUMENT, 400)
    INVALID_PLAN = (StatusCode.FAILED_PRECONDITION, 400)
    INVALID_CARD = (StatusCode.FAILED_PRECONDITION, 400)
    NOT_FOUND = (StatusCode.NOT_FOUND, 404)
    REQUEST_ID_REUSED = (StatusCode.ALREADY_EXISTS, 409)
    WRONG_STATE = (StatusCode.FAILED_PRECONDITION, 400)
    OVERLOADED = (StatusCode.RESOURCE_EXHAUSTED, 429)
    STORAGE_FULL = (StatusCode.RESOURCE_EXHAUSTED, 429)
    DEADLINE_EXCEEDED = (StatusCode.DEADLINE_EXCEEDED, 504)
    CANCELLED = (StatusCode.CANCELLED, 499)
    DATABASE_UNAVAILABLE = (StatusCode.UNAVAILABLE, 503)
    SERVICE_UNAVAILABLE = (StatusCode.UNAVAILABLE, 503)
    MODEL_UNAVAILABLE = (StatusCode.UNAVAILABLE, 503)
    AGENT_FAILED = (StatusCode.UNKNOWN, 500)
    SLOW_READER = (StatusCode.ABORTED, 409)
    UNIMPLEMENTED = (StatusCode.UNIMPLEMENTED, 501)
    INTERNAL = (StatusCode.INTERNAL, 500)

    # Two reasons may share code and status; without this, Enum would make the second an alias of the first.
    def __new__(cls, code: StatusCode, http_status: int) -> Reason:
        member = object.__new__(cls)
        member._value_ = len(cls.__members__)
        return member

    def __init__(self, code: StatusCode, http_status: int) -> None:
        self.code = code
        self.http_status = http_status


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the request and what is wrong with it."""

    path: str
    description: str


class Failure(Exception):
    """A call cannot be done, for a reason that its caller may be told."""

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        fields: Iterable[Field] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.fields = tuple(fields)
        self.retry_after_s = retry_after_s

    def __repr__(self) -> str:
        return f"Failure({self.reason.name}, {self.message!r})"


def invalid_field(path: str, description: str) -> Failure:
    """The failure of one field: `description` says what is wrong, the limit, and what to do."""
    return Failure(Reason.INVALID_FIELD, f"{path}: {description}", fields=[Field(path, description)])


def not_found(name: str) -> Failure:
    """The failure of a resource name that leads to nothing."""
    return Failure(Reason.NOT_FOUND, f"{name!r} does not exist; check the name, or list what there is.")
