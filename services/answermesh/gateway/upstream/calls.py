"""What the gateway wants of a connection to a gRPC service: bytes in, bytes out, cancelled when left.

    Upstream.unary    one message each way
    Upstream.stream   any number of messages either way, as a `StreamCall`

`grpc_channel` does it with grpc.aio, `http2` with a client of our own that costs far less.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from answermesh.gateway.status import Metadata


class Reply(NamedTuple):
    """The answer of a unary call."""

    message: bytes
    headers: Metadata
    trailers: Metadata


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

    def stream(
        self, path: str, metadata: Metadata, timeout_s: float | None, only: bytes | None = None
    ) -> AbstractAsyncContextManager[StreamCall]:
        """Open a stream; leaving the context cancels what is still under way.

        With `only`, that is the one request message, and the call is half-closed at once.
        """
        ...
