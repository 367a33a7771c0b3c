"""Passages for a query: BM25 and vectors side by side, fused, the nearest rivals read again by the cross-encoder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import grpc

from answermesh.errors import Failure
from answermesh.knowledge.embedder import Embedder
from answermesh.knowledge.fusion import MAX_RERANKED, Candidate, contenders, fuse, reranked, spread
from answermesh.knowledge.ids import document_name, passage_name
from answermesh.knowledge.storing import indexed_text
from answermesh.rpc.deadline import fail_after
from answermesh.rpc.tenancy import current_tenant
from answermesh.store import Record, Store, statements
from answermesh.v1.document_service_pb2 import SearchPassagesRequest
from answermesh.v1.finding_pb2 import Passage, Span
from answermesh.v1.model_service_pb2 import ScoreRequest

if TYPE_CHECKING:
    from answermesh.v1.model_service_pb2_grpc import ModelServiceAsyncStub

_log = logging.getLogger(__name__)
SQL = statements("answermesh.knowledge", "search")

# Passages that each search contributes at least.
_CANDIDATES = 30
# The models' part of a search. Beyond it the search goes on without them.
_MODELS_TIMEOUT_S = 10.0

Rerank = SearchPassagesRequest.Rerank


class Search:
    """Searches the passages of the call's tenant.

    Where the models do not answer, passages are still found by their words, in the order of BM25; the log tells.
    """

    def __init__(self, store: Store, embedder: Embedder, models: ModelServiceAsyncStub) -> None:
        self._store = store
        self._embedder = embedder
        self._models = models

    async def find(self, query: str, limit: int, documents: Sequence[str], rerank: Rerank.ValueType) -> list[Passage]:
        """At most `limit` passages, best first, of all documents or of those ids.

        RERANK_AUTO reads again only what could take the first place, RERANK_ALWAYS the best whatever their points.
        Raises Failure(DATABASE_UNAVAILABLE | DEADLINE_EXCEEDED).
        """
        rows = await self._candidates(query, limit, list(documents) or None)
        fused = fuse([_candidate(row) for row in rows.values()])
        points = [one for _, one in fused]
        passages = [_passage(rows[candidate.passage_id], candidate, one) for candidate, one in fused]
        match rerank:
            case SearchPassagesRequest.RERANK_NEVER:
                count = 0
            case SearchPassagesRequest.RERANK_ALWAYS:
                count = MAX_RERANKED
            case _:
                count = contenders(points)
        if count:
            await self._rerank(query, passages[:count])
        if any(passage.scores.HasField("rerank") for passage in passages):
            for passage in passages:
                logit = passage.scores.rerank if passage.scores.HasField("rerank") else None
                passage.score = reranked(passage.score, logit)
        order = spread([candidate for candidate, _ in fused], [passage.score for passage in passages])
        return [passages[position] for position in order[:limit]]

    async def _candidates(self, query: str, limit: int, documents: list[str] | None) -> dict[int, Record]:
        """What either search has found, by id."""
        count = max(limit, _CANDIDATES)
        async with asyncio.TaskGroup() as group:
            lexical = group.create_task(self._lexical(query, documents, count))
            embedding = group.create_task(self._embedded(query))
            # Awaited within: see uploads.
            ids, (vector, model) = await lexical, await embedding
        async with self._store.transaction(current_tenant()) as tx:
            if vector is not None and documents:
                nearest = await tx.fetch(SQL.find_nearest_within, vector, model, count, documents)
            elif vector is not None:
                await tx.execute(SQL.scan_on)
                nearest = await tx.fetch(SQL.find_nearest, vector, model, count)
            else:
                nearest = []
            wanted = list(dict.fromkeys([*ids, *(row["passage_id"] for row in nearest)]))
            rows = await tx.fetch(SQL.get_candidates, wanted, query, vector, model) if wanted else []
        return {row["passage_id"]: row for row in rows}

    async def _lexical(self, query: str, documents: list[str] | None, limit: int) -> list[int]:
        async with self._store.transaction(current_tenant()) as tx:
            rows = await tx.fetch(SQL.find_lexical, query, documents, limit)
        return [row["passage_id"] for row in rows]

    async def _embedded(self, query: str) -> tuple[list[float] | None, str]:
        """The query's vector and the model that made it; no vector where it does not answer."""
        try:
            async with fail_after(_MODELS_TIMEOUT_S):
                [vector] = await self._embedder.embed([query], is_query=True)
                return vector, await self._embedder.model()
        except (Failure, grpc.aio.AioRpcError) as error:
            _log.warning("Searching by words only, since the query could not be embedded: %s", _cause(error))
            return None, ""

    async def _rerank(self, query: str, passages: Sequence[Passage]) -> None:
        """Give the passages the cross-encoder's logits."""
        texts = [indexed_text(passage.document_title, passage.headings, passage.text) for passage in passages]
        try:
            async with fail_after(_MODELS_TIMEOUT_S):
                response = await self._models.Score(ScoreRequest(query=query, texts=texts))
        except (Failure, grpc.aio.AioRpcError) as error:
            _log.warning("Not reranked: %s", _cause(error))
            return
        for passage, logit in zip(passages, response.scores, strict=True):
            passage.scores.rerank = logit


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


def _candidate(row: Record) -> Candidate:
    words = dict(zip(row["terms"] or (), row["weights"] or (), strict=True))
    return Candidate(row["passage_id"], words, row["similarity"])


def _passage(row: Record, candidate: Candidate, points: float) -> Passage:
    passage = passage_of(row)
    passage.score = points
    passage.scores.CopyFrom(Passage.Scores(lexical=candidate.lexical, vector=candidate.similarity or 0.0, fused=points))
    return passage


def _cause(error: Failure | grpc.aio.AioRpcError) -> str:
    return error.message if isinstance(error, Failure) else f"{error.code().name} {error.details()}"
