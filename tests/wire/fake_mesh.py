"""A mesh that answers what a test tells it to: real servicers and messages, a server on a port of the kernel's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from answermesh.errors import Failure, Reason, not_found
from answermesh.rpc.server import Server
from answermesh.rpc.status import status_from
from answermesh.v1 import (
    claim_service_pb2_grpc,
    document_service_pb2_grpc,
    mesh_service_pb2_grpc,
    query_service_pb2_grpc,
)
from answermesh.v1.claim_service_pb2 import ClaimVerdict, VerifyClaimsRequest, VerifyClaimsResponse
from answermesh.v1.document_pb2 import Document
from answermesh.v1.document_service_pb2 import (
    DeleteDocumentResponse,
    GetDocumentResponse,
    ImportDocumentsResponse,
    ListDocumentsResponse,
    SearchPassagesResponse,
)
from answermesh.v1.finding_pb2 import Citation, Conclusion, Finding, Passage, Sentence, Span, TextDelta, Verdict
from answermesh.v1.mesh_pb2 import Agent, AgentCard, Health
from answermesh.v1.mesh_service_pb2 import GetHealthResponse, ListAgentsResponse
from answermesh.v1.query_pb2 import AgentFailure, Answer, AnswerSentence, Query, QueryEvent
from answermesh.v1.query_service_pb2 import (
    AskResponse,
    CancelQueryResponse,
    GetQueryResponse,
    ListQueriesResponse,
    WatchQueryResponse,
)

TEXT = "Raft elects a leader. It needs a quorum. The moon helps."
# A title that would clear the screen and set the window's title, if anybody printed it as it is.
EVIL_TITLE = "Raft\x1b[2J\x1b]0;owned\x07 guide"
NAME = "queries/q1"


def citation(index: int, start: int, end: int) -> Citation:
    return Citation(
        sentence_index=index,
        passage="documents/d1/passages/p1",
        document="documents/d1",
        document_title=EVIL_TITLE,
        uri="docs/raft.md",
        span=Span(start=start, end=end),
        text="A leader is elected\nby majority.",
        confidence=0.9,
    )


def verdict(index: int, value: Verdict.Value) -> Verdict:
    return Verdict(sentence_index=index, value=value, confidence=0.8, method="embedded", rationale="it is stated")


SENTENCES = [(0, 21), (22, 40), (41, 56)]
VERDICTS = [Verdict.VALUE_SUPPORTED, Verdict.VALUE_REFUTED, Verdict.VALUE_NOT_ENOUGH_EVIDENCE]
CITATIONS = {0: [citation(0, 10, 40)], 1: [citation(1, 10, 40), citation(1, 90, 99)], 2: []}


def final_query(state: Query.State = Query.STATE_SUCCEEDED) -> Query:
    sentences = [
        AnswerSentence(
            index=index,
            text=TEXT[start:end],
            span=Span(start=start, end=end),
            citations=CITATIONS[index],
            verdict=verdict(index, VERDICTS[index]),
        )
        for index, (start, end) in enumerate(SENTENCES)
    ]
    answer = Answer(text=TEXT, sentences=sentences, mode=Conclusion.MODE_EXTRACTIVE, answered=True, confidence=0.5)
    return Query(name=NAME, question="How?", state=state, answer=answer, last_sequence=20)


def partial_query() -> Query:
    query = final_query(Query.STATE_PARTIAL)
    query.failures.append(
        AgentFailure(agent="graph", error=status_from(Failure(Reason.SERVICE_UNAVAILABLE, "It died.")))
    )
    return query


def failed_query() -> Query:
    error = status_from(Failure(Reason.AGENT_FAILED, "Agent 'synthesis' failed."))
    return Query(name=NAME, question="How?", state=Query.STATE_FAILED, error=error)


def events(query: Query | None = None) -> list[QueryEvent]:
    """All events of an answer, numbered."""
    findings = [
        Finding(id="t1", agent="synthesis", text_delta=TextDelta(text=TEXT[:30], offset=0)),
        Finding(id="s0", agent="synthesis", sentence=Sentence(index=0, text=TEXT[:21], span=Span(start=0, end=21))),
        Finding(id="t2", agent="synthesis", text_delta=TextDelta(text=TEXT[30:], offset=30)),
        Finding(id="c0", agent="citation", citation=CITATIONS[0][0]),
        Finding(id="v0", agent="factcheck", verdict=verdict(0, VERDICTS[0])),
        Finding(id="p0", agent="retrieval", passage=Passage(name="documents/d1/passages/p1", text="A leader…")),
    ]
    told = [
        QueryEvent(state_changed=QueryEvent.StateChanged(state=Query.STATE_RUNNING)),
        QueryEvent(agent_started=QueryEvent.AgentStarted(agent="synthesis", attempt=1)),
        *(QueryEvent(finding=finding) for finding in findings),
        QueryEvent(heartbeat=QueryEvent.Heartbeat()),
        QueryEvent(
            agent_ended=QueryEvent.AgentEnded(
                agent="graph",
                duration=Duration(nanos=250_000_000),
                error=status_from(Failure(Reason.SERVICE_UNAVAILABLE, "It died.")),
            )
        ),
        QueryEvent(query_ended=query or final_query()),
    ]
    sequence = 0
    for event in told:
        sequence += not event.HasField("heartbeat")
        event.query, event.sequence = NAME, sequence
        event.event_time.CopyFrom(Timestamp(seconds=1_700_000_000, nanos=sequence * 10_000_000))
    return told


class FakeMesh(
    query_service_pb2_grpc.QueryServiceServicer,
    document_service_pb2_grpc.DocumentServiceServicer,
    mesh_service_pb2_grpc.MeshServiceServicer,
    claim_service_pb2_grpc.ClaimServiceServicer,
):
    """What a test changes: `told`, `failure`, `health`; what it looks at: `watched_after`, `files`, `ended`."""

    def __init__(self) -> None:
        self.address = ""
        self.told = events()
        self.failure: Failure | None = None
        # How many calls fail so; None: all.
        self.fails: int | None = None
        # Ask tells all but the last event, and then waits for ever.
        self.hangs = False
        # Watches break off after so many events each, as often as the list says.
        self.breaks: list[int] = []
        self.watched_after: list[int] = []
        # Ask breaks off after so many events.
        self.ask_breaks: int | None = None
        self.asked: list[Any] = []
        self.cancelled: list[str] = []
        self.asking = asyncio.Event()
        self.ended = asyncio.Event()
        self.files: dict[str, bytes] = {}
        self.labels: dict[str, dict[str, str]] = {}
        self.deleted: list[str] = []
        self.verified: list[VerifyClaimsRequest] = []
        self.health = Health(
            status=Health.STATUS_OK,
            version="0.1.0",
            components=[Health.Component(component="database", status=Health.STATUS_OK)],
        )

    def _fail(self) -> None:
        if self.failure is not None and self.fails != 0:
            if self.fails is not None:
                self.fails -= 1
            raise self.failure

    async def Ask(self, request: Any, context: Any) -> AsyncIterator[AskResponse]:
        self._fail()
        self.asked.append(request)
        try:
            for event in (self.told[:-1] if self.hangs else self.told)[: self.ask_breaks]:
                yield AskResponse(event=event)
            if self.ask_breaks is not None:
                raise Failure(Reason.SERVICE_UNAVAILABLE, "It is stopping.")
            self.asking.set()
            if self.hangs:
                await asyncio.Event().wait()
        finally:
            # Cancelled while it waits, or closed where it yields.
            self.ended.set()

    async def WatchQuery(self, request: Any, context: Any) -> AsyncIterator[WatchQueryResponse]:
        self._fail()
        self.watched_after.append(request.after_sequence)
        allowed = self.breaks.pop(0) if self.breaks else len(self.told)
        for event in self.told:
            if event.sequence > request.after_sequence:
                if not allowed:
                    raise Failure(Reason.SLOW_READER, "You read too slowly; watch again.")
                allowed -= 1
                yield WatchQueryResponse(event=event)

    async def GetQuery(self, request: Any, context: Any) -> GetQueryResponse:
        if request.name != NAME:
            raise not_found(request.name)
        return GetQueryResponse(query=final_query())

    async def ListQueries(self, request: Any, context: Any) -> ListQueriesResponse:
        if request.page_token:
            return ListQueriesResponse(queries=[Query(name="queries/q2", question="Second?", state=Query.STATE_FAILED)])
        return ListQueriesResponse(queries=[Query(name=NAME, question="First?")], next_page_token="more")

    async def CancelQuery(self, request: Any, context: Any) -> CancelQueryResponse:
        self.cancelled.append(request.name)
        return CancelQueryResponse(query=Query(name=request.name, state=Query.STATE_CANCELLED))

    async def ImportDocuments(
        self, requests: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[ImportDocumentsResponse]:
        self._fail()
        uri = ""
        async for request in requests:
            if request.HasField("start"):
                uri = request.start.uri
                self.labels[uri] = dict(request.start.labels)
                self.files[uri] = b""
                yield ImportDocumentsResponse(
                    uri=uri, outcome=ImportDocumentsResponse.OUTCOME_PROGRESS, passages_done=1, passages_total=2
                )
            else:
                self.files[uri] += request.chunk
        for uri, content in self.files.items():
            yield _outcome(uri, content)

    async def ListDocuments(self, request: Any, context: Any) -> ListDocumentsResponse:
        return ListDocumentsResponse(
            documents=[Document(name="documents/d1", uri="docs/raft.md", title=EVIL_TITLE, passage_count=3)]
        )

    async def GetDocument(self, request: Any, context: Any) -> GetDocumentResponse:
        return GetDocumentResponse(document=Document(name=request.name, uri="docs/raft.md", text="One.\x1b[31mTwo."))

    async def DeleteDocument(self, request: Any, context: Any) -> DeleteDocumentResponse:
        self.deleted.append(request.name)
        return DeleteDocumentResponse()

    async def SearchPassages(self, request: Any, context: Any) -> SearchPassagesResponse:
        self._fail()
        passage = Passage(document_title=EVIL_TITLE, uri="docs/raft.md", text="A leader.", span=Span(start=1, end=9))
        return SearchPassagesResponse(passages=[passage])

    async def VerifyClaims(self, request: Any, context: Any) -> VerifyClaimsResponse:
        self.verified.append(request)
        told = Verdict(value=Verdict.VALUE_REFUTED, confidence=0.87, rationale="the source says 5, the sentence says 7")
        told.evidence.CopyFrom(citation(0, 10, 40))
        if request.evidence:
            told.evidence.uri = ""
        return VerifyClaimsResponse(verdicts=[ClaimVerdict(claim=claim, verdict=told) for claim in request.claims])

    async def ListAgents(self, request: Any, context: Any) -> ListAgentsResponse:
        card = AgentCard(agent="graph", produces=[Finding.KIND_RELATION])
        card.consumes.add(kind=Finding.KIND_ENTITY, optional=True)
        return ListAgentsResponse(
            agents=[Agent(name="agents/graph", card=card, health=Agent.HEALTH_SERVING, run_count=2)]
        )

    async def GetHealth(self, request: Any, context: Any) -> GetHealthResponse:
        return GetHealthResponse(health=self.health)


def _outcome(uri: str, content: bytes) -> ImportDocumentsResponse:
    if not content:
        failure = Failure(Reason.UNREADABLE_DOCUMENT, f"{uri} is empty; import a file with text.")
        return ImportDocumentsResponse(
            uri=uri, outcome=ImportDocumentsResponse.OUTCOME_FAILED, error=status_from(failure)
        )
    document = Document(name="documents/d", uri=uri, passage_count=2)
    return ImportDocumentsResponse(uri=uri, outcome=ImportDocumentsResponse.OUTCOME_CREATED, document=document)


@asynccontextmanager
async def fake_mesh(kind: type[FakeMesh] = FakeMesh) -> AsyncIterator[FakeMesh]:
    """A fake mesh that serves at `address`."""
    mesh = kind()
    server = Server("127.0.0.1:0", drain_wait_s=0)
    server.add(query_service_pb2_grpc.add_QueryServiceServicer_to_server, mesh)
    server.add(claim_service_pb2_grpc.add_ClaimServiceServicer_to_server, mesh)
    server.add(document_service_pb2_grpc.add_DocumentServiceServicer_to_server, mesh)
    server.add(mesh_service_pb2_grpc.add_MeshServiceServicer_to_server, mesh)
    mesh.address = await server.start()
    try:
        yield mesh
    finally:
        await server.drain(grace_s=0.1)
