"""The demo's documents, embedded and reranked by the real models: questions find the passages that answer them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from answermesh.config import Settings
from answermesh.knowledge import service as knowledge
from answermesh.models import service as models
from answermesh.rpc.channel import open_channel
from answermesh.rpc.server import Server
from answermesh.v1 import document_service_pb2 as pb
from answermesh.v1.document_pb2 import Document
from answermesh.v1.document_service_pb2_grpc import DocumentServiceStub

DOCUMENTS = Path(__file__).parents[2] / "examples" / "documents"
PAGES = ("faq.md", "tuning.md", "dev-guide/limit.md", "op-guide/failures.md", "learning/glossary.md")


@pytest.fixture
async def documents(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DocumentServiceStub]:
    folder = tmp_path_factory.mktemp("m")
    settings = Settings(database_url=dsn, targets={"models": f"unix:{folder}/m.sock"})
    async with AsyncExitStack() as stack:
        for mount, name in ((models.mount, "m"), (knowledge.mount, "k")):
            server = Server(f"unix:{folder}/{name}.sock", drain_wait_s=0)
            await stack.enter_async_context(mount(server, settings))
            address = await server.start()
            stack.push_async_callback(server.drain, 0.5)
        yield DocumentServiceStub(await stack.enter_async_context(open_channel(address)))


async def test_questions_find_the_passages_that_answer_them(documents: DocumentServiceStub) -> None:
    for page in PAGES:
        content = (DOCUMENTS / page).read_bytes()
        created = pb.CreateDocumentRequest(document=Document(uri=page), content=content)
        await documents.CreateDocument(created, timeout=50)
    for question, said in (
        ("What is the maximum size of a request?", "1.5 MiB"),
        ("What happens when the leader fails?", "automatically elects a new leader"),
        ("What is the default heartbeat interval?", "100ms"),
        ("Why an odd number of cluster members?", "odd"),
    ):
        for rerank in (pb.SearchPassagesRequest.RERANK_AUTO, pb.SearchPassagesRequest.RERANK_ALWAYS):
            request = pb.SearchPassagesRequest(query=question, page_size=3, rerank=rerank)
            response = await documents.SearchPassages(request, timeout=20)
            assert said in " ".join(passage.text for passage in response.passages), question
        assert response.passages[0].scores.rerank > 0, question
