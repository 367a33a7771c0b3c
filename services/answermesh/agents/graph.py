"""Graph: from the entities of the question to what joins them, and to passages that plain search missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from answermesh.agents import Run
from answermesh.agents.ids import identifier
from answermesh.agents.language.words import STOP_WORDS
from answermesh.agents.scoring import ModelScorer, Scorer
from answermesh.config import Settings
from answermesh.knowledge.entities import keys
from answermesh.rpc.channel import open_channel
from answermesh.v1.finding_pb2 import Entity, Finding, Passage
from answermesh.v1.graph_service_pb2 import (
    ListEntitiesRequest,
    ListEntitiesResponse,
    ListNeighborsRequest,
    ListNeighborsResponse,
)
from answermesh.v1.graph_service_pb2_grpc import GraphServiceStub
from answermesh.v1.mesh_pb2 import AgentCard
from answermesh.v1.model_service_pb2_grpc import ModelServiceStub

if TYPE_CHECKING:
    from answermesh.v1.graph_service_pb2_grpc import GraphServiceAsyncStub

# Entities of the question that are followed, the most salient first.
MAX_ENTITIES = 4
NEIGHBORS_PER_ENTITY = 8
# Names looked up at once, by the contract of ListEntities.
MAX_NAMES = 50
# Passages that the cross-encoder reads: it also reads those of the search at the same time, and few more are any use.
SCORED_PASSAGES = 8
# Logit from which a neighbour's passage is about the question, and from which one is that names two of its entities.
RELEVANT_LOGIT = 0.0
RELEVANT_LOGIT_SHARED = -3.0

Neighbor = ListNeighborsResponse.Neighbor


class Graph:
    """Follows the question's entities to their neighbours."""

    card = AgentCard(
        agent="graph",
        version="1",
        description="Finds what joins the question's entities, and the passages that say so.",
        consumes=[AgentCard.Consumption(kind=Finding.KIND_ENTITY)],
        produces=[Finding.KIND_RELATION, Finding.KIND_PASSAGE],
        idempotent=True,
    )

    def __init__(self, graph: GraphServiceAsyncStub, scorer: Scorer) -> None:
        self._graph = graph
        self._scorer = scorer

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Graph]:
        async with (
            open_channel(settings.target("knowledge")) as graph,
            open_channel(settings.target("models")) as models,
        ):
            yield cls(GraphServiceStub(graph), ModelScorer(ModelServiceStub(models)))

    async def run(self, run: Run) -> None:
        # Names that no rule finds in the question, "leader election", may be names in the documents all the same.
        names = [key for key in keys(run.question) if key not in STOP_WORDS][: MAX_NAMES // 2]
        followed: set[str] = set()
        emitted: set[str] = set()
        async for entities in _batches(run):
            wanted = [*(entity.display_name for entity in _by_salience(entities)), *names]
            names = []
            known = [one for one in await self._known(wanted) if one.name not in followed]
            known = known[: MAX_ENTITIES - len(followed)]
            followed.update(entity.name for entity in known)
            neighbors = [one for one in await self._neighbors(known) if _allowed(one.passage, run.documents)]
            passages = await self._relevant(run.question, neighbors, {name.casefold() for name in wanted})
            await run.emit(
                *(_finding(passage) for passage in passages if passage.name not in emitted),
                *(Finding(relation=neighbor.relation) for neighbor in _telling(neighbors, passages, followed)),
            )
            emitted.update(passage.name for passage in passages)

    async def _known(self, names: Sequence[str]) -> list[Entity]:
        """The entities of the corpus that have these names, those of the first names first."""
        wanted = list(dict.fromkeys(names))[:MAX_NAMES]
        if not wanted:
            return []
        request = ListEntitiesRequest(display_names=wanted, page_size=MAX_NAMES)
        response: ListEntitiesResponse = await self._graph.ListEntities(request)
        order = {name.casefold(): position for position, name in reversed([*enumerate(wanted)])}
        return sorted(response.entities, key=lambda entity: order.get(entity.display_name.casefold(), len(order)))

    async def _neighbors(self, entities: Sequence[Entity]) -> list[Neighbor]:
        """The strongest neighbours of entities."""
        async with asyncio.TaskGroup() as group:
            lists = [group.create_task(self._of(entity)) for entity in entities]
        return [neighbor for one in lists for neighbor in one.result()]

    async def _of(self, entity: Entity) -> Sequence[Neighbor]:
        request = ListNeighborsRequest(name=entity.name, page_size=NEIGHBORS_PER_ENTITY)
        response: ListNeighborsResponse = await self._graph.ListNeighbors(request)
        return response.neighbors

    async def _relevant(self, question: str, neighbors: Sequence[Neighbor], names: set[str]) -> list[Passage]:
        """The neighbours' passages that are about the question, by the cross-encoder, best first."""
        by_name = {neighbor.passage.name: neighbor.passage for neighbor in neighbors}
        passages = sorted(by_name.values(), key=lambda passage: -_shared(passage, names))[:SCORED_PASSAGES]
        if not passages:
            return []
        logits = await self._scorer.score(question, [passage.text for passage in passages])
        kept: list[Passage] = []
        for logit, passage in sorted(zip(logits, passages, strict=True), key=lambda pair: -pair[0]):
            if logit >= (RELEVANT_LOGIT_SHARED if _shared(passage, names) >= 2 else RELEVANT_LOGIT):
                scored = Passage()
                scored.CopyFrom(passage)
                scored.score = scored.scores.rerank = logit
                kept.append(scored)
        return kept


async def _batches(run: Run) -> AsyncIterator[list[Entity]]:
    """Entities as they come, those that come within a moment together; one empty batch where none come at all."""
    ended = came = False
    while not ended:
        batch: list[Entity] = []
        try:
            batch.append((await anext(run.findings)).entity)
            async with asyncio.timeout(0.01):
                while True:
                    batch.append((await anext(run.findings)).entity)
        except StopAsyncIteration:
            ended = True
        except TimeoutError:
            pass
        if batch or not came:
            came = True
            yield batch


def _finding(passage: Passage) -> Finding:
    return Finding(id=identifier("passage", passage.name), passage=passage)


def _by_salience(entities: Sequence[Entity]) -> list[Entity]:
    return sorted(entities, key=lambda entity: -entity.salience)


def _allowed(passage: Passage, documents: Sequence[str]) -> bool:
    return bool(passage.name) and (not documents or passage.document in documents)


def _shared(passage: Passage, names: set[str]) -> int:
    """How many of the question's entities a passage names."""
    text = passage.text.casefold()
    return sum(name in text for name in names)


def _telling(neighbors: Sequence[Neighbor], passages: Sequence[Passage], followed: set[str]) -> list[Neighbor]:
    """Neighbours worth telling: stated in a passage that was kept, or joining two entities of the question."""
    kept = {passage.name for passage in passages}
    told: dict[bytes, Neighbor] = {}
    for neighbor in neighbors:
        both = {neighbor.relation.subject.name, neighbor.relation.object.name}
        if neighbor.relation.passage in kept or both <= followed:
            told.setdefault(neighbor.relation.SerializeToString(deterministic=True), neighbor)
    return list(told.values())
