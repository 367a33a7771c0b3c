"""Several upstreams as one: each call goes to the upstream of its service."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from answermesh.gateway.status import Metadata, unavailable
from answermesh.gateway.upstream.calls import Completion, Reply, Started, StreamCall, Upstream


class ByService:
    """See Upstream. Who is called is told by `use`, and again whenever that changes."""

    def __init__(self) -> None:
        self._upstreams: dict[str, Upstream] = {}

    def use(self, upstreams: Mapping[str, Upstream]) -> None:
        """Call these services there from now on. A service that is not named any more keeps its upstream.

        So a request that began by the plan before still ends; and there are only as many as were ever described.
        """
        self._upstreams.update(upstreams)

    # Not coroutines of their own: the call costs what that of the upstream costs, and a look-up.
    def unary(
        self, path: str, message: bytes, metadata: Metadata, timeout_s: float | None
    ) -> Coroutine[Any, Any, Reply]:
        """See Upstream."""
        return self._of(path).unary(path, message, metadata, timeout_s)

    def start(
        self, path: str, message: bytes, metadata: Metadata, timeout_s: float | None, completion: Completion
    ) -> Started | None:
        """See Upstream."""
        return self._of(path).start(path, message, metadata, timeout_s, completion)

    def stream(
        self, path: str, metadata: Metadata, timeout_s: float | None, only: bytes | None = None
    ) -> AbstractAsyncContextManager[StreamCall]:
        """See Upstream."""
        return self._of(path).stream(path, metadata, timeout_s, only)

    def _of(self, path: str) -> Upstream:
        upstream = self._upstreams.get(path[1 : path.rfind("/")])
        if upstream is None:
            raise unavailable(f"No upstream is known for {path}; try again in a second.")
        return upstream
