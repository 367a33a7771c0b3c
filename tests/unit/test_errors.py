"""The table of reasons."""

from __future__ import annotations

from grpc import StatusCode

from answermesh.errors import Failure, Reason, invalid_field, not_found
from answermesh.v1.error_pb2 import Error

# google/rpc/code.proto maps each code to one HTTP status.
HTTP = {
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.ABORTED: 409,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.CANCELLED: 499,
    StatusCode.INTERNAL: 500,
    StatusCode.UNKNOWN: 500,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}


def test_the_reasons_are_those_of_the_proto() -> None:
    names = {name.removeprefix("REASON_") for name, _ in Error.Reason.items()} - {"UNSPECIFIED"}
    assert {reason.name for reason in Reason} == names


def test_each_code_has_its_one_http_status() -> None:
    assert all(HTTP[reason.code] == reason.http_status for reason in Reason)


def test_reasons_that_share_code_and_status_stay_apart() -> None:
    assert Reason.INVALID_FIELD is not Reason.INVALID_FILTER
    assert len({reason.value for reason in Reason}) == len(Reason.__members__)


def test_a_failure_of_a_field_names_it() -> None:
    failure = invalid_field("query.question", "is empty.")
    assert str(failure) == "query.question: is empty."
    assert failure.fields[0].path == "query.question"


def test_a_missing_resource_is_named() -> None:
    assert repr(not_found("queries/q1")).startswith("Failure(NOT_FOUND, \"'queries/q1'")
    assert isinstance(not_found("x"), Failure)
