"""Files on their way into a mesh: the requests of one ImportDocuments stream.

The stream's iterator must never raise: betterproto would wait forever for a half-close that does not come. So a file
that cannot be read is told beside the stream, as a response of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from pathlib import Path

from google.rpc.code_pb2 import INVALID_ARGUMENT

from answermesh.typed.answermesh import v1
from answermesh.typed.google import rpc as typed_rpc

# The contract's limits: bytes of one chunk, bytes of one file.
_CHUNK_BYTES = 1 << 20
_FILE_BYTES = 64 << 20


class Uploads:
    """The files of one import; `requests()` feeds the stream, `take_unread()` tells what could not be read."""

    def __init__(
        self, paths: Iterable[str | Path], base: Path | None = None, labels: Mapping[str, str] | None = None
    ) -> None:
        self._paths = [Path(path) for path in paths]
        self._base = base
        self._labels = dict(labels or {})
        self._unread: list[v1.ImportDocumentsResponse] = []

    async def requests(self) -> AsyncIterator[v1.ImportDocumentsRequest]:
        """Each file: its start and then its bytes. A whole file is read before it is begun, so none is cut short."""
        for path in self._paths:
            try:
                uri = uri_of(path, self._base)
                content = await asyncio.to_thread(_read, path)
            except (OSError, ValueError) as error:
                self._unread.append(_unreadable(str(path), error))
                continue
            for request in _steps(v1.Document(uri=uri, labels=self._labels), content):
                yield request

    def take_unread(self) -> list[v1.ImportDocumentsResponse]:
        """FAILED outcomes of files that could not be read since the last call."""
        unread, self._unread = self._unread, []
        return unread


async def requests_of(documents: Iterable[tuple[v1.Document, bytes]]) -> AsyncIterator[v1.ImportDocumentsRequest]:
    """The requests of contents that are at hand."""
    for document, content in documents:
        for request in _steps(document, content):
            yield request


def _steps(document: v1.Document, content: bytes) -> Iterator[v1.ImportDocumentsRequest]:
    yield v1.ImportDocumentsRequest(start=document)
    for offset in range(0, len(content), _CHUNK_BYTES):
        yield v1.ImportDocumentsRequest(chunk=content[offset : offset + _CHUNK_BYTES])


def uri_of(path: Path, base: Path | None = None) -> str:
    """The path below `base` (default: the working directory) with "/"; the absolute path for a file outside of it."""
    root = (base or Path.cwd()).resolve()
    # Not resolve() of the file itself: a link keeps the name that the user knows it by.
    absolute = path.parent.resolve() / path.name
    return (absolute.relative_to(root) if absolute.is_relative_to(root) else absolute).as_posix()


def _read(path: Path) -> bytes:
    size_bytes = path.stat().st_size
    if size_bytes > _FILE_BYTES:
        raise ValueError(f"holds {size_bytes} bytes; a document may hold {_FILE_BYTES} (64 MiB): split it.")
    return path.read_bytes()


def _unreadable(uri: str, error: OSError | ValueError) -> v1.ImportDocumentsResponse:
    cause = f"cannot be read: {error.strerror}." if isinstance(error, OSError) else str(error)
    return v1.ImportDocumentsResponse(
        uri=uri,
        outcome=v1.ImportDocumentsResponseOutcome.OUTCOME_FAILED,  # type: ignore[arg-type]  # typed as int
        error=typed_rpc.Status(code=INVALID_ARGUMENT, message=f"{uri} {cause}"),
    )
