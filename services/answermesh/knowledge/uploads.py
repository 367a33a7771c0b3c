"""A stream of files on its way in: assembled, read and embedded side by side, stored together.

    requests ─> assemble ─> read and embed, several at once ─> store what is ready ─> responses

Several files are under way at once, so that the models never wait for one to be read or stored; their small batches
are put together by the models' own queue. No file is begun while enough are under way, so a sender that is faster than
the models is held back by the stream itself. A file that fails is reported, and the others go on. When the stream
breaks off, what was reported as stored is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import grpc

from answermesh.errors import Failure, Reason, invalid_field
from answermesh.knowledge.importing import MAX_CONTENT_BYTES, File, Importer, too_large
from answermesh.knowledge.storing import Prepared
from answermesh.knowledge.writer import Imported, Writer
from answermesh.rpc.status import failure_from, status_from
from answermesh.v1.document_pb2 import Document
from answermesh.v1.document_service_pb2 import ImportDocumentsRequest, ImportDocumentsResponse

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

# The contract's limit on one chunk.
_MAX_CHUNK_BYTES = 1 << 20

# Files that are under way at once: always a few, so that one is stored while others are embedded, and more of small
# ones, up to so many bytes together: a few batches of the models, to be stored in one transaction.
_FEW = 6
_MANY = 64
_MANY_BYTES = 256 << 10

Write = Callable[[ImportDocumentsResponse], Awaitable[None]]


async def import_all(importer: Importer, requests: AsyncIterable[ImportDocumentsRequest], write: Write) -> None:
    """Take in all files of a stream; `write` gets a response for each step.

    Raises Failure(INVALID_FIELD) for a stream that breaks the contract; files finished before stay stored.
    """
    # Several files report; gRPC takes one message at a time.
    lock = asyncio.Lock()

    async def report(response: ImportDocumentsResponse) -> None:
        async with lock:
            await write(response)

    under_way = _UnderWay()
    writer = Writer(importer.store, under_way.count)
    async with asyncio.TaskGroup() as group, aclosing(_assembled(requests, report)) as files:
        writing = group.create_task(writer.run())
        async for file in files:
            await under_way.begin(file)
            group.create_task(_take_in(importer, writer, file, under_way, report))
        # Awaited within: Python 3.11 leaves a task marked as cancelled when a child fails while the block is being left
        # (python/cpython#116720), and the edge would take the failure for a caller that hung up.
        await under_way.all_ended()
        writing.cancel()


async def _assembled(requests: AsyncIterable[ImportDocumentsRequest], report: Write) -> AsyncGenerator[File]:
    start: Document | None = None
    content = bytearray()
    async for request in requests:
        match request.WhichOneof("step"):
            case "start":
                if start is not None and (file := await _reported(start.uri, _file(start, content), report)):
                    yield file
                start = request.start
                content = bytearray()
            case "chunk":
                if start is None:
                    raise invalid_field("chunk", "came before the start of a file; send `start` first.")
                if not 1 <= len(request.chunk) <= _MAX_CHUNK_BYTES:
                    raise invalid_field(
                        "chunk", f"has {len(request.chunk)} bytes; send 1 to {_MAX_CHUNK_BYTES} (1 MiB)."
                    )
                # One byte too many is kept: it tells that the file is too large.
                content += request.chunk[: MAX_CONTENT_BYTES + 1 - len(content)]
            case _:
                raise invalid_field("step", "is not set; send `start` or `chunk`.")
    if start is not None and (file := await _reported(start.uri, _file(start, content), report)):
        yield file


async def _file(start: Document, content: bytearray) -> File:
    if len(content) > MAX_CONTENT_BYTES:
        raise too_large(start.uri, len(content))
    return File.of(start, bytes(content))


class _UnderWay:
    """The files that are begun and not stored yet: of two of one uri the second waits, so that the last one stays."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._changed = asyncio.Condition()

    def count(self) -> int:
        """How many there are."""
        return len(self._sizes)

    async def begin(self, file: File) -> None:
        """Wait until there is room for the file, and it is the only one of its uri."""
        async with self._changed:
            await self._changed.wait_for(lambda: file.uri not in self._sizes and self._has_room(len(file.content)))
            self._sizes[file.uri] = len(file.content)

    async def end(self, uri: str) -> None:
        async with self._changed:
            del self._sizes[uri]
            self._changed.notify_all()

    async def all_ended(self) -> None:
        """Wait until no file is under way."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._sizes)

    def _has_room(self, size_bytes: int) -> bool:
        return self.count() < _FEW or (self.count() < _MANY and sum(self._sizes.values()) + size_bytes <= _MANY_BYTES)


async def _take_in(importer: Importer, writer: Writer, file: File, under_way: _UnderWay, report: Write) -> None:
    uri = file.uri

    async def progress(done: int, total: int) -> None:
        outcome = ImportDocumentsResponse.OUTCOME_PROGRESS
        await report(ImportDocumentsResponse(uri=uri, outcome=outcome, passages_done=done, passages_total=total))

    async def imported() -> Imported:
        embedded = await importer.embed(await importer.read(file), progress)
        return await writer.put(embedded) if isinstance(embedded, Prepared) else embedded

    stored = await _reported(uri, imported(), report)
    if stored is not None:
        outcome, document = stored
        total = document.passage_count
        await report(
            ImportDocumentsResponse(
                uri=uri, outcome=outcome, document=document, passages_done=total, passages_total=total
            )
        )
    await under_way.end(uri)


async def _reported(uri: str, work: Awaitable[_T], report: Write) -> _T | None:
    """What `work` gives; None where it failed, which is reported as the failure of that file."""
    try:
        return await work
    except Failure as error:
        failure = error
    except grpc.aio.AioRpcError as error:
        failure = failure_from(error)
    except Exception:
        _log.exception("Importing %r failed", uri)
        failure = Failure(Reason.INTERNAL, f"{uri} could not be imported; the log of the knowledge service tells why.")
    failed = ImportDocumentsResponse.OUTCOME_FAILED
    await report(ImportDocumentsResponse(uri=uri, outcome=failed, error=status_from(failure)))
    return None
