"""GraphService: the entities of the documents and what joins them."""

from __future__ import annotations

import grpc

from answermesh.errors import invalid_field, not_found
from answermesh.knowledge.asked import SQL as SEARCH_SQL
from answermesh.knowledge.entities import normalize
from answermesh.knowledge.ids import entity_name
from answermesh.knowledge.search import passage_of
from answermesh.rpc.pages import decode_token, encode_token, page_size
from answermesh.rpc.tenancy import current_tenant
from answermesh.rpc.validate import check_name
from answermesh.store import Record, Store, Transaction, statements
from answermesh.v1 import graph_service_pb2 as pb
from answermesh.v1.finding_pb2 import Entity, Passage, Relation, Span
from answermesh.v1.graph_service_pb2_grpc import GraphServiceServicer

SQL = statements("answermesh.knowledge", "graph")

# The contract's limit.
_MAX_DISPLAY_NAMES = 50


class GraphService(GraphServiceServicer):
    """The servicer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def ListEntities(
        self,
        request: pb.ListEntitiesRequest,
        context: grpc.aio.ServicerContext[pb.ListEntitiesRequest, pb.ListEntitiesResponse],
    ) -> pb.ListEntitiesResponse:
        """Return entities, the most mentioned first."""
        size = page_size(request.page_size)
        if len(request.display_names) > _MAX_DISPLAY_NAMES:
            count = len(request.display_names)
            raise invalid_field("display_names", f"has {count} names; {_MAX_DISPLAY_NAMES} are allowed.")
        # NUL is in no stored name, and Postgres takes it in no parameter.
        keys = [normalize(name.replace("\0", "\ufffd")) for name in request.display_names] or None
        scope = f"ListEntities {list(request.display_names)}"
        after_count, after_id = decode_token(scope, request.page_token) or (None, "")
        async with self._store.transaction(current_tenant()) as tx:
            rows = await tx.fetch(SQL.list_entities, keys, after_count, after_id, size + 1)
        last = rows[size - 1] if len(rows) > size else None
        token = encode_token(scope, [last["mention_count"], last["entity_id"]]) if last else ""
        return pb.ListEntitiesResponse(entities=map(_entity, rows[:size]), next_page_token=token)

    async def GetEntity(
        self,
        request: pb.GetEntityRequest,
        context: grpc.aio.ServicerContext[pb.GetEntityRequest, pb.GetEntityResponse],
    ) -> pb.GetEntityResponse:
        """Return an entity."""
        async with self._store.transaction(current_tenant()) as tx:
            return pb.GetEntityResponse(entity=await _get(tx, request.name))

    async def ListNeighbors(
        self,
        request: pb.ListNeighborsRequest,
        context: grpc.aio.ServicerContext[pb.ListNeighborsRequest, pb.ListNeighborsResponse],
    ) -> pb.ListNeighborsResponse:
        """Return what joins an entity to others, the strongest first."""
        size = page_size(request.page_size, default=20, maximum=100)
        scope = f"ListNeighbors {request.name}"
        after_count, after_id = decode_token(scope, request.page_token) or (None, "")
        async with self._store.transaction(current_tenant()) as tx:
            subject = await _get(tx, request.name)
            identifier = request.name.rpartition("/")[2]
            rows = await tx.fetch(SQL.list_neighbors, identifier, after_count, after_id, size + 1)
            others = await tx.fetch(SQL.get_entities, [row["other_id"] for row in rows])
            found = await tx.fetch(SEARCH_SQL.get_passages, [row["passage_id"] for row in rows])
        entities = {row["entity_id"]: _entity(row) for row in others}
        passages = {row["passage_id"]: passage_of(row) for row in found}
        last = rows[size - 1] if len(rows) > size else None
        token = encode_token(scope, [last["passages"], last["other_id"]]) if last else ""
        return pb.ListNeighborsResponse(
            neighbors=[
                _neighbor(subject, entities[row["other_id"]], passages[row["passage_id"]], row)
                for row in rows[:size]
                # Another transaction may have deleted a document between the two statements.
                if row["other_id"] in entities and row["passage_id"] in passages
            ],
            next_page_token=token,
        )


async def _get(tx: Transaction, name: str) -> Entity:
    rows = await tx.fetch(SQL.get_entities, [check_name("name", name, "entities/*")])
    if not rows:
        raise not_found(name)
    return _entity(rows[0])


def _neighbor(subject: Entity, other: Entity, passage: Passage, row: Record) -> pb.ListNeighborsResponse.Neighbor:
    return pb.ListNeighborsResponse.Neighbor(
        relation=Relation(
            subject=subject,
            predicate=row["predicate"],
            object=other,
            passage=passage.name,
            span=Span(start=row["span_start"], end=row["span_end"]),
            weight=row["passages"],
        ),
        passage=passage,
    )


def _entity(row: Record) -> Entity:
    return Entity(
        name=entity_name(row["entity_id"]),
        display_name=row["display_name"],
        type=row["type"],
        mention_count=row["mention_count"],
        document_count=row["document_count"],
    )
