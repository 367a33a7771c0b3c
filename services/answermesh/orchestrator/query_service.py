"""QueryService: asking, watching, listing, cancelling and deleting queries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from datetime import datetime

import grpc
from google.protobuf.duration_pb2 import Duration

from answermesh.errors import Failure, Reason, invalid_field
from answermesh.orchestrator.desk import Desk
from answermesh.orchestrator.reaching.registry import Registry
from answermesh.orchestrator.records import filter as query_filter
from answermesh.orchestrator.records.queries import FINAL, Queries, new_query
from answermesh.orchestrator.records.sessions import Sessions
from answermesh.orchestrator.records.watching import Watching
from answermesh.orchestrator.routing import Routes
from answermesh.rpc.deadline import remaining_s
from answermesh.rpc.pages import decode_token, encode_token, page_size
from answermesh.rpc.tenancy import current_tenant
from answermesh.rpc.validate import check_name, check_text
from answermesh.v1 import query_service_pb2 as pb
from answermesh.v1.query_pb2 import Query, QueryEvent
from answermesh.v1.query_service_pb2_grpc import QueryServiceServicer

MAX_QUESTION = 4000
MAX_DOCUMENTS = 100
MAX_ID = 64
MAX_LINGER_S = 60
# Events of one response; a reader on gRPC's default limit takes 4 MiB.
MAX_PARCEL_BYTES = 256 * 1024
# Readers that take events together get them this often at most, the last one at once: 50 times a second look smooth.
FRAME_S = 0.02
# How long CancelQuery waits for the query to end.
CANCEL_S = 10.0


class QueryService(QueryServiceServicer):
    """The servicer. Queries, watching and desk do the work; this checks what is asked, and answers."""

    def __init__(
        self,
        queries: Queries,
        watching: Watching,
        desk: Desk,
        registry: Registry,
        routes: Routes,
        sessions: Sessions,
    ) -> None:
        self._queries = queries
        self._watching = watching
        self._desk = desk
        self._registry = registry
        self._routes = routes
        self._sessions = sessions

    async def Ask(
        self, request: pb.AskRequest, context: grpc.aio.ServicerContext[pb.AskRequest, pb.AskResponse]
    ) -> AsyncIterator[pb.AskResponse]:
        stored = request.durability != pb.AskRequest.DURABILITY_EPHEMERAL
        query = await self._accepted("", request, stored)
        query.priority = request.priority or Query.PRIORITY_INTERACTIVE
        query_id = query.name.removeprefix("queries/")
        linger_s = _linger_s(request.linger)
        ended = named = False
        await self._desk.until_ready()
        try:
            if not stored:
                # There is nothing that the reader could come back to.
                linger_s = 0.0
                log = await self._desk.ask_unstored(query, remaining_s())
                # The run has begun when the first response goes out, which then tells that too.
                await asyncio.sleep(0)
                watching = log.watch(FRAME_S if request.batched else 0.0)
            else:
                await self._desk.ask(query, remaining_s(), linger_s=linger_s)
                watching = self._watching.watch(current_tenant(), query_id, 0)
            async with aclosing(watching) as lists:
                async for events in lists:
                    ended = events[-1].HasField("query_ended")
                    named = True
                    for together in parcels(events) if request.batched else ([event] for event in events):
                        yield pb.AskResponse(event=together[0], more=together[1:])
        finally:
            # A reader that has seen no event cannot come back: it has not learnt the query's name.
            if not (ended or (stored and self._desk.closed) or (linger_s and named)):
                self._desk.cancel(query_id, Failure(Reason.CANCELLED, "Its reader hung up."))

    async def CreateQuery(
        self,
        request: pb.CreateQueryRequest,
        context: grpc.aio.ServicerContext[pb.CreateQueryRequest, pb.CreateQueryResponse],
    ) -> pb.CreateQueryResponse:
        asked = request.query
        query = await self._accepted("query.", asked, True)
        query.priority = asked.priority or Query.PRIORITY_BATCH
        if request.request_id:
            _check_id("request_id", request.request_id)
        self._registry.wiring(query.plan)
        accepted = await self._queries.accept(current_tenant(), query, request.request_id)
        self._desk.look()
        return pb.CreateQueryResponse(query=accepted)

    async def DeleteSession(
        self,
        request: pb.DeleteSessionRequest,
        context: grpc.aio.ServicerContext[pb.DeleteSessionRequest, pb.DeleteSessionResponse],
    ) -> pb.DeleteSessionResponse:
        await self._sessions.delete(current_tenant(), check_name("name", request.name, "sessions/*"))
        return pb.DeleteSessionResponse()

    async def _accepted(self, path: str, asked: pb.AskRequest | Query, stored: bool) -> Query:
        """A new query of what was asked, with the question that it means and the plan that answers it."""
        query = _checked(path, asked)
        await self._sessions.enter(current_tenant(), query, stored=stored)
        question = query.resolved_question or query.question
        query.route.CopyFrom(self._routes.route(question, asked.plan))
        query.plan = query.route.plan
        return query

    async def GetQuery(
        self, request: pb.GetQueryRequest, context: grpc.aio.ServicerContext[pb.GetQueryRequest, pb.GetQueryResponse]
    ) -> pb.GetQueryResponse:
        query_id = check_name("name", request.name, "queries/*")
        return pb.GetQueryResponse(query=await self._queries.get(current_tenant(), query_id))

    async def ListQueries(
        self,
        request: pb.ListQueriesRequest,
        context: grpc.aio.ServicerContext[pb.ListQueriesRequest, pb.ListQueriesResponse],
    ) -> pb.ListQueriesResponse:
        size = page_size(request.page_size)
        wanted = query_filter.parse(request.filter)
        scope = f"ListQueries {request.filter}"
        position = decode_token(scope, request.page_token)
        after = (datetime.fromisoformat(str(position[0])), str(position[1])) if position else None
        queries, more = await self._queries.page(current_tenant(), wanted, after, size)
        token = encode_token(scope, [more[0].isoformat(), more[1]]) if more else ""
        return pb.ListQueriesResponse(queries=queries, next_page_token=token)

    async def WatchQuery(
        self,
        request: pb.WatchQueryRequest,
        context: grpc.aio.ServicerContext[pb.WatchQueryRequest, pb.WatchQueryResponse],
    ) -> AsyncIterator[pb.WatchQueryResponse]:
        query_id = check_name("name", request.name, "queries/*")
        if request.after_sequence < 0:
            raise invalid_field("after_sequence", f"is {request.after_sequence}; must be 0 or more.")
        async with aclosing(self._watching.watch(current_tenant(), query_id, request.after_sequence)) as lists:
            async for events in lists:
                for event in events:
                    yield pb.WatchQueryResponse(event=event)

    async def CancelQuery(
        self,
        request: pb.CancelQueryRequest,
        context: grpc.aio.ServicerContext[pb.CancelQueryRequest, pb.CancelQueryResponse],
    ) -> pb.CancelQueryResponse:
        query_id = check_name("name", request.name, "queries/*")
        query = await self._queries.get(current_tenant(), query_id)
        if query.state not in FINAL:
            failure = Failure(Reason.CANCELLED, "Cancelled by its caller.")
            if task := self._desk.cancel(query_id, failure):
                await asyncio.wait([task], timeout=CANCEL_S)
            else:
                await self._desk.end_elsewhere(query_id, failure)
            query = await self._queries.get(current_tenant(), query_id)
        return pb.CancelQueryResponse(query=query)

    async def DeleteQuery(
        self,
        request: pb.DeleteQueryRequest,
        context: grpc.aio.ServicerContext[pb.DeleteQueryRequest, pb.DeleteQueryResponse],
    ) -> pb.DeleteQueryResponse:
        query_id = check_name("name", request.name, "queries/*")
        await self._queries.delete(current_tenant(), query_id)
        await self._sessions.forget_query(current_tenant(), query_id)
        return pb.DeleteQueryResponse()


def parcels(events: Sequence[QueryEvent]) -> Iterator[Sequence[QueryEvent]]:
    """Events in order, as many together as a message should carry."""
    start = size = 0
    for index, event in enumerate(events):
        size += event.ByteSize()
        if size > MAX_PARCEL_BYTES and index > start:
            yield events[start:index]
            start, size = index, event.ByteSize()
    yield events[start:]


def _checked(path: str, asked: pb.AskRequest | Query) -> Query:
    """A new query of what was asked. Raises Failure(INVALID_FIELD) naming the field."""
    check_text(f"{path}question", asked.question, MAX_QUESTION)
    timeout_s = asked.timeout.ToMicroseconds() / 1e6
    if timeout_s and not 0.1 <= timeout_s <= 600:
        raise invalid_field(f"{path}timeout", f"is {timeout_s:g} s; must be 0.1 s to 600 s.")
    names = list(asked.documents)
    if len(names) > MAX_DOCUMENTS:
        raise invalid_field(f"{path}documents", f"holds {len(names)}; at most {MAX_DOCUMENTS} are allowed.")
    for index, name in enumerate(names):
        check_name(f"{path}documents[{index}]", name, "documents/*")
    if asked.HasField("min_confidence") and not 0 <= asked.min_confidence <= 1:
        raise invalid_field(f"{path}min_confidence", f"is {asked.min_confidence:g}; must be 0 to 1.")
    query = new_query(asked.question, plan=asked.plan, timeout_s=timeout_s, documents=names)
    if asked.session:
        _check_id(f"{path}session", check_name(f"{path}session", asked.session, "sessions/*"))
        query.session = asked.session
    if asked.HasField("min_confidence"):
        query.min_confidence = asked.min_confidence
    query.unsupported = asked.unsupported
    return query


def _linger_s(linger: Duration) -> float:
    linger_s = linger.ToMicroseconds() / 1e6
    if not 0 <= linger_s <= MAX_LINGER_S:
        raise invalid_field("linger", f"is {linger_s:g} s; must be 0 to {MAX_LINGER_S} s.")
    return linger_s


def _check_id(path: str, value: str) -> None:
    """Raise Failure(INVALID_FIELD) for an id of a caller's that is too long or holds another character."""
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    if len(value) > MAX_ID or not set(value) <= allowed:
        raise invalid_field(path, f"must be up to {MAX_ID} letters, digits, '-', '_' and '.'.")
