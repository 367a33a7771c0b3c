"""The knowledge service on a real Postgres, over real gRPC, with real readers of files and a deterministic embedder."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import numpy as np
import pytest

from answermesh.config import Settings
from answermesh.errors import Reason
from answermesh.knowledge.service import mount
from answermesh.rpc.channel import open_channel
from answermesh.rpc.server import Server
from answermesh.rpc.status import failure_from
from answermesh.store import Store
from answermesh.v1 import document_service_pb2 as pb
from answermesh.v1.document_pb2 import Document
from answermesh.v1.document_service_pb2_grpc import DocumentServiceStub
from answermesh.v1.graph_service_pb2 import GetEntityRequest, ListEntitiesRequest, ListNeighborsRequest
from answermesh.v1.graph_service_pb2_grpc import GraphServiceStub
from answermesh.v1.model_service_pb2 import EmbedRequest, EmbedResponse, ScoreRequest, ScoreResponse
from answermesh.v1.model_service_pb2_grpc import ModelServiceServicer, add_ModelServiceServicer_to_server

SAMPLES = Path(__file__).parents[1] / "samples"
Outcome = pb.ImportDocumentsResponse

RAFT = """# Raft

Raft elects a leader. The `leader` replicates its log to `followers`.

## Quorum

A cluster of five members tolerates two failures. A quorum is a majority of the members.
"""


class HashingModels(ModelServiceServicer):
    """Vectors of hashed words, and a score by shared words: deterministic, and honest about what it is."""

    def __init__(self) -> None:
        self.embedded = 0
        self.fails = False

    async def Embed(self, request: EmbedRequest, context: object) -> EmbedResponse:
        if self.fails:
            raise RuntimeError("the models are down")
        self.embedded += len(request.texts)
        vectors = [EmbedResponse.Vector(values=_hashed(text)) for text in request.texts]
        return EmbedResponse(vectors=vectors, model="hashing", dimensions=384)

    async def Score(self, request: ScoreRequest, context: object) -> ScoreResponse:
        if self.fails:
            raise RuntimeError("the models are down")
        asked = set(request.query.casefold().split())
        scores = [float(len(asked & set(text.casefold().split()))) for text in request.texts]
        return ScoreResponse(scores=scores, model="hashing")


def _hashed(text: str) -> list[float]:
    vector = np.full(384, 1e-6, dtype=np.float32)
    for word in text.casefold().split():
        vector[int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big") % 384] += 1
    return [float(value) for value in vector / np.linalg.norm(vector)]


@dataclass
class Knowledge:
    documents: DocumentServiceStub
    graph: GraphServiceStub
    models: HashingModels

    async def create(self, uri: str, content: bytes | str) -> Document:
        raw = content.encode() if isinstance(content, str) else content
        response = await self.documents.CreateDocument(
            pb.CreateDocumentRequest(document=Document(uri=uri), content=raw), timeout=30
        )
        return response.document

    async def search(self, query: str, **options: object) -> list[pb.SearchPassagesResponse]:
        response = await self.documents.SearchPassages(pb.SearchPassagesRequest(query=query, **options), timeout=30)
        return list(response.passages)


@asynccontextmanager
async def serving(dsn: str, folder: Path) -> AsyncIterator[Knowledge]:
    models = HashingModels()
    models_server = Server(f"unix:{folder}/m.sock", drain_wait_s=0)
    models_server.add(add_ModelServiceServicer_to_server, models)
    settings = Settings(database_url=dsn, targets={"models": await models_server.start()})
    server = Server(f"unix:{folder}/k.sock", drain_wait_s=0)
    try:
        async with mount(server, settings):
            address = await server.start()
            try:
                async with open_channel(address) as channel:
                    yield Knowledge(DocumentServiceStub(channel), GraphServiceStub(channel), models)
            finally:
                await server.drain(0.5)
    finally:
        await models_server.drain(0.5)


@pytest.fixture
async def knowledge(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Knowledge]:
    async with serving(dsn, tmp_path_factory.mktemp("k")) as one:
        yield one


def steps(*files: tuple[str, bytes]) -> list[pb.ImportDocumentsRequest]:
    requests = []
    for uri, content in files:
        requests.append(pb.ImportDocumentsRequest(start=Document(uri=uri)))
        requests += [
            pb.ImportDocumentsRequest(chunk=content[offset : offset + (1 << 20)])
            for offset in range(0, len(content), 1 << 20)
        ]
    return requests


async def imported(knowledge: Knowledge, *files: tuple[str, bytes]) -> list[pb.ImportDocumentsResponse]:
    """The last response of each file."""
    call = knowledge.documents.ImportDocuments(steps(*files), timeout=60)
    return [response async for response in call if response.outcome != Outcome.OUTCOME_PROGRESS]


async def test_a_created_document_is_found_by_its_words_with_exact_spans(knowledge: Knowledge) -> None:
    document = await knowledge.create("docs/raft.md", RAFT)
    assert (document.title, document.media_type) == ("Raft", "text/markdown")
    assert document.content_hash == hashlib.sha256(RAFT.encode()).hexdigest()
    assert document.character_count == len(RAFT)
    passages = await knowledge.search("What is a quorum?")
    assert "majority" in passages[0].text
    assert passages[0].HasField("scores")
    [read, *_] = await knowledge.search("What is a quorum?", rerank=pb.SearchPassagesRequest.RERANK_ALWAYS)
    assert read.scores.HasField("rerank")
    assert list(passages[0].headings) == ["Raft", "Quorum"]
    full = await knowledge.documents.GetDocument(pb.GetDocumentRequest(name=document.name, view=2))
    assert full.document.text == RAFT
    for passage in passages:
        assert RAFT[passage.span.start : passage.span.end] == passage.text
        assert passage.name.startswith(document.name + "/passages/")


async def test_importing_the_same_again_changes_nothing(knowledge: Knowledge) -> None:
    [first] = await imported(knowledge, ("a.md", RAFT.encode()))
    embedded = knowledge.models.embedded
    [second] = await imported(knowledge, ("a.md", RAFT.encode()))
    assert (first.outcome, second.outcome) == (Outcome.OUTCOME_CREATED, Outcome.OUTCOME_UNCHANGED)
    assert second.document == first.document
    assert knowledge.models.embedded == embedded


async def test_changed_content_replaces_its_passages(knowledge: Knowledge, store: Store) -> None:
    await knowledge.create("a.txt", "Zebras graze in Kenya.")
    document = await knowledge.create("a.txt", "Penguins swim near Antarctica.")
    for query in ("zebras", "penguins"):
        assert {passage.text for passage in await knowledge.search(query)} == {"Penguins swim near Antarctica."}
    assert document.passage_count == 1
    async with store.transaction("default") as tx:
        terms = {row["term"] for row in await tx.fetch("SELECT term FROM terms WHERE passages > 0")}
    assert {"penguin", "swim", "antarctica"} <= terms
    assert not {"zebra", "kenya"} & terms


async def test_a_deleted_document_leaves_nothing_behind(knowledge: Knowledge, store: Store) -> None:
    document = await knowledge.create("a.md", RAFT)
    await knowledge.documents.DeleteDocument(pb.DeleteDocumentRequest(name=document.name))
    async with store.transaction("default") as tx:
        for table in ("documents", "passages", "postings", "terms", "entities", "mentions", "relations"):
            assert await tx.fetchval(f"SELECT count(*) FROM {table}") == 0, table
        assert tuple(await tx.fetchrow("SELECT passages, length FROM corpora")) == (0, 0)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await knowledge.documents.DeleteDocument(pb.DeleteDocumentRequest(name=document.name))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert await knowledge.search("What is a quorum?") == []


async def test_a_bad_file_is_reported_and_the_others_go_on(knowledge: Knowledge) -> None:
    responses = await imported(
        knowledge,
        ("good.md", RAFT.encode()),
        ("empty.txt", b""),
        ("locked.pdf", (SAMPLES / "password.pdf").read_bytes()),
        ("cut.pdf", (SAMPLES / "four-pages.pdf").read_bytes()[:3000]),
        ("program.bin", b"\x7fELF\0\1\2" * 100),
        ("paper.pdf", (SAMPLES / "four-pages.pdf").read_bytes()),
    )
    outcomes = {response.uri: response for response in responses}
    failed = {uri for uri, response in outcomes.items() if response.outcome == Outcome.OUTCOME_FAILED}
    assert failed == {"empty.txt", "locked.pdf", "cut.pdf", "program.bin"}
    assert "password" in outcomes["locked.pdf"].error.message
    assert outcomes["paper.pdf"].outcome == Outcome.OUTCOME_CREATED
    [passage, *_] = await knowledge.search("lorem ipsum", documents=[outcomes["paper.pdf"].document.name])
    assert passage.page >= 1


async def test_a_file_above_the_limit_is_refused_without_keeping_it(knowledge: Knowledge) -> None:
    big = [pb.ImportDocumentsRequest(start=Document(uri="big.txt"))]
    big += [pb.ImportDocumentsRequest(chunk=b"x" * (1 << 20))] * 65
    call = knowledge.documents.ImportDocuments([*big, *steps(("small.txt", b"Small."))], timeout=60)
    responses = [response async for response in call if response.outcome != Outcome.OUTCOME_PROGRESS]
    assert sorted((response.uri, response.outcome) for response in responses) == [
        ("big.txt", Outcome.OUTCOME_FAILED),
        ("small.txt", Outcome.OUTCOME_CREATED),
    ]
    assert "64 MiB" in next(response.error.message for response in responses if response.uri == "big.txt")


async def test_a_chunk_before_any_start_ends_the_stream_with_the_field(knowledge: Knowledge) -> None:
    call = knowledge.documents.ImportDocuments([pb.ImportDocumentsRequest(chunk=b"x")], timeout=30)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    failure = failure_from(caught.value)
    assert [field.path for field in failure.fields] == ["chunk"], failure


async def test_documents_are_listed_by_uri_page_after_page(knowledge: Knowledge) -> None:
    for uri in ("c.txt", "a.txt", "B.txt"):
        await knowledge.create(uri, f"Text of {uri}.")
    seen, token = [], ""
    while True:
        page = await knowledge.documents.ListDocuments(pb.ListDocumentsRequest(page_size=2, page_token=token))
        seen += [document.uri for document in page.documents]
        token = page.next_page_token
        if not token:
            break
    assert seen == ["B.txt", "a.txt", "c.txt"]


async def test_search_keeps_to_the_documents_that_are_asked_for(knowledge: Knowledge) -> None:
    one = await knowledge.create("one.txt", "The leader sends heartbeats.")
    await knowledge.create("two.txt", "The leader sends snapshots.")
    passages = await knowledge.search("leader sends", documents=[one.name])
    assert {passage.document for passage in passages} == {one.name}


async def test_search_goes_by_words_alone_while_the_models_are_down(knowledge: Knowledge) -> None:
    await knowledge.create("a.md", RAFT)
    knowledge.models.fails = True
    [first, *_] = await knowledge.search("What is a quorum?")
    assert "quorum" in first.text
    assert first.scores.vector == 0
    assert not first.scores.HasField("rerank")


async def test_an_import_without_models_stores_nothing(knowledge: Knowledge) -> None:
    knowledge.models.fails = True
    [response] = await imported(knowledge, ("a.md", RAFT.encode()))
    assert response.outcome == Outcome.OUTCOME_FAILED
    page = await knowledge.documents.ListDocuments(pb.ListDocumentsRequest())
    assert len(page.documents) == 0


async def test_the_graph_shows_entities_and_their_neighbours(knowledge: Knowledge) -> None:
    await knowledge.create("a.md", RAFT)
    await knowledge.create("b.txt", "In etcd, Raft keeps the WAL. The Raft log and the WAL are replayed.")
    listed = await knowledge.graph.ListEntities(ListEntitiesRequest(display_names=["RAFT"]))
    [raft] = listed.entities
    assert (raft.display_name, raft.document_count) == ("Raft", 2)
    assert (await knowledge.graph.GetEntity(GetEntityRequest(name=raft.name))).entity == raft
    neighbors = (await knowledge.graph.ListNeighbors(ListNeighborsRequest(name=raft.name))).neighbors
    wal = next(one for one in neighbors if one.relation.object.display_name == "WAL")
    assert wal.relation.subject == raft
    assert wal.relation.predicate == "keeps"
    assert "WAL" in wal.passage.text
    text = "In etcd, Raft keeps the WAL. The Raft log and the WAL are replayed."
    assert text[wal.relation.span.start : wal.relation.span.end] == "In etcd, Raft keeps the WAL."


async def test_pages_of_entities_and_neighbours_join_without_a_gap(knowledge: Knowledge) -> None:
    await knowledge.create(
        "a.txt", "Alpha meets Beta, Gamma, Delta and Epsilon. So Alpha likes Beta, and Gamma likes Delta."
    )
    whole = (await knowledge.graph.ListEntities(ListEntitiesRequest())).entities
    seen, token = [], ""
    while True:
        page = await knowledge.graph.ListEntities(ListEntitiesRequest(page_size=2, page_token=token))
        seen += list(page.entities)
        token = page.next_page_token
        if not token:
            break
    assert seen == list(whole)
    assert len(seen) >= 4


async def test_one_tenant_sees_nothing_of_another(knowledge: Knowledge, store: Store) -> None:
    await knowledge.create("a.md", RAFT)
    async with store.transaction("other") as tx:
        for table in ("documents", "passages", "postings", "terms", "corpora", "entities", "mentions", "relations"):
            assert await tx.fetchval(f"SELECT count(*) FROM {table}") == 0, table


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        (pb.SearchPassagesRequest(query="  "), "query"),
        (pb.SearchPassagesRequest(query="x" * 4001), "query"),
        (pb.SearchPassagesRequest(query="x", page_size=-1), "page_size"),
        (pb.SearchPassagesRequest(query="x", documents=["docs/1"]), "documents[0]"),
        (pb.SearchPassagesRequest(query="x", documents=["documents/a"] * 101), "documents"),
    ],
)
async def test_a_bad_search_is_refused_with_its_field(
    knowledge: Knowledge, request_: pb.SearchPassagesRequest, path: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await knowledge.documents.SearchPassages(request_, timeout=30)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [field.path for field in failure_from(caught.value).fields] == [path]


async def test_a_passage_leads_to_the_document_about_what_it_names(knowledge: Knowledge) -> None:
    await knowledge.create("film.txt", "The composer of Silent Harbour was Ada Quill.")
    await knowledge.create("quill.md", "# Ada Quill (composer)\n\nBorn 1870 at Lisbon.")
    for number in range(8):
        await knowledge.create(f"other{number}.txt", f"A composer born in {1900 + number}.")
    question = "Where was the composer of Silent Harbour born?"
    never = pb.SearchPassagesRequest.RERANK_NEVER
    with_links = [one.uri for one in await knowledge.search(question, page_size=4, rerank=never)]
    without = await knowledge.search(question, page_size=4, rerank=never, links=pb.SearchPassagesRequest.LINKS_IGNORE)
    assert with_links[0] == without[0].uri == "film.txt"
    assert "quill.md" in with_links
    assert "quill.md" not in [one.uri for one in without]
    only = await knowledge.search(question, documents=[without[0].document])
    assert {one.uri for one in only} == {"film.txt"}


async def test_of_two_files_of_one_uri_the_last_one_sent_stays(knowledge: Knowledge) -> None:
    versions = [("same.txt", f"version {number} ".encode() * (1 if number % 2 else 400)) for number in range(8)]
    others = [(f"other{number}.txt", b"something else") for number in range(4)]
    call = knowledge.documents.ImportDocuments(iter(steps(*versions[:4], *others, *versions[4:])), timeout=50)
    outcomes = [one.uri async for one in call if one.outcome != Outcome.OUTCOME_PROGRESS]
    assert sorted(outcomes) == sorted(uri for uri, _ in [*versions, *others])
    found = await knowledge.search("version", page_size=1)
    assert found[0].text.startswith("version 7")


async def test_documents_are_searched_by_what_their_owner_says_of_them(knowledge: Knowledge) -> None:
    for number, team in enumerate(["core", "web", "core"]):
        document = Document(uri=f"notes/{number}.txt", labels={"team": team, "kind": "note"})
        document.publish_time.FromDatetime(datetime(2020 + number, 1, 1, tzinfo=UTC))
        request = pb.CreateDocumentRequest(document=document, content=b"A quorum is a majority.")
        made = (await knowledge.documents.CreateDocument(request, timeout=30)).document
        assert dict(made.labels) == {"team": team, "kind": "note"}
        assert made.publish_time.ToDatetime(UTC).year == 2020 + number

    async def found(text: str, **options: object) -> list[str]:
        return sorted(one.uri for one in await knowledge.search("quorum", filter=text, **options))

    assert await found('labels.team = "core"') == ["notes/0.txt", "notes/2.txt"]
    assert await found('labels.team = core AND publish_time >= "2021-06-01T00:00:00Z"') == ["notes/2.txt"]
    assert await found('publish_time < "2021-06-01T00:00:00Z"') == ["notes/0.txt", "notes/1.txt"]
    assert await found('uri : "notes/1"') == ["notes/1.txt"]
    assert await found('labels.team = "nobody"') == []
    assert await found('labels.team = "core"', documents=[made.name]) == ["notes/2.txt"]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await found("team = core")
    assert failure_from(refused.value).reason is Reason.INVALID_FILTER


async def test_other_labels_replace_those_of_an_import_before(knowledge: Knowledge) -> None:
    for value in ("draft", "final"):
        document = Document(uri="plan.txt", labels={"state": value})
        await knowledge.documents.CreateDocument(
            pb.CreateDocumentRequest(document=document, content=b"x y"), timeout=30
        )
    assert [one.uri for one in await knowledge.search("x", filter="labels.state = final")] == ["plan.txt"]
    assert await knowledge.search("x", filter="labels.state = draft") == []
    wrong = pb.CreateDocumentRequest(document=Document(uri="a.txt", labels={"no spaces": "x"}), content=b"x")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await knowledge.documents.CreateDocument(wrong, timeout=30)
    assert failure_from(refused.value).reason is Reason.INVALID_FIELD


async def test_passages_side_by_side_are_joined_with_what_stands_between(knowledge: Knowledge) -> None:
    text = "\n\n".join(f"Part {number} on quorums. " + "Filling words here. " * 40 for number in range(4))
    await knowledge.create("long.txt", text)
    apart = await knowledge.search("quorums", page_size=3)
    assert len(apart) == 3
    assert not any(one.parts for one in apart)
    [whole, *_] = await knowledge.search("quorums", page_size=3, join_neighbors=True)
    assert len(whole.parts) > 1
    assert whole.name in whole.parts
    assert whole.text == text[whole.span.start : whole.span.end]
    assert len(whole.text) > max(len(one.text) for one in apart)
