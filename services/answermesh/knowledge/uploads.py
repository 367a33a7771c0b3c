"""A stream of files on its way in: assembled, read, embedded and stored side by side.

    requests ─> assemble ─> read ─> embed and store, several at once ─> responses

Several files are embedded at once, so that the models never wait for one to be stored; their small batches are put
together by the models' own queue. The queues between hold a file each, so a sender that is faster than the models is
held back by the stream itself, and few files are in memory. A file that fails is reported, and the others go on. When
the stream breaks off, what was reported as stored is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import TypeVar

import grpc

from answermesh.errors import Failure, Reason, invalid_field
from answermesh.knowledge.importing import MAX_CONTENT_BYTES, File, Importer, Pending, too_large
from answermesh.rpc.status import failure_from, status_from
from answermesh.v1.document_pb2 import Document
from answermesh.v1.document_service_pb2 import ImportDocumentsRequest, ImportDocumentsResponse

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

# The contract's limit on one chunk.
_MAX_CHUNK_BYTES = 1 << 20

# Files that are embedded and stored at once: one that is stored, and enough small ones to fill the models' batches.
_FINISHED_AT_ONCE = 6

Write = Callable[[ImportDocumentsResponse], Awaitable[None]]


async def import_all(importer: Importer, requests: AsyncIterable[ImportDocumentsRequest], write: Write) -> None:
    """Take in all files of a stream; `write` gets a response for each step.

    Raises Failure(INVALID_FIELD) for a stream that breaks the contract; files finished before stay stored.
    """
    files: asyncio.Queue[File | None] = asyncio.Queue(1)
    pending: asyncio.Queue[Pending | None] = asyncio.Queue(1)
    # Two stages report; gRPC takes one message at a time.
    lock = asyncio.Lock()

    async def report(response: ImportDocumentsResponse) -> None:
        async with lock:
            await write(response)

    under_way = _UnderWay()
    async with asyncio.TaskGroup() as group:
        group.create_task(_assemble(requests, files, report))
        group.create_task(_read(importer, files, pending, under_way, report))
        finishing = [group.create_task(_finish(importer, pending, under_way, report)) for _ in range(_FINISHED_AT_ONCE)]
        # Awaited within: Python 3.11 leaves a task marked as cancelled when a child fails while the block is being left
        # (python/cpython#116720), and the edge would take the failure for a caller that hung up.
        for task in finishing:
            await task


async def _assemble(
    requests: AsyncIterable[ImportDocumentsRequest], files: asyncio.Queue[File | None], report: Write
) -> None:
    start: Document | None = None
    content = bytearray()

    async def end() -> None:
        if start is not None:
            file = await _reported(start.uri, _file(start, content), report)
            if file is not None:
                await files.put(file)

    async for request in requests:
        match request.WhichOneof("step"):
            case "start":
                await end()
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
    await end()
    await files.put(None)


async def _file(start: Document, content: bytearray) -> File:
    if len(content) > MAX_CONTENT_BYTES:
        raise too_large(start.uri, len(content))
    return File.of(start, bytes(content))


class _UnderWay:
    """The uris between reading and storing: of two files of one uri the second waits, so that the last one stays."""

    def __init__(self) -> None:
        self._ends: dict[str, asyncio.Event] = {}

    async def begin(self, uri: str) -> None:
        while uri in self._ends:
            await self._ends[uri].wait()
        self._ends[uri] = asyncio.Event()

    def end(self, uri: str) -> None:
        self._ends.pop(uri).set()


async def _read(
    importer: Importer,
    files: asyncio.Queue[File | None],
    pending: asyncio.Queue[Pending | None],
    under_way: _UnderWay,
    report: Write,
) -> None:
    while (file := await files.get()) is not None:
        await under_way.begin(file.uri)
        read = await _reported(file.uri, importer.read(file), report)
        if read is not None:
            await pending.put(read)
        else:
            under_way.end(file.uri)
    for _ in range(_FINISHED_AT_ONCE):
        await pending.put(None)


async def _finish(
    importer: Importer, pending: asyncio.Queue[Pending | None], under_way: _UnderWay, report: Write
) -> None:
    while (one := await pending.get()) is not None:
        uri = one.file.uri

        async def progress(done: int, total: int, uri: str = uri) -> None:
            outcome = ImportDocumentsResponse.OUTCOME_PROGRESS
            await report(ImportDocumentsResponse(uri=uri, outcome=outcome, passages_done=done, passages_total=total))

        stored = await _reported(uri, importer.finish(one, progress), report)
        under_way.end(uri)
        if stored is not None:
            outcome, document = stored
            total = document.passage_count
            await report(
                ImportDocumentsResponse(
                    uri=uri, outcome=outcome, document=document, passages_done=total, passages_total=total
                )
            )


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
