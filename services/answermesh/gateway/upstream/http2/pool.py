"""The connections of one target: which of them a call gets, and how long it waits for one.

Two in turn are compared, and the one with fewer calls is taken: round robin while all are equally quick, and away from
a slow one. Calls that find no room wait in line, up to their deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import math
from collections import Counter, deque
from collections.abc import Coroutine, Iterable

from grpc import StatusCode

from answermesh.gateway.status import CallError, unavailable
from answermesh.gateway.upstream.http2.connection import Connection
from answermesh.gateway.upstream.http2.link import Link, State
from answermesh.gateway.upstream.http2.options import Http2Options, Keepalive
from answermesh.gateway.upstream.http2.requests import RequestHeaders
from answermesh.gateway.upstream.http2.stream import deadline_exceeded
from answermesh.gateway.upstream.http2.targets import Address, Target, resolve

_log = logging.getLogger("answermesh.gateway")
# gRPC's `dns_min_time_between_resolutions_ms` of the mesh.
_RESOLVE_PAUSE_S = 5.0


class Pool:
    """See the module. Owns one task per link, and one that looks names up; they end with `aclose`."""

    def __init__(self, target: Target, options: Http2Options, headers: RequestHeaders) -> None:
        self._target = target
        self._options = options
        self._headers = headers
        self.waiting: deque[asyncio.Event] = deque()
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._resolver: asyncio.Task[None] | None = None
        self._look_up = asyncio.Event()
        self._ready: list[Connection] = []
        self._turn = 0
        # All that are not closed, also those that take no new calls.
        self.connections: set[Connection] = set()
        self._down_since = -math.inf
        self._error = ""
        self._started = False
        self._closed = False

    # ------------------------------------------------------------ calls
    def pick(self) -> Connection | None:
        """A connection with room; None if there is none, or others wait for one."""
        ready = self._ready
        if not ready or self.waiting:
            return None
        if len(ready) == 1:
            return ready[0] if ready[0].has_room else None
        self._turn = turn = (self._turn + 1) % len(ready)
        first, second = ready[turn], ready[turn - 1]
        chosen = first if first.calls <= second.calls else second
        return chosen if chosen.has_room else self._any()

    def _any(self) -> Connection | None:
        return next((connection for connection in self._ready if connection.has_room), None)

    async def acquire(self, deadline: float) -> Connection:
        """A connection with room, waited for in line. Raises CallError."""
        if len(self.waiting) >= self._options.max_waiting:
            raise CallError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"{self._options.max_waiting} calls already wait for the upstream; try again later.",
            )
        self._start()
        ticket = asyncio.Event()
        self.waiting.append(ticket)
        try:
            while (connection := self._any() if self.waiting[0] is ticket else None) is None:
                await self._wait(ticket, deadline)
        finally:
            self.waiting.remove(ticket)
            # The next may have room too, or this one got it and no longer wants it.
            self._on_room()
        return connection

    async def _wait(self, ticket: asyncio.Event, deadline: float) -> None:
        """Until there may be room. Raises CallError once there is no point in waiting."""
        if self._closed:
            raise CallError(StatusCode.CANCELLED, "The gateway's connection to the upstream was closed.")
        now, patience_ends = asyncio.get_running_loop().time(), self._patience_ends()
        if now >= deadline:
            raise deadline_exceeded()
        if now >= patience_ends:
            raise unavailable(self._error or "The upstream has no addresses.")
        self._grow()
        until = min(patience_ends, deadline)
        ticket.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(None if until == math.inf else until):
                await ticket.wait()

    def _patience_ends(self) -> float:
        """The instant from which on calls fail rather than wait."""
        if self._ready or not self._links:
            return math.inf if self._ready or not self._error else self._down_since + self._options.patience_s
        if any(link.state is State.CONNECTING and not link.failures for link in self._links):
            return math.inf
        return self._down_since + self._options.patience_s

    def _grow(self) -> None:
        """One more connection to the address that has the fewest, if all have as many calls as they may."""
        if not self._ready or any(link.extra and link.state is not State.READY for link in self._links):
            return
        counts = Counter(link.address for link in self._links if link.state is State.READY)
        address, count = min(counts.items(), key=lambda item: item[1], default=(None, 0))
        if address is not None and count < self._options.max_connections:
            self._add(address, extra=True)

    # ------------------------------------------------------------ links
    def _start(self) -> None:
        if self._started or self._closed:
            return
        self._started = True
        self._down_since = asyncio.get_running_loop().time()
        if self._target.addresses:
            self._use(self._target.addresses)
        else:
            self._resolver = self._task(self._follow_name(), "looks up the upstream's name")

    def _task(self, coroutine: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        # In a context of its own: what the first caller has set is none of its concern.
        return asyncio.get_running_loop().create_task(coroutine, name=name, context=contextvars.Context())

    def _add(self, address: Address, *, extra: bool = False) -> None:
        link = Link(address, self._options, self._headers, self._make, self._on_change, extra=extra)
        task = self._links[link] = self._task(link.run(), f"keeps {address} connected")
        task.add_done_callback(lambda task: self._forget(link, task))

    def _forget(self, link: Link, task: asyncio.Task[None]) -> None:
        self._links.pop(link, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Nobody knows why, so it is told; calls must not wait for an address that nobody keeps connected.
            _log.error("the connection to %s failed; it is made anew", link.address, exc_info=error)
            self._error = f"The connection to {link.address} failed."
            asyncio.get_running_loop().call_later(self._options.backoff.most_s, self._restore, link.address)
        self._on_change()

    def _restore(self, address: Address) -> None:
        if not self._closed and all(link.address != address for link in self._links):
            self._add(address)

    def _use(self, addresses: Iterable[Address]) -> None:
        """Connect to these addresses and to no others; calls under way elsewhere end in peace."""
        wanted = dict.fromkeys(addresses)
        for link, task in list(self._links.items()):
            if link.address not in wanted:
                task.cancel()
        known = {link.address for link in self._links}
        for address in wanted:
            if address not in known:
                self._add(address)

    async def _follow_name(self) -> None:
        """Look the name up again and again, and soon after a connection failed."""
        loop = asyncio.get_running_loop()
        while True:
            wait_s = self._options.resolve_every_s
            try:
                async with asyncio.timeout(self._options.connect_timeout_s):
                    self._use(await resolve(self._target, loop))
            except OSError as error:  # TimeoutError is one
                self._error = f"No address for {self._target.host!r}: {error or 'no answer'}."
                wait_s = min(wait_s, self._options.backoff.most_s)
                self._on_change()
            self._look_up.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await asyncio.sleep(min(_RESOLVE_PAUSE_S, wait_s))
                    await self._look_up.wait()
            except TimeoutError:
                pass

    # ------------------------------------------------------------ changes
    def _on_change(self) -> None:
        """A link's state, or what a connection takes, has changed."""
        was_up = bool(self._ready)
        self._ready = [
            link.connection
            for link in self._links
            if link.connection is not None and link.state is State.READY and not link.connection.is_draining
        ]
        if was_up and not self._ready:
            self._down_since = asyncio.get_running_loop().time()
        for link in self._links:
            if link.state is not State.READY and link.error:
                self._error = link.error
                self._look_up.set()
        for ticket in self.waiting:
            ticket.set()

    def _on_room(self) -> None:
        """Let the first that waits try again."""
        if self.waiting:
            self.waiting[0].set()

    # ------------------------------------------------------------ the rest
    def _make(self, address: Address, keepalive: Keepalive) -> Connection:
        connection = Connection(str(address), self._options, keepalive, self.waiting, self._on_change, self._on_room)
        self.connections.add(connection)
        connection.closed.add_done_callback(lambda _: self.connections.discard(connection))
        return connection

    @property
    def reconnects(self) -> int:
        """Connections made after the first of each link."""
        return sum(max(0, link.connects - 1) for link in self._links)

    @property
    def links(self) -> Iterable[Link]:
        """What is kept connected."""
        return self._links

    async def aclose(self) -> None:
        """End all tasks and connections; calls under way fail."""
        self._closed = True
        tasks = [*self._links.values(), *([self._resolver] if self._resolver else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self.connections):
            connection.close("the gateway closed it")
        self._on_change()
