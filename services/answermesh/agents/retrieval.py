"""Retrieval: searches for the question at once, and for each subquestion as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from answermesh.agents import Run
from answermesh.agents.ids import identifier
from answermesh.config import Settings
from answermesh.rpc.channel import open_channel
from answermesh.v1.document_service_pb2 import SearchPassagesRequest, SearchPassagesResponse
from answermesh.v1.document_service_pb2_grpc import DocumentServiceStub
from answermesh.v1.finding_pb2 import Finding, Passage
from answermesh.v1.mesh_pb2 import AgentCard

if TYPE_CHECKING:
    from answermesh.v1.document_service_pb2_grpc import DocumentServiceAsyncStub

QUESTION_PASSAGES = 10
SUBQUESTION_PASSAGES = 5
MAX_SUBQUESTIONS = 4
# Searches under way at once for one query.
CONCURRENT_SEARCHES = 2


class Retrieval:
    """Finds the passages that an answer is made of."""

    card = AgentCard(
        agent="retrieval",
        version="1",
        description="Searches the documents for the question, and for its subquestions.",
        consumes=[AgentCard.Consumption(kind=Finding.KIND_SUBQUESTION, optional=True)],
        produces=[Finding.KIND_PASSAGE],
        idempotent=True,
    )

    def __init__(self, documents: DocumentServiceAsyncStub) -> None:
        self._documents = documents

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Retrieval]:
        async with open_channel(settings.target("knowledge")) as channel:
            yield cls(DocumentServiceStub(channel))

    async def run(self, run: Run) -> None:
        search = _Search(self._documents, run)
        async with asyncio.TaskGroup() as group:
            group.create_task(search.find(run.question, QUESTION_PASSAGES))
            asked = {run.question.casefold()}
            async for finding in run.findings:
                text = finding.subquestion.text.strip()
                # The question itself and repetitions bring nothing; a run of them would only delay the answer.
                if text and text.casefold() not in asked and len(asked) <= MAX_SUBQUESTIONS:
                    asked.add(text.casefold())
                    group.create_task(search.find(text, SUBQUESTION_PASSAGES))


class _Search:
    """The searches of one query; each passage is emitted once."""

    def __init__(self, documents: DocumentServiceAsyncStub, run: Run) -> None:
        self._documents = documents
        self._run = run
        self._found: set[str] = set()
        self._slots = asyncio.Semaphore(CONCURRENT_SEARCHES)

    async def find(self, query: str, limit: int) -> None:
        request = SearchPassagesRequest(query=query, page_size=limit, documents=self._run.documents)
        async with self._slots:
            response: SearchPassagesResponse = await self._documents.SearchPassages(request)
        fresh = [passage for passage in response.passages if passage.name not in self._found]
        self._found.update(passage.name for passage in fresh)
        await self._run.emit(*map(_finding, fresh))


def _finding(passage: Passage) -> Finding:
    # By name, not by content: scores may differ in their last digits from run to run.
    return Finding(id=identifier("passage", passage.name), passage=passage)
