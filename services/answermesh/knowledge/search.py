"""Passages for a query: BM25 and vectors side by side, fused, the best read again by the cross-encoder."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import grpc

from answermesh.errors import Failure
from answermesh.knowledge.embedder import Embedder
from answermesh.knowledge.fusion import Hit, fuse
from answermesh.knowledge.ids import document_name, passage_name
from answermesh.knowledge.storing import indexed_text
from answermesh.rpc.deadline import fail_after
from answermesh.rpc.tenancy import current_tenant
from answermesh.store import Record, Store, statements
from answermesh.v1.finding_pb2 import Passage, Span
from answermesh.v1.model_service_pb2 import ScoreRequest

if TYPE_CHECKING:
    from answermesh.v1.model_service_pb2_grpc import ModelServiceAsyncStub

_log = logging.getLogger(__name__)
SQL = statements("answermesh.knowledge", "search")

# Passages that each ranking contributes at least.
_CANDIDATES = 50
# Passages that are read again: each costs about 25 ms on two cores, and those further down rarely win.
_RERANKED = 10
# The models' part of a search. Beyond it the search goes on without them.
_MODELS_TIMEOUT_S = 10.0


class Search:
    """Searches the passages of the call's tenant.

    Where the models do not answer, passages are still found by their words, in the order of BM25; the log tells.
    """

    def __init__(self, store: Store, embedder: Embedder, models: ModelServiceAsyncStub) -> None:
        self._store = store
        self._embedder = embedder
        self._models = models

    async def find(self, query: str, limit: int, documents: Sequence[str], *, rerank: bool) -> list[Passage]:
        """At most `limit` passages, best first, of all documents or of those ids.

        Raises Failure(DATABASE_UNAVAILABLE | DEADLINE_EXCEEDED).
        """
        within = list(documents) or None
        candidates = max(limit, _CANDIDATES)
        async with asyncio.TaskGroup() as group:
            lexical = group.create_task(self._lexical(query, within, candidates))
            nearest = group.create_task(self._nearest(query, within, candidates))
            # Awaited within: see uploads.
            rankings = await lexical, await nearest
        hits = fuse(*rankings)[: max(limit, _RERANKED if rerank else 0)]
        async with self._store.transaction(current_tenant()) as tx:
            rows = await tx.fetch(SQL.get_passages, [hit.passage_id for hit in hits])
        by_id = {row["passage_id"]: row for row in rows}
        # A passage may have been replaced since it was found.
        passages = [_passage(by_id[hit.passage_id], hit) for hit in hits if hit.passage_id in by_id]
        if rerank and passages:
            await self._rerank(query, passages[:_RERANKED])
            passages.sort(key=lambda passage: -passage.score)
        return passages[:limit]

    async def _lexical(self, query: str, documents: list[str] | None, limit: int) -> list[tuple[int, float]]:
        async with self._store.transaction(current_tenant()) as tx:
            rows = await tx.fetch(SQL.find_lexical, query, documents, limit)
        return [(row["passage_id"], row["score"]) for row in rows]

    async def _nearest(self, query: str, documents: list[str] | None, limit: int) -> list[tuple[int, float]]:
        try:
            async with fail_after(_MODELS_TIMEOUT_S):
                [vector] = await self._embedder.embed([query], is_query=True)
                model = await self._embedder.model()
        except (Failure, grpc.aio.AioRpcError) as error:
            _log.warning("Searching by words only, since the query could not be embedded: %s", _cause(error))
            return []
        async with self._store.transaction(current_tenant()) as tx:
            if documents:
                rows = await tx.fetch(SQL.find_nearest_within, vector, model, limit, documents)
            else:
                await tx.execute(SQL.scan_on)
                rows = await tx.fetch(SQL.find_nearest, vector, model, limit)
        return [(row["passage_id"], row["similarity"]) for row in rows]

    async def _rerank(self, query: str, passages: Sequence[Passage]) -> None:
        """Give the passages the cross-encoder's logits, and scores above those of all others."""
        texts = [indexed_text(passage.document_title, passage.headings, passage.text) for passage in passages]
        try:
            async with fail_after(_MODELS_TIMEOUT_S):
                response = await self._models.Score(ScoreRequest(query=query, texts=texts))
        except (Failure, grpc.aio.AioRpcError) as error:
            _log.warning("Not reranked: %s", _cause(error))
            return
        for passage, logit in zip(passages, response.scores, strict=True):
            passage.scores.rerank = logit
            # Fused scores stay below 1.
            passage.score = 1 + 1 / (1 + math.exp(-logit))


def passage_of(row: Record) -> Passage:
    """The passage of a row of get_passages."""
    return Passage(
        name=passage_name(row["document_id"], row["ordinal"]),
        document=document_name(row["document_id"]),
        document_title=row["title"],
        uri=row["uri"],
        text=row["text"],
        span=Span(start=row["span_start"], end=row["span_end"]),
        headings=row["headings"] or [],
        page=row["page"],
    )


def _passage(row: Record, hit: Hit) -> Passage:
    passage = passage_of(row)
    passage.score = hit.fused
    passage.scores.CopyFrom(Passage.Scores(lexical=hit.lexical, vector=hit.vector, fused=hit.fused))
    return passage


def _cause(error: Failure | grpc.aio.AioRpcError) -> str:
    return error.message if isinstance(error, Failure) else f"{error.code().name} {error.details()}"
