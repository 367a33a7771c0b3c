"""Stores documents together that are ready at about the same time: one transaction for many small ones.

A transaction, with its commit and its statements, costs the database several passages' worth, whatever it carries. So
those that are ready wait a moment for others that are on their way; where none is, nobody is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
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
# How long the first that is ready waits for others: the models give some ten to fifty passages in that time.
_LINGER_S = 0.5

_Waiting = tuple[Prepared, asyncio.Future[Imported]]


class Writer:
    """Calls `store`, all or nothing, with what was put since its last call.

    `under_way` tells how many documents may be waited for, those that are put and not stored yet among them.
    """

    def __init__(self, store: Store, under_way: Callable[[], int] = lambda: 0, *, linger_s: float = _LINGER_S) -> None:
        self._store = store
        self._under_way = under_way
        self._linger_s = linger_s
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
            await self._next_put()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._linger_s):
                    while not self._is_due():
                        await self._next_put()
            while group := self._take():
                await self._write(group)

    async def _next_put(self) -> None:
        await self._woken.wait()
        self._woken.clear()

    def _is_due(self) -> bool:
        passages = sum(len(document.reading.passages) for document, _ in self._waiting)
        return passages >= MAX_PASSAGES or len(self._waiting) >= self._under_way()

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
