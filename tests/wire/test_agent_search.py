"""The retrieval and graph agents, over gRPC services that hold a few passages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from answermesh.agents.graph import Graph
from answermesh.agents.retrieval import Retrieval
from answermesh.errors import Failure, Reason
from answermesh.rpc.channel import open_channel
from answermesh.rpc.server import Server
from answermesh.v1.document_service_pb2 import SearchPassagesRequest, SearchPassagesResponse
from answermesh.v1.document_service_pb2_grpc import (
    DocumentServiceServicer,
    DocumentServiceStub,
    add_DocumentServiceServicer_to_server,
)
from answermesh.v1.finding_pb2 import Entity, Finding, Passage, Relation, Subquestion
from answermesh.v1.graph_service_pb2 import (
    ListEntitiesRequest,
    ListEntitiesResponse,
    ListNeighborsRequest,
    ListNeighborsResponse,
)
from answermesh.v1.graph_service_pb2_grpc import (
    GraphServiceServicer,
    GraphServiceStub,
    add_GraphServiceServicer_to_server,
)
from tests.fake_run import FakeRun, WordScorer, passage


class Documents(DocumentServiceServicer):
    """Finds what it was given for a query."""

    def __init__(self, found: dict[str, list[Passage]]) -> None:
        self._found = found
        self.requests: list[SearchPassagesRequest] = []

    async def SearchPassages(self, request: SearchPassagesRequest, context: Any) -> SearchPassagesResponse:
        self.requests.append(request)
        if request.query not in self._found:
            raise Failure(Reason.DATABASE_UNAVAILABLE, "The database does not answer; try again.")
        return SearchPassagesResponse(passages=self._found[request.query])


class Entities(GraphServiceServicer):
    """Knows entities by name, each with its neighbours."""

    def __init__(self, neighbors: dict[str, list[ListNeighborsResponse.Neighbor]]) -> None:
        self._neighbors = neighbors

    async def ListEntities(self, request: ListEntitiesRequest, context: Any) -> ListEntitiesResponse:
        names = {name.casefold() for name in request.display_names}
        known = [Entity(name=f"entities/{name}", display_name=name) for name in self._neighbors if name in names]
        return ListEntitiesResponse(entities=known)

    async def ListNeighbors(self, request: ListNeighborsRequest, context: Any) -> ListNeighborsResponse:
        return ListNeighborsResponse(neighbors=self._neighbors[request.name.removeprefix("entities/")])


@asynccontextmanager
async def served(adder: Any, servicer: object) -> AsyncIterator[grpc.aio.Channel]:
    server = Server("127.0.0.1:0", drain_wait_s=0)
    server.add(adder, servicer)
    address = await server.start()
    try:
        async with open_channel(address) as channel:
            yield channel
    finally:
        await server.drain(grace_s=0)


def neighbor(subject: str, other: str, found: Passage) -> ListNeighborsResponse.Neighbor:
    one, two = (Entity(name=f"entities/{name}", display_name=name) for name in (subject, other))
    relation = Relation(subject=one, predicate="uses", object=two, passage=found.name, weight=1)
    return ListNeighborsResponse.Neighbor(relation=relation, passage=found)


def passages_of(run: FakeRun) -> list[str]:
    return [finding.passage.document for finding in run.emitted if finding.HasField("passage")]


async def test_the_question_is_searched_at_once_and_each_subquestion_as_it_comes() -> None:
    one, two = passage("one", name="a"), passage("two", name="b")
    documents = Documents({"Whole?": [one], "Part?": [one, two]})
    async with served(add_DocumentServiceServicer_to_server, documents) as channel, asyncio.TaskGroup() as group:
        run = FakeRun(Retrieval.card, "Whole?", documents=["documents/a", "documents/b"])
        group.create_task(Retrieval(DocumentServiceStub(channel)).run(run))
        await run.emitted_at_least(1)
        run.feed(*(Finding(subquestion=Subquestion(text=text)) for text in ("Part?", "part?", "whole?")))
        await run.emitted_at_least(2)
        run.end()
    assert passages_of(run) == ["documents/a", "documents/b"]
    assert [request.query for request in documents.requests] == ["Whole?", "Part?"]
    assert all(list(request.documents) == ["documents/a", "documents/b"] for request in documents.requests)


async def test_a_search_that_fails_fails_the_run_with_its_cause() -> None:
    async with served(add_DocumentServiceServicer_to_server, Documents({})) as channel:
        run = FakeRun(Retrieval.card, "Whole?")
        run.end()
        with pytest.raises(ExceptionGroup) as raised:
            await Retrieval(DocumentServiceStub(channel)).run(run)
    assert raised.group_contains(grpc.aio.AioRpcError)


async def test_neighbours_are_told_with_the_passages_that_are_about_the_question() -> None:
    about = passage("etcd uses raft to agree on each write", name="a", searched=False)
    beside = passage("bananas are yellow", name="b", searched=False)
    graph = Entities({"etcd": [neighbor("etcd", "raft", about), neighbor("etcd", "banana", beside)], "raft": []})
    async with served(add_GraphServiceServicer_to_server, graph) as channel:
        run = FakeRun(Graph.card, "Why uses etcd raft?")
        run.feed(Finding(entity=Entity(display_name="etcd", salience=1)))
        run.end()
        await Graph(GraphServiceStub(channel), WordScorer()).run(run)
    assert passages_of(run) == ["documents/a"]
    assert [finding.relation.object.display_name for finding in run.emitted if finding.HasField("relation")] == ["raft"]
    assert run.emitted[0].passage.scores.HasField("rerank")


async def test_a_name_that_no_rule_finds_is_looked_up_in_the_documents_all_the_same() -> None:
    about = passage("leader election picks a leader by votes", name="a", searched=False)
    graph = Entities({"leader election": [neighbor("leader election", "vote", about)]})
    async with served(add_GraphServiceServicer_to_server, graph) as channel:
        run = FakeRun(Graph.card, "how does leader election work?")
        run.end()
        await Graph(GraphServiceStub(channel), WordScorer()).run(run)
    assert passages_of(run) == ["documents/a"]


async def test_neighbours_outside_the_documents_asked_for_are_left_out() -> None:
    about = passage("etcd uses raft", name="a", searched=False)
    graph = Entities({"etcd": [neighbor("etcd", "raft", about)]})
    async with served(add_GraphServiceServicer_to_server, graph) as channel:
        run = FakeRun(Graph.card, "etcd uses raft?", documents=["documents/other"])
        run.feed(Finding(entity=Entity(display_name="etcd", salience=1)))
        run.end()
        await Graph(GraphServiceStub(channel), WordScorer()).run(run)
    assert run.emitted == []
