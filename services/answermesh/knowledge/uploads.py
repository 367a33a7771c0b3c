"""A stream of files on its way in: assembled, read, and stored side by side, each stage one file ahead of the next.

    requests ─> assemble ─1 file─> read ─1 file─> embed and store ─> responses

Each queue holds one file, so a sender that is faster than the models is held back by the stream itself, and at most
four files are in memory. A file that fails is reported, and the others go on. When the stream breaks off, what was
reported as stored is.
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

    async with asyncio.TaskGroup() as group:
        group.create_task(_assemble(requests, files, report))
        group.create_task(_read(importer, files, pending, report))
        # Awaited within: Python 3.11 leaves a task marked as cancelled when a child fails while the block is being left
        # (python/cpython#116720), and the edge would take the failure for a caller that hung up.
        await group.create_task(_finish(importer, pending, report))


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


async def _read(
    importer: Importer, files: asyncio.Queue[File | None], pending: asyncio.Queue[Pending | None], report: Write
) -> None:
    while (file := await files.get()) is not None:
        read = await _reported(file.uri, importer.read(file), report)
        if read is not None:
            await pending.put(read)
    await pending.put(None)


async def _finish(importer: Importer, pending: asyncio.Queue[Pending | None], report: Write) -> None:
    while (one := await pending.get()) is not None:
        uri = one.file.uri

        async def progress(done: int, total: int, uri: str = uri) -> None:
            outcome = ImportDocumentsResponse.OUTCOME_PROGRESS
            await report(ImportDocumentsResponse(uri=uri, outcome=outcome, passages_done=done, passages_total=total))

        stored = await _reported(uri, importer.finish(one, progress), report)
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
