"""An upstream on which only so many streams are open at once: each holds memory for as long as its client likes."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType

from answermesh.gateway.status import Metadata, too_many_streams
from answermesh.gateway.upstream.calls import StreamCall, Upstream


class BoundedStreams:
    """Calls `inner`, with at most `most` streams at a time; one more is RESOURCE_EXHAUSTED at once."""

    def __init__(self, inner: Upstream, most: int) -> None:
        self.unary = inner.unary
        self.start = inner.start
        self._inner = inner
        self._most = most
        self._open = 0

    def stream(
        self, path: str, metadata: Metadata, timeout_s: float | None, only: bytes | None = None
    ) -> AbstractAsyncContextManager[StreamCall]:
        """See Upstream. Entering raises CallError where there are too many."""
        return _Counted(self, self._inner.stream(path, metadata, timeout_s, only))

    def take(self) -> None:
        """One more. Raises CallError."""
        if self._open >= self._most:
            raise too_many_streams(self._most)
        self._open += 1

    def give_back(self) -> None:
        """One less."""
        self._open -= 1


class _Counted:
    def __init__(self, bound: BoundedStreams, call: AbstractAsyncContextManager[StreamCall]) -> None:
        self._bound = bound
        self._call = call

    async def __aenter__(self) -> StreamCall:
        self._bound.take()
        try:
            return await self._call.__aenter__()
        except BaseException:
            self._bound.give_back()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        self._bound.give_back()
        return await self._call.__aexit__(kind, error, traceback)
