"""The client: every call of a mesh as a typed method.

Every method raises `Failure` with the mesh's reason; SERVICE_UNAVAILABLE also where nobody answers at the address.
Every call has a deadline. Cancelling a task cancels its call at the server; a stream left early is closed by
`aclosing`, which also stops the answer of `ask`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from grpclib.client import Channel

from answermesh.client.faults import translated
from answermesh.client.members import chosen
from answermesh.client.uploads import Uploads, requests_of
from answermesh.errors import Failure, Reason, invalid_field
from answermesh.typed.answermesh import v1

# Longest time that the contract lets a query take, and what the way there and back may add.
_QUERY_LIMIT_S = 600.0
_MARGIN_S = 5.0
# The mesh sends a heartbeat every few seconds; a stream that is silent for longer is dead.
_SILENCE_LIMIT_S = 30.0
# An import sends gigabytes at most; what is slower than this is stuck.
_IMPORT_LIMIT_S = 6 * 3600.0
# Reading and embedding one long file may take minutes before it is reported.
_IMPORT_SILENCE_LIMIT_S = 600.0
# A broken watch is resumed at these intervals; after so many without an event it is given up.
_RESUME_DELAYS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 5.0, 5.0, 5.0, 5.0)
_RESUMABLE = {Reason.SERVICE_UNAVAILABLE, Reason.DATABASE_UNAVAILABLE, Reason.SLOW_READER, Reason.DEADLINE_EXCEEDED}

_T = TypeVar("_T")


class _Page(Protocol):
    next_page_token: str


class _Response(Protocol):
    event: v1.QueryEvent


_P = TypeVar("_P", bound=_Page)
_R = TypeVar("_R", bound=_Response)


class Client:
    """A connection to one mesh; opened at the first call, closed with the `async with` block.

    `address` is HOST:PORT, [IPV6]:PORT or unix:/path. `timeout_s` bounds each call that is not a stream.
    """

    def __init__(self, address: str, *, timeout_s: float = 30.0) -> None:
        self.address = address
        self._timeout_s = timeout_s
        self._channel = _channel(address)
        self._queries = v1.QueryServiceStub(self._channel, timeout=timeout_s)
        self._documents = v1.DocumentServiceStub(self._channel, timeout=timeout_s)
        self._graph = v1.GraphServiceStub(self._channel, timeout=timeout_s)
        self._mesh = v1.MeshServiceStub(self._channel, timeout=timeout_s)
        self._feedback = v1.FeedbackServiceStub(self._channel, timeout=timeout_s)
        self._usage = v1.UsageServiceStub(self._channel, timeout=timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    # Questions

    async def ask(
        self, question: str, *, plan: str = "", timeout_s: float | None = None, documents: Sequence[str] = ()
    ) -> AsyncGenerator[v1.QueryEvent, None]:
        """Answer a question while listening; closing the generator stops all work for it. Heartbeats are left out."""
        request = v1.AskRequest(question, plan, _duration(timeout_s), list(documents))  # type: ignore[arg-type]  # None = unset
        limit_s = (_QUERY_LIMIT_S if timeout_s is None else timeout_s) + _MARGIN_S
        async with aclosing(self._events(self._queries.ask(request, timeout=limit_s))) as events:
            async for event in events:
                if not _is(event, "heartbeat"):
                    yield event

    async def watch(self, name: str, after_sequence: int = 0) -> AsyncGenerator[v1.QueryEvent, None]:
        """All events of a query after `after_sequence`, each once and in order, to the last one.

        A broken stream is resumed where it broke; Failure only when about half a minute of that brought nothing.
        Closing the generator leaves the query running. Heartbeats are left out.
        """
        failures = 0
        while True:
            request = v1.WatchQueryRequest(name, after_sequence)
            responses = self._queries.watch_query(request, timeout=_QUERY_LIMIT_S + _MARGIN_S)
            try:
                async with aclosing(self._events(responses)) as events:
                    async for event in events:
                        failures = 0
                        if _is(event, "heartbeat") or event.sequence <= after_sequence:
                            continue
                        after_sequence = event.sequence
                        yield event
                        if _is(event, "query_ended"):
                            return
            except Failure as failure:
                if failure.reason not in _RESUMABLE or failures >= len(_RESUME_DELAYS_S):
                    raise
            if failures >= len(_RESUME_DELAYS_S):
                raise Failure(Reason.SERVICE_UNAVAILABLE, f"The events of {name} end early; watch it again later.")
            await asyncio.sleep(_RESUME_DELAYS_S[failures])
            failures += 1

    async def create_query(
        self,
        question: str,
        *,
        plan: str = "",
        timeout_s: float | None = None,
        documents: Sequence[str] = (),
        request_id: str = "",
    ) -> v1.Query:
        """Start to answer in the background; the same `request_id` gives the same query."""
        query = v1.Query(question=question, plan=plan, documents=list(documents))
        if timeout_s is not None:
            query.timeout = timedelta(seconds=timeout_s)
        return (await self._call(self._queries.create_query(v1.CreateQueryRequest(query, request_id)))).query

    async def get_query(self, name: str) -> v1.Query:
        return (await self._call(self._queries.get_query(v1.GetQueryRequest(name)))).query

    async def cancel_query(self, name: str) -> v1.Query:
        return (await self._call(self._queries.cancel_query(v1.CancelQueryRequest(name)))).query

    async def delete_query(self, name: str) -> None:
        await self._call(self._queries.delete_query(v1.DeleteQueryRequest(name)))

    async def list_queries(self, filter: str = "", page_size: int = 0) -> AsyncGenerator[v1.Query, None]:  # noqa: A002
        """All queries that match, newest first, page by page."""
        async for page in self._pages(
            lambda token: self._queries.list_queries(v1.ListQueriesRequest(page_size, token, filter))
        ):
            for query in page.queries:
                yield query

    # Documents

    async def import_paths(
        self, paths: Iterable[str | Path], *, base: Path | None = None
    ) -> AsyncGenerator[v1.ImportDocumentsResponse, None]:
        """Import files in one stream: PROGRESS of each and then its outcome; a file that fails does not stop the rest.

        `uri` is the file's path below `base` (the working directory by default), or absolute outside of it.
        """
        uploads = Uploads(paths, base)
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
        return (await self._call(self._documents.create_document(v1.CreateDocumentRequest(document, content)))).document

    async def get_document(self, name: str, *, full: bool = False) -> v1.Document:
        """The document; with its text where `full`."""
        view = v1.GetDocumentRequestView.VIEW_FULL if full else v1.GetDocumentRequestView.VIEW_BASIC
        request = v1.GetDocumentRequest(name, view)  # type: ignore[arg-type]  # betterproto types enum members as int
        return (await self._call(self._documents.get_document(request))).document

    async def list_documents(self, page_size: int = 0) -> AsyncGenerator[v1.Document, None]:
        """All documents, by uri, page by page."""
        async for page in self._pages(
            lambda token: self._documents.list_documents(v1.ListDocumentsRequest(page_size, token))
        ):
            for document in page.documents:
                yield document

    async def delete_document(self, name: str) -> None:
        await self._call(self._documents.delete_document(v1.DeleteDocumentRequest(name)))

    async def search(
        self,
        query: str,
        *,
        limit: int = 10,
        documents: Sequence[str] = (),
        rerank: v1.SearchPassagesRequestRerank | None = None,
    ) -> list[v1.Passage]:
        """The passages most relevant to `query`, best first, 1-100 of them."""
        request = v1.SearchPassagesRequest(query, limit, list(documents))
        if rerank is not None:
            request.rerank = rerank
        return (await self._call(self._documents.search_passages(request))).passages

    # The graph

    async def list_neighbors(self, request: v1.ListNeighborsRequest) -> v1.ListNeighborsResponse:
        return await self._call(self._graph.list_neighbors(request))

    async def list_entities(self, request: v1.ListEntitiesRequest) -> v1.ListEntitiesResponse:
        return await self._call(self._graph.list_entities(request))

    # The mesh, opinions and cost

    async def list_agents(self) -> AsyncGenerator[v1.Agent, None]:
        async for page in self._pages(lambda token: self._mesh.list_agents(v1.ListAgentsRequest(page_token=token))):
            for agent in page.agents:
                yield agent

    async def health(self) -> v1.Health:
        return (await self._call(self._mesh.get_health(v1.GetHealthRequest()))).health

    async def create_feedback(
        self, query: str, rating: v1.FeedbackRating, *, comment: str = "", sentence_index: int | None = None
    ) -> v1.Feedback:
        feedback = v1.Feedback(rating=rating, comment=comment, sentence_index=sentence_index)
        return (await self._call(self._feedback.create_feedback(v1.CreateFeedbackRequest(query, feedback)))).feedback

    async def usage(self, start: datetime | None = None, end: datetime | None = None) -> v1.GetUsageResponse:
        request = v1.GetUsageRequest(start, end)  # type: ignore[arg-type]  # None = unset
        return await self._call(self._usage.get_usage(request))

    # How calls are made

    async def _call(self, call: Awaitable[_T]) -> _T:
        with translated(self.address):
            return await call

    async def _pages(self, fetch: Callable[[str], Awaitable[_P]]) -> AsyncGenerator[_P, None]:
        token = ""
        while True:
            page = await self._call(fetch(token))
            yield page
            if not (token := page.next_page_token):
                return

    def _import(
        self, requests: AsyncIterator[v1.ImportDocumentsRequest]
    ) -> AsyncGenerator[v1.ImportDocumentsResponse, None]:
        responses = self._documents.import_documents(requests, timeout=_IMPORT_LIMIT_S)
        return self._responses(responses, silence_limit_s=_IMPORT_SILENCE_LIMIT_S)

    async def _events(self, responses: AsyncIterator[_R]) -> AsyncGenerator[v1.QueryEvent, None]:
        async with aclosing(self._responses(responses, silence_limit_s=_SILENCE_LIMIT_S)) as stream:
            async for response in stream:
                yield response.event

    async def _responses(self, responses: AsyncIterator[_T], *, silence_limit_s: float) -> AsyncGenerator[_T, None]:
        # betterproto's streams are generators, whatever they are annotated as; closing one resets its RPC.
        assert isinstance(responses, AsyncGenerator)
        async with aclosing(responses):
            while True:
                with translated(self.address):
                    try:
                        async with asyncio.timeout(silence_limit_s):
                            response = await anext(responses)
                    except StopAsyncIteration:
                        return
                yield response


def _is(event: v1.QueryEvent, member: str) -> bool:
    return chosen(event, "event")[0] == member


def _duration(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _channel(address: str) -> Channel:
    if address.startswith("unix:"):
        return Channel(path=address.removeprefix("unix:"))
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise invalid_field("address", f"{address!r} is no HOST:PORT; give for example 127.0.0.1:50051.")
    return Channel(host.removeprefix("[").removesuffix("]"), int(port))
