"""Stores documents together that are ready while others are being written: one transaction for many small ones.

A transaction, with its commit and its statements, costs the database several passages' worth, whatever it carries.
Nobody is waited for: what is ready when the writer is free goes, so a document alone is stored at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from answermesh.errors import Failure
from answermesh.knowledge.storing import Prepared
from answermesh.v1.document_pb2 import Document
from answermesh.v1.document_service_pb2 import ImportDocumentsResponse

# What became of a file, and its document.
Imported = tuple[ImportDocumentsResponse.Outcome.ValueType, Document]
Store = Callable[[Sequence[Prepared]], Awaitable[list[Imported]]]

# Passages of one transaction, unless a single document has more: some 0.3 s, in which other writers of the tenant wait.
MAX_PASSAGES = 200

_Waiting = tuple[Prepared, asyncio.Future[Imported]]


class Writer:
    """Calls `store`, all or nothing, with what was put since its last call."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[_Waiting] = deque()
        self._woken = asyncio.Event()

    async def put(self, document: Prepared) -> Imported:
        """What became of the document, once it is stored. Raises what `store` raises for it."""
        stored: asyncio.Future[Imported] = asyncio.get_running_loop().create_future()
        self._waiting.append((document, stored))
        self._woken.set()
        return await stored

    async def run(self) -> None:
        """Write what is put, until cancelled; what is being written then is not stored."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while group := self._take():
                await self._write(group)

    def _take(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        passages = 0
        while self._waiting:
            passages += len(self._waiting[0][0].reading.passages)
            if group and passages > MAX_PASSAGES:
                break
            group.append(self._waiting.popleft())
        return group

    async def _write(self, group: Sequence[_Waiting]) -> None:
        try:
            outcomes = await self._store([document for document, _ in group])
        except Exception as error:
            # A Failure is the database's, and would meet each of them; anything else may be the fault of one.
            if len(group) > 1 and not isinstance(error, Failure):
                for one in group:
                    await self._write([one])
                return
            for _, stored in group:
                if not stored.done():
                    stored.set_exception(error)
            return
        for (_, stored), outcome in zip(group, outcomes, strict=True):
            if not stored.done():
                stored.set_result(outcome)
