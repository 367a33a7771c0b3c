"""Files on their way in: read in a worker, embedded, then stored in one transaction, alone or with others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath

import numpy as np
import orjson
from numpy.typing import NDArray

from answermesh.errors import Failure, Field, Reason, invalid_field
from answermesh.knowledge import reading
from answermesh.knowledge.embedder import BATCH_TEXTS, Embedder
from answermesh.knowledge.ids import document_id
from answermesh.knowledge.pool import Pool
from answermesh.knowledge.storing import SQL, Prepared, forget, indexed_text, store
from answermesh.knowledge.writer import Imported
from answermesh.rpc.tenancy import current_tenant
from answermesh.rpc.validate import check_text
from answermesh.store import Record, Store
from answermesh.v1.document_pb2 import Document
from answermesh.v1.document_service_pb2 import ImportDocumentsResponse

# The contract's limits.
MAX_CONTENT_BYTES = 64 << 20
MAX_URI_CHARS = 2000
# Not stated by the contract; far beyond what is a title or a media type.
_MAX_TITLE_CHARS = 500
_MAX_LABELS = 32
_MAX_LABEL_CHARS = 200
_LABEL = re.compile(r"[\w-]{1,63}")

# Called with (passages embedded, passages in all).
Progress = Callable[[int, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class File:
    """A file as it was sent, checked."""

    uri: str
    title: str
    media_type: str
    content: bytes
    labels: Mapping[str, str] = field(default_factory=dict)
    publish_time: datetime | None = None

    @classmethod
    def of(cls, document: Document, content: bytes) -> File:
        """Raises Failure(INVALID_FIELD | UNREADABLE_DOCUMENT | TOO_LARGE)."""
        check_document(document)
        if len(content) > MAX_CONTENT_BYTES:
            raise too_large(document.uri, len(content))
        if not content:
            what = "is empty; send its content."
            raise Failure(Reason.UNREADABLE_DOCUMENT, f"{document.uri} {what}", fields=[Field("content", what)])
        published = document.publish_time.ToDatetime(UTC) if document.HasField("publish_time") else None
        title = " ".join(document.title.split())
        return cls(document.uri, title, document.media_type, content, dict(document.labels), published)


def check_document(document: Document) -> None:
    """Check the fields that a caller gives. Raises Failure(INVALID_FIELD)."""
    check_text("document.uri", document.uri, MAX_URI_CHARS)
    for path, value in (("document.title", document.title), ("document.media_type", document.media_type)):
        if value and (len(value) > _MAX_TITLE_CHARS or "\0" in value):
            raise invalid_field(
                path, f"has {len(value)} characters; up to {_MAX_TITLE_CHARS}, none of them NUL, are allowed."
            )
    check_labels(document)


def check_labels(document: Document) -> None:
    """Check what the owner says of a document. Raises Failure(INVALID_FIELD)."""
    if len(document.labels) > _MAX_LABELS:
        raise invalid_field("document.labels", f"has {len(document.labels)} pairs; up to {_MAX_LABELS} are allowed.")
    for key, value in document.labels.items():
        if not _LABEL.fullmatch(key) or len(value) > _MAX_LABEL_CHARS or "\0" in value:
            allowed = f"keys have 1-63 letters, digits, _ and -, values {_MAX_LABEL_CHARS} characters at most"
            what = f"{key[:80]!r} is not allowed; {allowed}."
            raise invalid_field("document.labels", what)
    if document.HasField("publish_time"):
        try:
            document.publish_time.ToDatetime(UTC)
        except (ValueError, OverflowError) as error:
            raise invalid_field("document.publish_time", "is no time between the years 1 and 9999.") from error


def too_large(uri: str, size_bytes: int) -> Failure:
    """The failure of a file above the limit."""
    what = f"holds {size_bytes} bytes or more; a document may hold {MAX_CONTENT_BYTES} (64 MiB): split it."
    return Failure(Reason.TOO_LARGE, f"{uri} {what}", fields=[Field("content", what)])


@dataclass(frozen=True, slots=True)
class Pending:
    """A file that was read; `reading` is None where the same is stored already."""

    file: File
    content_hash: bytes
    fingerprint: bytes
    reading: reading.Reading | None


class Importer:
    """Takes files in. No transaction is open while a worker or a model is at work."""

    def __init__(self, store: Store, pool: Pool, embedder: Embedder) -> None:
        self._store = store
        self._pool = pool
        self._embedder = embedder

    async def read(self, file: File) -> Pending:
        """Read a file, unless the same is stored already. Raises Failure(UNREADABLE_DOCUMENT) and those of the
        store."""
        content_hash = hashlib.sha256(file.content).digest()
        model = await self._embedder.model()
        parts = (
            content_hash,
            file.title.encode(),
            file.media_type.encode(),
            str(reading.VERSION).encode(),
            model.encode(),
            orjson.dumps([sorted(file.labels.items()), file.publish_time]),
        )
        fingerprint = hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()
        async with self._store.transaction(current_tenant()) as tx:
            if await tx.fetchval(SQL.find_fingerprint, document_id(file.uri)) == fingerprint:
                return Pending(file, content_hash, fingerprint, None)
        return Pending(file, content_hash, fingerprint, await self._pool.read(file.content, file.uri, file.media_type))

    async def finish(self, pending: Pending, progress: Progress) -> Imported:
        """Embed and store a file that was read; what became of it.

        When it returns, the document is on disk; when it raises or is cancelled, what was stored before still is.
        Raises what embed and store raise.
        """
        embedded = await self.embed(pending, progress)
        if not isinstance(embedded, Prepared):
            return embedded
        [imported] = await self.store([embedded])
        return imported

    async def embed(self, pending: Pending, progress: Progress) -> Prepared | Imported:
        """Make a file that was read ready to be stored; where the same is stored already, that.

        Raises Failure(MODEL_UNAVAILABLE) or AioRpcError, and the failures of the store.
        """
        file, read = pending.file, pending.reading
        identifier = document_id(file.uri)
        if read is None:
            async with self._store.transaction(current_tenant()) as tx:
                row = await tx.fetchrow(SQL.get_document, identifier)
            if row is not None:
                return ImportDocumentsResponse.OUTCOME_UNCHANGED, document_of(row)
            # Deleted in between.
            read = await self._pool.read(file.content, file.uri, file.media_type)
        title = file.title or read.title or PurePosixPath(file.uri).name or file.uri
        vectors = await self._vectors(title, read, progress)
        return Prepared(
            document_id=identifier,
            uri=file.uri,
            title=title,
            size_bytes=len(file.content),
            content_hash=pending.content_hash,
            fingerprint=pending.fingerprint,
            reading=read,
            embedding_model=await self._embedder.model(),
            vectors=vectors,
            labels=file.labels,
            publish_time=file.publish_time,
        )

    async def store(self, documents: Sequence[Prepared]) -> list[Imported]:
        """Store documents, all of them or none; what became of each.

        Raises Failure(DATABASE_UNAVAILABLE | OVERLOADED | STORAGE_FULL | DEADLINE_EXCEEDED); other errors are the
        fault of one of the documents, or ours.
        """
        async with self._store.transaction(current_tenant()) as tx:
            stored = await store(tx, documents)
        created, updated = ImportDocumentsResponse.OUTCOME_CREATED, ImportDocumentsResponse.OUTCOME_UPDATED
        return [(created if is_new else updated, document_of(row)) for row, is_new in stored]

    async def delete(self, identifier: str) -> bool:
        """Delete a document; whether there was one."""
        async with self._store.transaction(current_tenant()) as tx:
            return await forget(tx, identifier)

    async def _vectors(self, title: str, read: reading.Reading, progress: Progress) -> list[NDArray[np.float32]]:
        vectors: list[NDArray[np.float32]] = []
        total = len(read.passages)
        for start in range(0, total, BATCH_TEXTS):
            part = read.passages[start : start + BATCH_TEXTS]
            texts = [indexed_text(title, passage.headings, read.text[passage.start : passage.end]) for passage in part]
            # Arrays take a sixth of the memory of lists, and a long document has thousands.
            vectors += [np.array(vector, dtype=np.float32) for vector in await self._embedder.embed(texts)]
            if len(vectors) < total:
                # What is embedded in one go is about to be stored.
                await progress(len(vectors), total)
        return vectors


def document_of(row: Record) -> Document:
    """The document of a row, without its text."""
    document = Document(
        name=f"documents/{row['document_id']}",
        uri=row["uri"],
        title=row["title"],
        media_type=row["media_type"],
        size_bytes=row["size_bytes"],
        content_hash=row["content_hash"].hex(),
        character_count=row["character_count"],
        passage_count=row["passage_count"],
    )
    document.labels.update(orjson.loads(row["labels"]))
    if row["publish_time"] is not None:
        document.publish_time.FromDatetime(row["publish_time"])
    document.create_time.FromDatetime(row["create_time"])
    document.update_time.FromDatetime(row["update_time"])
    return document
