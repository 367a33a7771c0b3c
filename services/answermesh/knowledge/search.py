"""Passages for a query: BM25 and vectors side by side, fused, the nearest rivals read again by the cross-encoder."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import grpc

from answermesh.errors import Failure
from answermesh.knowledge.asked import SQL, Asked, Lookups
from answermesh.knowledge.embedder import Embedder
from answermesh.knowledge.entities import normalize
from answermesh.knowledge.excerpts import excerpt
from answermesh.knowledge.fusion import (
    MAX_RERANKED,
    SEEDS,
    SPREAD_RANKS,
    Candidate,
    Link,
    contenders,
    followed,
    fuse,
    reranked,
    seeds,
    spread,
)
from answermesh.knowledge.ids import document_name, passage_name
from answermesh.knowledge.neighbors import Place, joined
from answermesh.knowledge.storing import indexed_text
from answermesh.rpc.deadline import fail_after
from answermesh.store import Record, Store
from answermesh.v1.document_service_pb2 import SearchPassagesRequest
from answermesh.v1.finding_pb2 import Entity, Passage, Span
from answermesh.v1.model_service_pb2 import ScoreRequest

if TYPE_CHECKING:
    from answermesh.v1.model_service_pb2_grpc import ModelServiceAsyncStub

_log = logging.getLogger(__name__)

# Passages that each search contributes at least.
_CANDIDATES = 30
# Links that are looked at, the strongest first.
_MAX_LINKS = 60
# Entities that stand beside everything.
_LEADING_NOWHERE = (Entity.TYPE_QUANTITY, Entity.TYPE_TIME)
# How long a transaction waits for the query's vector, which takes 5 ms where nobody else wants the models.
_HELD_S = 0.05
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

    async def find(
        self,
        query: str,
        limit: int,
        documents: Sequence[str],
        rerank: Rerank.ValueType,
        *,
        links: bool,
        join: bool = False,
    ) -> list[Passage]:
        """At most `limit` passages, best first, of all documents or of those ids.

        RERANK_AUTO reads again only what could take the first place, RERANK_ALWAYS the best whatever their points.
        `links` is whether to look where the best lead, `join` whether those side by side are returned as one.
        Raises Failure(DATABASE_UNAVAILABLE | DEADLINE_EXCEEDED).
        """
        async with Lookups(self._store) as lookups:
            asked = await self._asked(lookups, query, limit, list(documents) or None)
            candidates = asked.candidates()
            fused = fuse(candidates)
            if read := [one.passage_id for one, _ in fused[: _reads(rerank, fused)]]:
                await lookups.pause()
            logits = await self._logits(asked, read)
            points = {one.passage_id: _points(one, value, logits) for one, value in fused}
            if links:
                weights = seeds({one.passage_id: value for one, value in fused}, _ranked(candidates, points, SEEDS))
                if found := await _linked(lookups, asked, weights):
                    candidates = asked.candidates()
                    fused = fuse(candidates)
                    points = {one.passage_id: _points(one, value, logits) for one, value in fused}
                    points = followed(points, weights, found)
            ranked = _ranked(candidates, points)
            groups = [[one] for one in ranked[:limit]]
            if join:
                places = [Place(asked.rows[one]["document_id"], asked.rows[one]["ordinal"]) for one in ranked]
                groups = [[ranked[position] for position in group] for group in joined(places, limit)]
            texts = await _texts(lookups, [[asked.rows[one] for one in group] for group in groups if len(group) > 1])
        own = {one.passage_id: value for one, value in fused}
        passages: list[Passage] = []
        for group in groups:
            best = min(group, key=ranked.index)
            passage = _passage(asked.rows[best], own[best], points[best], logits.get(best))
            first, last = asked.rows[group[0]], asked.rows[group[-1]]
            text = texts.get((first["document_id"], first["span_start"]))
            if len(group) > 1 and text is not None:
                passage.text = text
                passage.span.CopyFrom(Span(start=first["span_start"], end=last["span_end"]))
                passage.page = first["page"]
                passage.parts.extend(passage_name(first["document_id"], asked.rows[one]["ordinal"]) for one in group)
            passages.append(passage)
        return passages

    async def _asked(self, lookups: Lookups, query: str, limit: int, documents: list[str] | None) -> Asked:
        """What either search has found."""
        count = max(limit, _CANDIDATES)
        async with asyncio.TaskGroup() as group:
            embedding = group.create_task(self._embedded(query))
            ids = [row["passage_id"] for row in await lookups.fetch(SQL.find_lexical, query, documents, count)]
            await asyncio.wait([embedding], timeout=_HELD_S)
            if not embedding.done():
                await lookups.pause()
            # Awaited within: see uploads.
            vector, model = await embedding
        asked = Asked(query, None if documents is None else frozenset(documents), vector, model, {})
        if vector is not None and documents:
            rows = await lookups.fetch(SQL.find_nearest_within, vector, model, count, documents)
            ids += [row["passage_id"] for row in rows]
        await asked.get(lookups, ids, count if vector is not None and not documents else 0)
        return asked

    async def _embedded(self, query: str) -> tuple[list[float] | None, str]:
        """The query's vector and the model that made it; no vector where it does not answer."""
        try:
            async with fail_after(_MODELS_TIMEOUT_S):
                [vector] = await self._embedder.embed([query], is_query=True)
                return vector, await self._embedder.model()
        except (Failure, grpc.aio.AioRpcError) as error:
            _log.warning("Searching by words only, since the query could not be embedded: %s", _cause(error))
            return None, ""

    async def _logits(self, asked: Asked, ids: Sequence[int]) -> dict[int, float]:
        """What the cross-encoder says of these passages; nothing where it does not answer."""
        if not ids:
            return {}
        rows = [asked.rows[one] for one in ids]
        texts = [indexed_text(row["title"], row["headings"] or [], excerpt(asked.query, row["text"])) for row in rows]
        try:
            async with fail_after(_MODELS_TIMEOUT_S):
                response = await self._models.Score(ScoreRequest(query=asked.query, texts=texts))
        except (Failure, grpc.aio.AioRpcError) as error:
            _log.warning("Not reranked: %s", _cause(error))
            return {}
        return dict(zip(ids, response.scores, strict=True))


async def _linked(lookups: Lookups, asked: Asked, weights: Mapping[int, float]) -> list[Link]:
    """Where these passages lead; what is there is among the rows then."""
    if not weights:
        return []
    said = f" {normalize(asked.query.rstrip('?'))} "
    rows = await lookups.fetch(SQL.find_linked, list(weights), said, list(_LEADING_NOWHERE), _MAX_LINKS)
    await asked.get(lookups, [row["passage_id"] for row in rows])
    return [Link(*row.values()) for row in rows if row["passage_id"] in asked.rows]


async def _texts(lookups: Lookups, groups: Sequence[Sequence[Record]]) -> dict[tuple[str, int], str]:
    """The text of each group, from its first passage's start to its last one's end, with what is between."""
    if not groups:
        return {}
    starts = [(group[0]["document_id"], group[0]["span_start"], group[-1]["span_end"]) for group in groups]
    rows = await lookups.fetch(SQL.get_texts, *map(list, zip(*starts, strict=True)))
    ends = {(document, start): end for document, start, end in starts}
    # A document may have been replaced since; then its text is of another length there.
    return {
        (row["document_id"], row["span_start"]): row["text"]
        for row in rows
        if len(row["text"]) == ends[row["document_id"], row["span_start"]] - row["span_start"]
    }


def _reads(rerank: Rerank.ValueType, fused: Sequence[tuple[Candidate, float]]) -> int:
    match rerank:
        case SearchPassagesRequest.RERANK_NEVER:
            return 0
        case SearchPassagesRequest.RERANK_ALWAYS:
            return MAX_RERANKED
        case _:
            return contenders([value for _, value in fused])


def _points(candidate: Candidate, fused: float, logits: Mapping[int, float]) -> float:
    return reranked(fused, logits.get(candidate.passage_id)) if logits else fused


def _ranked(candidates: Sequence[Candidate], points: Mapping[int, float], count: int = SPREAD_RANKS) -> list[int]:
    by_points = sorted(candidates, key=lambda one: (-points[one.passage_id], one.passage_id))
    order = spread(by_points, [points[one.passage_id] for one in by_points], count)
    return [by_points[position].passage_id for position in order]


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


def _passage(row: Record, fused: float, points: float, logit: float | None) -> Passage:
    passage = passage_of(row)
    passage.score = points
    lexical = sum(row["weights"] or ())
    passage.scores.CopyFrom(Passage.Scores(lexical=lexical, vector=row["similarity"] or 0.0, fused=fused, rerank=logit))
    return passage


def _cause(error: Failure | grpc.aio.AioRpcError) -> str:
    return error.message if isinstance(error, Failure) else f"{error.code().name} {error.details()}"
