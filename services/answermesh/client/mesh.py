"""The client: every call of a mesh as a typed method.

Every method raises `Failure` with the mesh's reason; SERVICE_UNAVAILABLE also where nobody answers at any address.
Every call has a deadline. Cancelling a task cancels its call at the server; a stream left early is closed by
`aclosing`, which also stops the answer of `ask`. Streams of events that break are resumed, at another address if there
is one, without an event lost or doubled.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from answermesh.client.answers import LINGER, asked, watched
from answermesh.client.calls import Calls
from answermesh.client.doors import Doors
from answermesh.client.streams import read
from answermesh.client.uploads import Uploads, requests_of
from answermesh.typed.answermesh import v1

# An import sends gigabytes at most; what is slower than this is stuck.
_IMPORT_LIMIT_S = 6 * 3600.0
# Reading and embedding one long file may take minutes before it is reported.
_IMPORT_SILENCE_LIMIT_S = 600.0


class Client:
    """A connection to one mesh; opened at the first call, closed with the `async with` block.

    `address` is HOST:PORT, [IPV6]:PORT or unix:/path, or several of them with commas between, of which one is used
    while it answers. `timeout_s` bounds each call that is not a stream.
    """

    def __init__(self, address: str, *, timeout_s: float = 30.0) -> None:
        self._doors = Doors(address, timeout_s)
        self._calls = Calls(self._doors)

    @property
    def address(self) -> str:
        """The address that is used now."""
        return self._doors.now.address

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._doors.close()

    # Questions

    def ask(
        self,
        question: str,
        *,
        plan: str = "",
        timeout_s: float | None = None,
        documents: Sequence[str] = (),
        min_confidence: float | None = None,
        drop_unsupported: bool = False,
        session: str = "",
        priority: v1.QueryPriority | None = None,
        ephemeral: bool = False,
    ) -> AsyncGenerator[v1.QueryEvent, None]:
        """Answer a question while listening; closing the generator stops all work for it. Heartbeats are left out.

        A broken stream is resumed where it broke, as by `watch`; a question that is not accepted within seconds is
        given up. Of an `ephemeral` one nothing is stored, so it ends with its stream: Failure(SERVICE_UNAVAILABLE).
        """
        request = v1.AskRequest(question, plan, documents=list(documents), min_confidence=min_confidence)
        if ephemeral:
            request.durability = v1.AskRequestDurability(v1.AskRequestDurability.DURABILITY_EPHEMERAL)
        else:
            request.linger = LINGER
        if priority is not None:
            request.priority = priority
        if session:
            request.session = f"sessions/{session}"
        if drop_unsupported:
            request.unsupported = v1.QueryUnsupported(v1.QueryUnsupported.UNSUPPORTED_DROP)
        if timeout_s is not None:
            request.timeout = timedelta(seconds=timeout_s)
        return asked(self._doors, request, timeout_s, self.cancel_query)

    def watch(self, name: str, after_sequence: int = 0) -> AsyncGenerator[v1.QueryEvent, None]:
        """All events of a query after `after_sequence`, each once and in order, to the last one.

        A broken stream is resumed where it broke; Failure only when two minutes of that brought no sign of life.
        Closing the generator leaves the query running. Heartbeats are left out.
        """
        return watched(self._doors, name, after_sequence)

    async def create_query(
        self,
        question: str,
        *,
        plan: str = "",
        timeout_s: float | None = None,
        documents: Sequence[str] = (),
        request_id: str = "",
        priority: v1.QueryPriority | None = None,
    ) -> v1.Query:
        """Start to answer in the background; the same `request_id` gives the same query."""
        query = v1.Query(question=question, plan=plan, documents=list(documents))
        if priority is not None:
            query.priority = priority
        if timeout_s is not None:
            query.timeout = timedelta(seconds=timeout_s)
        return (
            await self._calls.make(
                lambda door: door.queries.create_query(v1.CreateQueryRequest(query, request_id)),
                repeatable=bool(request_id),
            )
        ).query

    async def get_query(self, name: str) -> v1.Query:
        return (
            await self._calls.make(lambda door: door.queries.get_query(v1.GetQueryRequest(name)), repeatable=True)
        ).query

    async def cancel_query(self, name: str) -> v1.Query:
        return (
            await self._calls.make(lambda door: door.queries.cancel_query(v1.CancelQueryRequest(name)), repeatable=True)
        ).query

    async def delete_query(self, name: str) -> None:
        await self._calls.make(lambda door: door.queries.delete_query(v1.DeleteQueryRequest(name)))

    async def list_queries(self, filter: str = "", page_size: int = 0) -> AsyncGenerator[v1.Query, None]:  # noqa: A002
        """All queries that match, newest first, page by page."""
        async for page in self._calls.pages(
            lambda door, token: door.queries.list_queries(v1.ListQueriesRequest(page_size, token, filter))
        ):
            for query in page.queries:
                yield query

    # Documents

    async def import_paths(
        self, paths: Iterable[str | Path], *, base: Path | None = None, labels: Mapping[str, str] | None = None
    ) -> AsyncGenerator[v1.ImportDocumentsResponse, None]:
        """Import files in one stream: PROGRESS of long ones, the outcome of all; one that fails stops no other.

        `uri` is the file's path below `base` (the working directory by default), or absolute outside of it. `labels`
        are given to all of them.
        """
        uploads = Uploads(paths, base, labels)
        async with aclosing(self._import(uploads.requests())) as stream:
            async for response in stream:
                for unread in uploads.take_unread():
                    yield unread
                yield response
        for unread in uploads.take_unread():
            yield unread

    async def import_documents(
        self, documents: Iterable[tuple[v1.Document, bytes]]
    ) -> AsyncGenerator[v1.ImportDocumentsResponse, None]:
        """Import contents of one's own in one stream, as `import_paths` does files; `documents` must not raise."""
        async with aclosing(self._import(requests_of(documents))) as stream:
            async for response in stream:
                yield response

    async def create_document(self, uri: str, content: bytes, *, title: str = "", media_type: str = "") -> v1.Document:
        document = v1.Document(uri=uri, title=title, media_type=media_type)
        return (
            await self._calls.make(
                lambda door: door.documents.create_document(v1.CreateDocumentRequest(document, content))
            )
        ).document

    async def get_document(self, name: str, *, full: bool = False) -> v1.Document:
        """The document; with its text where `full`."""
        view = v1.GetDocumentRequestView.VIEW_FULL if full else v1.GetDocumentRequestView.VIEW_BASIC
        request = v1.GetDocumentRequest(name, view)  # type: ignore[arg-type]  # betterproto types enum members as int
        return (await self._calls.make(lambda door: door.documents.get_document(request), repeatable=True)).document

    async def list_documents(self, page_size: int = 0) -> AsyncGenerator[v1.Document, None]:
        """All documents, by uri, page by page."""
        async for page in self._calls.pages(
            lambda door, token: door.documents.list_documents(v1.ListDocumentsRequest(page_size, token))
        ):
            for document in page.documents:
                yield document

    async def delete_document(self, name: str) -> None:
        await self._calls.make(lambda door: door.documents.delete_document(v1.DeleteDocumentRequest(name)))

    async def search(
        self,
        query: str,
        *,
        limit: int = 10,
        documents: Sequence[str] = (),
        rerank: v1.SearchPassagesRequestRerank | None = None,
        links: v1.SearchPassagesRequestLinks | None = None,
        filter: str = "",  # noqa: A002
    ) -> list[v1.Passage]:
        """The passages most relevant to `query`, best first, 1-100 of them."""
        request = v1.SearchPassagesRequest(query, limit, list(documents), filter=filter)
        if rerank is not None:
            request.rerank = rerank
        if links is not None:
            request.links = links
        return (await self._calls.make(lambda door: door.documents.search_passages(request), repeatable=True)).passages

    async def delete_session(self, session: str) -> None:
        """Forget what was asked in a conversation."""
        request = v1.DeleteSessionRequest(f"sessions/{session}")
        await self._calls.make(lambda door: door.queries.delete_session(request))

    async def verify_claims(
        self, claims: Sequence[str], *, evidence: Sequence[str] = (), documents: Sequence[str] = ()
    ) -> list[v1.ClaimVerdict]:
        """Whether each claim is supported by the texts given, or by the documents where none are given."""
        request = v1.VerifyClaimsRequest(list(claims), list(evidence), list(documents))
        return (await self._calls.make(lambda door: door.claims.verify_claims(request))).verdicts

    # The graph

    async def list_neighbors(self, request: v1.ListNeighborsRequest) -> v1.ListNeighborsResponse:
        return await self._calls.make(lambda door: door.graph.list_neighbors(request), repeatable=True)

    async def list_entities(self, request: v1.ListEntitiesRequest) -> v1.ListEntitiesResponse:
        return await self._calls.make(lambda door: door.graph.list_entities(request), repeatable=True)

    async def get_entity(self, name: str) -> v1.Entity:
        return (
            await self._calls.make(lambda door: door.graph.get_entity(v1.GetEntityRequest(name)), repeatable=True)
        ).entity

    # The mesh, opinions and cost

    async def list_agents(self) -> AsyncGenerator[v1.Agent, None]:
        async for page in self._calls.pages(
            lambda door, token: door.mesh.list_agents(v1.ListAgentsRequest(page_token=token))
        ):
            for agent in page.agents:
                yield agent

    async def get_agent(self, name: str) -> v1.Agent:
        return (
            await self._calls.make(lambda door: door.mesh.get_agent(v1.GetAgentRequest(name)), repeatable=True)
        ).agent

    async def health(self) -> v1.Health:
        return (
            await self._calls.make(lambda door: door.mesh.get_health(v1.GetHealthRequest()), repeatable=True)
        ).health

    async def create_feedback(
        self, query: str, rating: v1.FeedbackRating, *, comment: str = "", sentence_index: int | None = None
    ) -> v1.Feedback:
        feedback = v1.Feedback(rating=rating, comment=comment, sentence_index=sentence_index)
        return (
            await self._calls.make(
                lambda door: door.feedback.create_feedback(v1.CreateFeedbackRequest(query, feedback))
            )
        ).feedback

    async def list_feedback(self, query: str) -> AsyncGenerator[v1.Feedback, None]:
        """What was said of an answer, newest first, page by page."""
        async for page in self._calls.pages(
            lambda door, token: door.feedback.list_feedback(v1.ListFeedbackRequest(query, page_token=token))
        ):
            for feedback in page.feedback:
                yield feedback

    async def usage(self, start: datetime | None = None, end: datetime | None = None) -> v1.GetUsageResponse:
        request = v1.GetUsageRequest(start, end)  # type: ignore[arg-type]  # None = unset
        return await self._calls.make(lambda door: door.usage.get_usage(request), repeatable=True)

    # Streams

    def _import(
        self, requests: AsyncIterator[v1.ImportDocumentsRequest]
    ) -> AsyncGenerator[v1.ImportDocumentsResponse, None]:
        door = self._doors.now
        responses = door.documents.import_documents(requests, timeout=_IMPORT_LIMIT_S)
        return read(responses, door.address, _IMPORT_SILENCE_LIMIT_S)
