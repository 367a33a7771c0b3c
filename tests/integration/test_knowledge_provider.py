"""Vectors of a provider instead of the embedded model: through the settings, the real client and a real search."""

from __future__ import annotations

from answermesh.config import Settings
from answermesh.rpc.channel import open_channel
from answermesh.rpc.server import Server
from answermesh.serve.one import knowledge_with_provider
from answermesh.v1.document_pb2 import Document
from answermesh.v1.document_service_pb2 import CreateDocumentRequest, SearchPassagesRequest
from answermesh.v1.document_service_pb2_grpc import DocumentServiceStub
from tests.scripted_llm import ScriptedLLM


def by_first_letter(text: str) -> list[float]:
    """A vector of 384 numbers that knows one thing: whether a text speaks of cats."""
    return [1.0 if "cat" in text.lower() or "feline" in text.lower() else 0.0, 1.0, *[0.0] * 382]


async def test_documents_and_searches_are_embedded_by_the_configured_provider(dsn: str) -> None:
    async with ScriptedLLM(embed=by_first_letter) as provider:
        settings = Settings(
            database_url=dsn,
            targets={"models": "unix:/nonexistent/models.sock"},
            providers=({"name": "p", "base_url": provider.base_url, "models": ["e"], "tasks": ["embedding"]},),
            embedding={"provider": "p"},
        )
        server = Server("127.0.0.1:0", drain_wait_s=0.0)
        async with knowledge_with_provider(server, settings):
            address = await server.start()
            try:
                async with open_channel(address) as channel:
                    documents = DocumentServiceStub(channel)
                    for uri, text in (("a.txt", "My cat sleeps all day."), ("b.txt", "The bridge was built in 1890.")):
                        request = CreateDocumentRequest(document=Document(uri=uri), content=text.encode())
                        await documents.CreateDocument(request, timeout=30)
                    wanted = SearchPassagesRequest(query="feline", rerank=SearchPassagesRequest.RERANK_NEVER)
                    found = await documents.SearchPassages(wanted, timeout=30)
            finally:
                await server.drain(0.0)

    assert found.passages[0].uri == "a.txt"
    assert found.passages[0].scores.lexical == 0
    assert {request.body["dimensions"] for request in provider.requests} == {384}
