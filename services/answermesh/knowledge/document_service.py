"""DocumentService: documents in, out and gone, and passages found in them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import orjson

from answermesh.errors import Failure, Field, Reason, invalid_field, not_found
from answermesh.knowledge.filter import parse
from answermesh.knowledge.fusion import is_question
from answermesh.knowledge.importing import File, Importer, document_of
from answermesh.knowledge.search import Search
from answermesh.knowledge.storing import SQL
from answermesh.knowledge.uploads import import_all
from answermesh.rpc.pages import decode_token, encode_token, page_size
from answermesh.rpc.tenancy import current_tenant
from answermesh.rpc.validate import check_name, check_text
from answermesh.store import Store
from answermesh.v1 import document_service_pb2 as pb
from answermesh.v1.document_service_pb2_grpc import DocumentServiceServicer

# The contract's limits.
_MAX_QUERY_CHARS = 4000
_MAX_DOCUMENTS = 100
# Their ids travel with each statement of a search.
_MAX_FILTERED = 20_000


class DocumentService(DocumentServiceServicer):
    """The servicer."""

    def __init__(self, store: Store, importer: Importer, search: Search) -> None:
        self._store = store
        self._importer = importer
        self._search = search

    async def CreateDocument(
        self,
        request: pb.CreateDocumentRequest,
        context: grpc.aio.ServicerContext[pb.CreateDocumentRequest, pb.CreateDocumentResponse],
    ) -> pb.CreateDocumentResponse:
        """Import one document, or replace the one of the same uri."""

        async def unwatched(done: int, total: int) -> None:
            pass

        pending = await self._importer.read(File.of(request.document, request.content))
        _, document = await self._importer.finish(pending, unwatched)
        return pb.CreateDocumentResponse(document=document)

    async def ImportDocuments(  # type: ignore[override]  # a coroutine that writes, which grpc.aio allows beside generators
        self,
        request_iterator: AsyncIterator[pb.ImportDocumentsRequest],
        context: grpc.aio.ServicerContext[pb.ImportDocumentsRequest, pb.ImportDocumentsResponse],
    ) -> None:
        """Import many files, and report each as it is done."""
        await import_all(self._importer, request_iterator, context.write)

    async def GetDocument(
        self,
        request: pb.GetDocumentRequest,
        context: grpc.aio.ServicerContext[pb.GetDocumentRequest, pb.GetDocumentResponse],
    ) -> pb.GetDocumentResponse:
        """Return a document."""
        identifier = check_name("name", request.name, "documents/*")
        async with self._store.transaction(current_tenant()) as tx:
            row = await tx.fetchrow(SQL.get_document, identifier)
            if row is None:
                raise not_found(request.name)
            document = document_of(row)
            if request.view == pb.GetDocumentRequest.VIEW_FULL:
                document.text = await tx.fetchval(SQL.get_document_text, identifier)
        return pb.GetDocumentResponse(document=document)

    async def ListDocuments(
        self,
        request: pb.ListDocumentsRequest,
        context: grpc.aio.ServicerContext[pb.ListDocumentsRequest, pb.ListDocumentsResponse],
    ) -> pb.ListDocumentsResponse:
        """Return documents, ordered by uri."""
        size = page_size(request.page_size)
        position = decode_token("ListDocuments", request.page_token)
        async with self._store.transaction(current_tenant()) as tx:
            rows = await tx.fetch(SQL.list_documents, str(position[0]) if position else None, size + 1)
        token = encode_token("ListDocuments", [rows[size - 1]["uri"]]) if len(rows) > size else ""
        return pb.ListDocumentsResponse(documents=map(document_of, rows[:size]), next_page_token=token)

    async def DeleteDocument(
        self,
        request: pb.DeleteDocumentRequest,
        context: grpc.aio.ServicerContext[pb.DeleteDocumentRequest, pb.DeleteDocumentResponse],
    ) -> pb.DeleteDocumentResponse:
        """Delete a document with its passages, and what the graph knew from it alone."""
        if not await self._importer.delete(check_name("name", request.name, "documents/*")):
            raise not_found(request.name)
        return pb.DeleteDocumentResponse()

    async def SearchPassages(
        self,
        request: pb.SearchPassagesRequest,
        context: grpc.aio.ServicerContext[pb.SearchPassagesRequest, pb.SearchPassagesResponse],
    ) -> pb.SearchPassagesResponse:
        """Return the passages most relevant to a query, best first."""
        query = check_text("query", request.query, _MAX_QUERY_CHARS)
        limit = page_size(request.page_size, default=10, maximum=100)
        if len(request.documents) > _MAX_DOCUMENTS:
            raise invalid_field("documents", f"has {len(request.documents)} names; {_MAX_DOCUMENTS} are allowed.")
        documents = [
            check_name(f"documents[{index}]", name, "documents/*") for index, name in enumerate(request.documents)
        ]
        if request.filter:
            documents = await self._filtered(request.filter, documents)
            if not documents:
                return pb.SearchPassagesResponse()
        rerank = request.rerank
        if rerank != pb.SearchPassagesRequest.RERANK_ALWAYS and not is_question(query):
            rerank = pb.SearchPassagesRequest.RERANK_NEVER
        links = request.links == pb.SearchPassagesRequest.LINKS_FOLLOW or (
            request.links != pb.SearchPassagesRequest.LINKS_IGNORE and is_question(query)
        )
        passages = await self._search.find(query, limit, documents, rerank, links=links, join=request.join_neighbors)
        return pb.SearchPassagesResponse(passages=passages)

    async def _filtered(self, text: str, documents: list[str]) -> list[str]:
        """The documents that a filter leaves, of those or of all."""
        wanted = parse(text)
        async with self._store.transaction(current_tenant()) as tx:
            rows = await tx.fetch(
                SQL.find_documents,
                orjson.dumps(wanted.labels).decode(),
                wanted.media_type,
                wanted.uri,
                wanted.uri_prefix,
                wanted.published_from,
                wanted.published_before,
                wanted.updated_from,
                wanted.updated_before,
                _MAX_FILTERED + 1,
            )
        if len(rows) > _MAX_FILTERED:
            what = f"leaves more than {_MAX_FILTERED} documents; narrow it."
            raise Failure(Reason.INVALID_FILTER, f"filter: {what}", fields=[Field("filter", what)])
        found = [row["document_id"] for row in rows]
        named = set(documents)
        return [one for one in found if one in named] if documents else found
