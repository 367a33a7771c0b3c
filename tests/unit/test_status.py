"""Failures and statuses tell the same."""

from __future__ import annotations

import grpc
import pytest
from google.rpc.status_pb2 import Status
from grpc.aio import AioRpcError, Metadata

from answermesh.errors import Failure, Field, Reason
from answermesh.rpc.status import DETAILS_KEY, failure_from, failure_from_status, status_from


@pytest.mark.parametrize("reason", Reason, ids=lambda reason: reason.name)
def test_a_failure_survives_the_way_there_and_back(reason: Reason) -> None:
    failure = Failure(reason, "It is so.", fields=[Field("a.b", "is c.")], retry_after_s=0.25)
    back = failure_from_status(status_from(failure))
    assert (back.reason, back.message, back.fields, back.retry_after_s) == (reason, "It is so.", failure.fields, 0.25)


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_bare_code_becomes_a_failure_of_that_code_or_an_internal_one(code: grpc.StatusCode) -> None:
    failure = failure_from(AioRpcError(code, Metadata(), Metadata(), details="text"))
    told = {grpc.StatusCode.OUT_OF_RANGE: grpc.StatusCode.INVALID_ARGUMENT}
    told |= {grpc.StatusCode.ABORTED: grpc.StatusCode.FAILED_PRECONDITION}
    assert failure.reason.code in (told.get(code, code), grpc.StatusCode.INTERNAL)
    assert failure.message


def test_exception_text_of_strangers_is_not_told() -> None:
    for code in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE):
        failure = failure_from(AioRpcError(code, Metadata(), Metadata(), details="secret"))
        assert "secret" not in failure.message


@pytest.mark.parametrize(
    "details", [b"\xff\xff", Status(code=5, message="another code").SerializeToString()], ids=["garbage", "other code"]
)
def test_details_that_are_broken_or_contradict_the_code_are_ignored(details: bytes) -> None:
    error = AioRpcError(grpc.StatusCode.INVALID_ARGUMENT, Metadata(), Metadata((DETAILS_KEY, details)), details="bad")
    assert failure_from(error).reason is Reason.INVALID_FIELD


def test_a_message_beyond_the_limit_of_its_channel_is_too_large() -> None:
    text = "CLIENT: Sent message larger than max (5 vs. 4)"
    error = AioRpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, Metadata(), Metadata(), details=text)
    assert failure_from(error).reason is Reason.TOO_LARGE


def test_a_call_that_broke_off_while_sending_is_an_unavailable_service_and_may_be_repeated() -> None:
    broken = grpc.aio.AioRpcError(
        grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), grpc.aio.Metadata(), "Internal error from Core"
    )

    assert failure_from(broken).reason is Reason.SERVICE_UNAVAILABLE
