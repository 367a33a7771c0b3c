"""Documents in the database: all that follows from them is written, replaced or forgotten in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from answermesh.knowledge.entities import title_key
from answermesh.knowledge.ids import entity_id
from answermesh.knowledge.reading import Passage, Reading
from answermesh.store import Record, Transaction, statements

SQL = statements("answermesh.knowledge", "documents")
_T = TypeVar("_T")

# Rows of one statement; bounds both its time and its memory.
_BATCH_ROWS = 200
# Between headings in one string: a control character that no heading holds.
_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document ready to be stored."""

    document_id: str
    uri: str
    title: str
    size_bytes: int
    content_hash: bytes
    fingerprint: bytes
    reading: Reading
    embedding_model: str
    vectors: Sequence[NDArray[np.float32]]
    labels: Mapping[str, str] = field(default_factory=dict)
    publish_time: datetime | None = None


def indexed_text(title: str, headings: Sequence[str], text: str) -> str:
    """What a passage is found by: its text below its title and headings, which often name what the text calls "it"."""
    above = [title, *(heading for heading in headings if heading != title)]
    return "\n".join([" > ".join(filter(None, above)), text]).strip()


async def store(tx: Transaction, documents: Sequence[Prepared]) -> list[tuple[Record, bool]]:
    """Store documents in place of what is stored of them; of each the row, and whether it is new.

    No two may have the same id. Several in one statement cost the database much less than one after the other.
    """
    await tx.execute(SQL.lock_corpus)
    ids = [document.document_id for document in documents]
    replaced = {row["document_id"] for row in await tx.fetch(SQL.find_stored, ids)}
    if replaced:
        await _forget_contents(tx, sorted(replaced))
    rows = await tx.fetch(SQL.put_documents, *_columns(map(_row, documents)))
    places = [(document, ordinal) for document in documents for ordinal in range(len(document.reading.passages))]
    passage_ids = [one for batch in _batches(places) for one in await _put_passages(tx, batch)]
    passages = [
        (document.document_id, document.reading.passages[ordinal], passage_id)
        for (document, ordinal), passage_id in zip(places, passage_ids, strict=True)
    ]
    await _put_graph(tx, passages)
    stored = {row["document_id"]: row for row in rows}
    return [(stored[one], one not in replaced) for one in ids]


async def forget(tx: Transaction, document_id: str) -> bool:
    """Forget a document with all that follows from it alone; whether there was one."""
    await tx.execute(SQL.lock_corpus)
    await _forget_contents(tx, [document_id])
    return await tx.execute(SQL.delete_document, document_id) > 0


async def _forget_contents(tx: Transaction, document_ids: Sequence[str]) -> None:
    for statement in (
        SQL.uncount_mentions,
        SQL.delete_unmentioned,
        SQL.uncount_terms,
        SQL.delete_unused_terms,
        SQL.delete_postings,
        SQL.delete_passages,
    ):
        await tx.execute(statement, document_ids)


def _row(document: Prepared) -> tuple[object, ...]:
    reading = document.reading
    return (
        document.document_id,
        document.uri,
        document.title,
        reading.media_type,
        document.size_bytes,
        document.content_hash,
        document.fingerprint,
        reading.text,
        len(reading.text),
        len(reading.passages),
        title_key(document.title),
        orjson.dumps(document.labels).decode(),
        document.publish_time,
    )


async def _put_passages(tx: Transaction, places: Sequence[tuple[Prepared, int]]) -> list[int]:
    """Store passages, given as a document and the ordinal in it; their ids."""
    rows = await tx.fetch(SQL.put_passages, *_columns(_passage_row(document, ordinal) for document, ordinal in places))
    ids = {row["place"]: row["passage_id"] for row in rows}
    return [ids[place] for place in range(1, len(places) + 1)]


def _passage_row(document: Prepared, ordinal: int) -> tuple[object, ...]:
    passage = document.reading.passages[ordinal]
    text = document.reading.text[passage.start : passage.end]
    return (
        document.document_id,
        document.embedding_model,
        ordinal,
        passage.start,
        passage.end,
        text,
        _SEPARATOR.join(passage.headings),
        passage.page,
        # asyncpg takes a sequence within a list for another dimension of the array, but a buffer for one value.
        document.vectors[ordinal].data,
        indexed_text(document.title, passage.headings, text),
    )


async def _put_graph(tx: Transaction, passages: Sequence[tuple[str, Passage, int]]) -> None:
    """Store what passages mention and say of it; each with its document's id and its own."""
    mentions = [
        (mention, document, passage_id) for document, passage, passage_id in passages for mention in passage.mentions
    ]
    ids = {key: entity_id(key) for key in {mention.key for mention, _, _ in mentions}}
    # One row for each key: the first spelling, the most specific type.
    first = {mention.key: mention for mention, _, _ in reversed(mentions)}
    types: dict[str, int] = {}
    # A passage has one mention of each key.
    counts = Counter(mention.key for mention, _, _ in mentions)
    documents = Counter(key for key, _ in {(mention.key, document) for mention, document, _ in mentions})
    for mention, _, _ in mentions:
        types[mention.key] = min(mention.type, types.get(mention.key, mention.type))
    for keys in _batches(sorted(first)):
        entities = [(ids[key], key, first[key].text, types[key], counts[key], documents[key]) for key in keys]
        await tx.execute(SQL.put_entities, *_columns(entities))
    for part in _batches(mentions):
        rows = [(document, ids[m.key], passage_id, m.start, m.end) for m, document, passage_id in part]
        await tx.execute(SQL.put_mentions, *_columns(rows))
    relations = [
        (ids[r.subject], ids[r.object], passage_id, r.predicate, r.start, r.end)
        for _, passage, passage_id in passages
        for r in passage.relations
    ]
    for joins in _batches(relations):
        await tx.execute(SQL.put_relations, *_columns(joins))


def _columns(rows: Iterable[Sequence[object]]) -> Iterator[list[object]]:
    """The columns of some rows, which are given to `unnest`."""
    return map(list, zip(*rows, strict=True))


def _batches(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), _BATCH_ROWS):
        yield items[start : start + _BATCH_ROWS]
