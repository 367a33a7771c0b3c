"""One document in the database: all that follows from it is written, replaced or forgotten in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from answermesh.knowledge.entities import title_key
from answermesh.knowledge.ids import entity_id
from answermesh.knowledge.reading import Reading
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


async def store(tx: Transaction, document: Prepared) -> tuple[Record, bool]:
    """Store the document in place of what is stored of it; the row, and whether it is new."""
    await tx.execute(SQL.lock_corpus)
    is_new = await tx.fetchval(SQL.find_fingerprint, document.document_id) is None
    if not is_new:
        await _forget_contents(tx, document.document_id)
    reading = document.reading
    row = await tx.fetchrow(
        SQL.put_document,
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
    assert row is not None
    passage_ids = [0] * len(reading.passages)
    for ordinals in _batches(range(len(reading.passages))):
        await _put_passages(tx, document, ordinals, passage_ids)
    await _put_graph(tx, document, passage_ids)
    return row, is_new


async def forget(tx: Transaction, document_id: str) -> bool:
    """Forget a document with all that follows from it alone; whether there was one."""
    await tx.execute(SQL.lock_corpus)
    await _forget_contents(tx, document_id)
    return await tx.execute(SQL.delete_document, document_id) > 0


async def _forget_contents(tx: Transaction, document_id: str) -> None:
    for statement in (
        SQL.uncount_mentions,
        SQL.delete_unmentioned,
        SQL.uncount_terms,
        SQL.delete_unused_terms,
        SQL.delete_postings,
        SQL.delete_passages,
    ):
        await tx.execute(statement, document_id)


async def _put_passages(tx: Transaction, document: Prepared, ordinals: Sequence[int], passage_ids: list[int]) -> None:
    passages = [document.reading.passages[ordinal] for ordinal in ordinals]
    texts = [document.reading.text[passage.start : passage.end] for passage in passages]
    rows = await tx.fetch(
        SQL.put_passages,
        document.document_id,
        document.embedding_model,
        list(ordinals),
        [passage.start for passage in passages],
        [passage.end for passage in passages],
        texts,
        [_SEPARATOR.join(passage.headings) for passage in passages],
        [passage.page for passage in passages],
        # asyncpg takes a sequence within a list for another dimension of the array, but a buffer for one value.
        [document.vectors[ordinal].data for ordinal in ordinals],
        [indexed_text(document.title, passage.headings, text) for passage, text in zip(passages, texts, strict=True)],
    )
    for row in rows:
        passage_ids[row["ordinal"]] = row["passage_id"]


async def _put_graph(tx: Transaction, document: Prepared, passage_ids: Sequence[int]) -> None:
    mentions = [
        (mention, passage_id)
        for passage, passage_id in zip(document.reading.passages, passage_ids, strict=True)
        for mention in passage.mentions
    ]
    # One row for each key: the first spelling, the most specific type.
    first = {mention.key: mention for mention, _ in reversed(mentions)}
    types: dict[str, int] = {}
    # A passage has one mention of each key.
    counts = Counter(mention.key for mention, _ in mentions)
    for mention, _ in mentions:
        types[mention.key] = min(mention.type, types.get(mention.key, mention.type))
    for keys in _batches(sorted(first)):
        await tx.execute(
            SQL.put_entities,
            list(map(entity_id, keys)),
            list(keys),
            [first[key].text for key in keys],
            [types[key] for key in keys],
            [counts[key] for key in keys],
        )
    for part in _batches(mentions):
        await tx.execute(
            SQL.put_mentions,
            document.document_id,
            [entity_id(mention.key) for mention, _ in part],
            [passage_id for _, passage_id in part],
            [mention.start for mention, _ in part],
            [mention.end for mention, _ in part],
        )
    relations = [
        (entity_id(r.subject), entity_id(r.object), passage_id, r.predicate, r.start, r.end)
        for passage, passage_id in zip(document.reading.passages, passage_ids, strict=True)
        for r in passage.relations
    ]
    for rows in _batches(relations):
        await tx.execute(SQL.put_relations, *map(list, zip(*rows, strict=True)))


def _batches(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), _BATCH_ROWS):
        yield items[start : start + _BATCH_ROWS]
