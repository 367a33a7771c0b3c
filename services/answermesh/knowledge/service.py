"""The knowledge service: documents, search and graph over one database, with the models behind one channel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from answermesh.config import Settings
from answermesh.errors import invalid_field
from answermesh.knowledge.document_service import DocumentService
from answermesh.knowledge.embedder import Embedder, ModelEmbedder
from answermesh.knowledge.graph_service import GraphService
from answermesh.knowledge.importing import Importer
from answermesh.knowledge.pool import Pool
from answermesh.knowledge.search import Search
from answermesh.rpc.channel import open_channel
from answermesh.rpc.server import Server
from answermesh.store import Store
from answermesh.v1.document_service_pb2_grpc import add_DocumentServiceServicer_to_server
from answermesh.v1.graph_service_pb2_grpc import add_GraphServiceServicer_to_server
from answermesh.v1.model_service_pb2_grpc import ModelServiceStub

# One for each search that runs, and one for an import.
POOL_SIZE = 6


@asynccontextmanager
async def mount(server: Server, settings: Settings, *, embedder: Embedder | None = None) -> AsyncIterator[None]:
    """Add DocumentService and GraphService to a server that has not started yet; they work until the block is left.

    `embedder` takes the place of the embedded model. Raises Failure(INVALID_FIELD) for a missing target of the models,
    or for settings.embedding without an `embedder`, and what Store.open raises.
    """
    if settings.embedding and embedder is None:
        # Vectors of another model than the one that was asked for would be worse than none.
        raise invalid_field("embedding", "is set, but nobody gave this service the provider's embedder.")
    async with AsyncExitStack() as stack:
        models = ModelServiceStub(await stack.enter_async_context(open_channel(settings.target("models"))))
        store = await stack.enter_async_context(Store.open(settings.database_url, pool_size=POOL_SIZE))
        pool = await stack.enter_async_context(Pool())
        vectors = embedder or ModelEmbedder(models)
        importer = Importer(store, pool, vectors)
        server.add(
            add_DocumentServiceServicer_to_server, DocumentService(store, importer, Search(store, vectors, models))
        )
        server.add(add_GraphServiceServicer_to_server, GraphService(store))
        yield
