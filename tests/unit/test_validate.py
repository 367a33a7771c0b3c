"""Required fields and stated limits."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from answermesh.errors import Failure, Reason
from answermesh.rpc.validate import check_name, check_required, check_text
from answermesh.v1 import agent_service_pb2, document_service_pb2, model_service_pb2, query_service_pb2


def missing(message: Message) -> list[str]:
    with pytest.raises(Failure) as failure:
        check_required(message)
    assert failure.value.reason is Reason.INVALID_FIELD
    return [field.path for field in failure.value.fields]


def test_each_missing_field_is_named_with_its_path() -> None:
    assert missing(query_service_pb2.GetQueryRequest()) == ["name"]
    assert missing(query_service_pb2.CreateQueryRequest()) == ["query"]
    assert missing(query_service_pb2.CreateQueryRequest(query={})) == ["query.question"]
    assert missing(agent_service_pb2.RunRequest(start={})) == ["start.query", "start.question"]
    assert missing(model_service_pb2.ScoreRequest(query="?")) == ["texts"]
    assert "content" in missing(document_service_pb2.CreateDocumentRequest())


def test_what_is_complete_or_asks_for_nothing_passes() -> None:
    check_required(query_service_pb2.GetQueryRequest(name="queries/q1"))
    check_required(query_service_pb2.CreateQueryRequest(query={"question": "?"}))
    check_required(query_service_pb2.ListQueriesRequest())
    check_required(agent_service_pb2.RunRequest())


def test_output_only_fields_are_not_looked_into() -> None:
    request = query_service_pb2.CreateQueryRequest(query={"question": "?", "answer": {}, "failures": [{}]})
    check_required(request)


@pytest.mark.parametrize("text", ["", " ", "\n\t\u2003", "a" * 11, "a\0b"])
def test_text_outside_its_limits_is_refused(text: str) -> None:
    with pytest.raises(Failure) as failure:
        check_text("query.question", text, 10)
    assert failure.value.fields[0].path == "query.question"


def test_text_within_its_limits_is_given_back_untouched() -> None:
    assert check_text("question", " a\U0001f600 ", 4) == " a\U0001f600 "


@pytest.mark.parametrize(
    "name", ["", "queries", "queries/", "queries/a/b", "query/a", "queries/a b", "queries/\n", "queries/" + "a" * 257]
)
def test_a_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(Failure, match="queries/ID"):
        check_name("name", name, "queries/*")


def test_a_name_gives_its_ids() -> None:
    assert check_name("name", "queries/q-1", "queries/*") == "q-1"
    assert check_name("name", "queries/q/feedback/f", "queries/*/feedback/*") == "q/f"
