"""What the gateway wants of a connection to a gRPC service: bytes in, bytes out, cancelled when left.

    Upstream.unary    one message each way
    Upstream.stream   any number of messages either way, as a `StreamCall`

`grpc_channel` does it with grpc.aio, `http2` with a client of our own that costs far less.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from grpc import StatusCode

from answermesh.gateway.status import CallError, Metadata


class Reply(NamedTuple):
    """The answer of a unary call."""

    message: bytes
    headers: Metadata
    trailers: Metadata


class Unprocessed(CallError):
    """The server has surely not seen the call, which may be made again."""

    def __init__(self, message: str) -> None:
        super().__init__(StatusCode.UNAVAILABLE, message)


class Completion(Protocol):
    """Who is told how a unary call ended: a future, or what acts like one."""

    def done(self) -> bool:
        """Whether nobody wants to know any more."""
        ...

    def set_result(self, result: Reply, /) -> None:
        """It went well."""
        ...

    def set_exception(self, exception: CallError, /) -> None:
        """It failed; Unprocessed may be tried again."""
        ...


class Started(Protocol):
    """A unary call under way."""

    def cancel(self) -> None:
        """Cancel the RPC, if it is not over. The completion is told, unless it is done."""
        ...


class StreamCall(Protocol):
    """A call under way. Each method raises CallError with the upstream's status once it has failed."""

    async def write(self, message: bytes) -> None:
        """Send a request message; waits while the upstream takes none."""
        ...

    async def done_writing(self) -> None:
        """Half-close: no more request messages."""
        ...

    async def read(self) -> Sequence[bytes]:
        """The response messages that have come, at least one; empty at the end of a call that went well.

        Cancelling a read loses nothing: the next one gets what this one waited for. Until messages are read, the
        upstream is not told that there is room for more.
        """
        ...

    async def headers(self) -> Metadata:
        """Initial metadata, once it has come; may be cancelled and asked again."""
        ...

    async def trailers(self) -> Metadata:
        """Trailing metadata, after the end."""
        ...


class Upstream(Protocol):
    """A service to call. `timeout_s` None means no deadline."""

    async def unary(self, path: str, message: bytes, metadata: Metadata, timeout_s: float | None) -> Reply:
        """Call "/package.Service/Method". Raises CallError; cancelling cancels the RPC."""
        ...

    def start(
        self, path: str, message: bytes, metadata: Metadata, timeout_s: float | None, completion: Completion
    ) -> Started | None:
        """A unary call that needs no task: its end is told to `completion` as soon as it comes.

        None where it cannot be sent at once, or this client cannot do so: then take `unary`. Raises CallError.
        """
        ...

    def stream(
        self, path: str, metadata: Metadata, timeout_s: float | None, only: bytes | None = None
    ) -> AbstractAsyncContextManager[StreamCall]:
        """Open a stream; leaving the context cancels what is still under way.

        With `only`, that is the one request message, and the call is half-closed at once.
        """
        ...
