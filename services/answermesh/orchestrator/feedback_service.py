"""FeedbackService: what readers think of answers."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import grpc

from answermesh.errors import Failure, Reason, invalid_field
from answermesh.orchestrator.records.queries import FINAL, Queries
from answermesh.rpc.pages import decode_token, encode_token, page_size
from answermesh.rpc.tenancy import current_tenant
from answermesh.rpc.validate import check_name
from answermesh.store import Store, statements
from answermesh.v1 import feedback_service_pb2 as pb
from answermesh.v1.feedback_service_pb2_grpc import FeedbackServiceServicer
from answermesh.v1.query_pb2 import Query

SQL = statements("answermesh.orchestrator.records", "queries")

MAX_COMMENT = 4000


class FeedbackService(FeedbackServiceServicer):
    """The servicer."""

    def __init__(self, store: Store, queries: Queries) -> None:
        self._store = store
        self._queries = queries

    async def CreateFeedback(
        self,
        request: pb.CreateFeedbackRequest,
        context: grpc.aio.ServicerContext[pb.CreateFeedbackRequest, pb.CreateFeedbackResponse],
    ) -> pb.CreateFeedbackResponse:
        query_id = check_name("parent", request.parent, "queries/*")
        given = request.feedback
        if given.rating not in (pb.Feedback.RATING_GOOD, pb.Feedback.RATING_BAD):
            raise invalid_field("feedback.rating", f"is {given.rating}; must be RATING_GOOD or RATING_BAD.")
        if len(given.comment) > MAX_COMMENT:
            what = f"has {len(given.comment)} characters; {MAX_COMMENT} are allowed."
            raise invalid_field("feedback.comment", what)
        _check_about(given, await self._queries.get(current_tenant(), query_id))
        stored = pb.Feedback(rating=given.rating, comment=given.comment)
        if given.HasField("sentence_index"):
            stored.sentence_index = given.sentence_index
        feedback_id = secrets.token_hex(10)
        stored.name = f"{request.parent}/feedback/{feedback_id}"
        stored.create_time.GetCurrentTime()
        moment = stored.create_time.ToDatetime(UTC)
        async with self._store.transaction(current_tenant()) as tx:
            await tx.execute(SQL.insert_feedback, query_id, feedback_id, stored.SerializeToString(), moment)
        return pb.CreateFeedbackResponse(feedback=stored)

    async def ListFeedback(
        self,
        request: pb.ListFeedbackRequest,
        context: grpc.aio.ServicerContext[pb.ListFeedbackRequest, pb.ListFeedbackResponse],
    ) -> pb.ListFeedbackResponse:
        query_id = check_name("parent", request.parent, "queries/*")
        size = page_size(request.page_size)
        scope = f"ListFeedback {request.parent}"
        position = decode_token(scope, request.page_token)
        moment, feedback_id = (datetime.fromisoformat(str(position[0])), str(position[1])) if position else (None, "")
        await self._queries.get(current_tenant(), query_id)
        async with self._store.transaction(current_tenant()) as tx:
            rows = await tx.fetch(SQL.list_feedback, query_id, moment, feedback_id, size + 1)
        token = ""
        if len(rows) > size:
            token = encode_token(scope, [rows[size - 1]["create_time"].isoformat(), rows[size - 1]["feedback_id"]])
        feedback = [pb.Feedback.FromString(row["record"]) for row in rows[:size]]
        return pb.ListFeedbackResponse(feedback=feedback, next_page_token=token)


def _check_about(given: pb.Feedback, query: Query) -> None:
    if query.state not in FINAL:
        state = Query.State.Name(query.state).removeprefix("STATE_")
        raise Failure(Reason.WRONG_STATE, f"{query.name} is {state}; give feedback when it has ended.")
    sentences = len(query.answer.sentences)
    if given.HasField("sentence_index") and not 0 <= given.sentence_index < sentences:
        what = f"is {given.sentence_index}; the answer has {sentences} sentences, counted from 0."
        raise invalid_field("feedback.sentence_index", what)
