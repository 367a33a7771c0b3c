"""A call under way that several may read: one task gets the text, everyone reads it from its beginning.

Whoever joins pays nothing; who leaves disturbs nobody. When the last reader leaves, the call is cancelled, and its
connection closed. Text is kept whole until then: it is bounded by the call's max_tokens.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from answermesh.llm.ledger import Usage, from_cache
from answermesh.v1.query_pb2 import UsageRecord

# Longest wait for a connection to close.
_CLOSE_S = 2.0

Source = Callable[[list[Usage]], AsyncGenerator[str, None]]


class Flight:
    """One call. `source` is given the list that it enters its usage into."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._pieces: list[str] = []
        self._usages: list[Usage] = []
        self._records: list[UsageRecord] | None = None
        self._is_paid = False
        self._readers = 0
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._fetch())

    @property
    def is_over(self) -> bool:
        """True if no more text will come, for whatever reason."""
        return self._task.done()

    @property
    def text(self) -> str:
        """What came so far."""
        return "".join(self._pieces)

    @property
    def finish_reason(self) -> str:
        """Why the model stopped, as the API tells: "stop", "length", …; empty until it did."""
        return self._usages[-1].finish_reason if self._usages else ""

    def join(self) -> None:
        """Become a reader; each must `leave`."""
        self._readers += 1

    async def read(self) -> AsyncIterator[str]:
        """The text's pieces from its beginning; raises what the call raised."""
        index = 0
        while True:
            while index < len(self._pieces):
                index += 1
                yield self._pieces[index - 1]
            if self._task.done():
                self._task.result()
                return
            news = self._news
            await news.wait()

    async def leave(self) -> None:
        """Stop reading; the last to leave ends the call, and waits until its connection is closed."""
        self._readers -= 1
        if not self._readers:
            await self.stop()

    async def stop(self) -> None:
        """End the call."""
        self._task.cancel()
        await asyncio.wait([self._task], timeout=_CLOSE_S)
        if self._task.done() and not self._task.cancelled():
            self._task.exception()  # seen: nobody reads any more

    def bill(self) -> list[UsageRecord]:
        """The records of the call for one reader: the cost for the first who asks, copies at no cost for the others.

        Empty while the call goes on: then somebody else still reads, and pays.
        """
        if not self._task.done():
            return []
        if self._records is None:
            self._records = [usage.record() for usage in self._usages]
        if self._is_paid:
            return [from_cache(record) for record in self._records[-1:]]
        self._is_paid = True
        return self._records

    def last_record(self) -> UsageRecord:
        """The record of the attempt that gave the text; only once the call is over."""
        return self._usages[-1].record()

    async def _fetch(self) -> None:
        try:
            async with aclosing(self._source(self._usages)) as pieces:
                async for piece in pieces:
                    self._pieces.append(piece)
                    self._tell()
        finally:
            # After this step the task is done, and readers look at it when they run next.
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
