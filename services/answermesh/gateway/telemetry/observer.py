"""Whoever looks on while the gateway works: told of each request's end, and asked for /metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from answermesh.gateway.http.exchange import Exchange
from answermesh.gateway.telemetry import processes
from answermesh.gateway.telemetry.access_log import AccessLog
from answermesh.gateway.telemetry.counts import Counts, Snapshot, add
from answermesh.gateway.telemetry.sharing import WRITE_EVERY_S, Shared

_log = logging.getLogger("answermesh.gateway")

# What a process leaves to the one that takes its place; the rest is true of the living alone.
_LASTING = ("series", "schema_reloads", "cpu_s", "log_lines_dropped")
# Connections of an upstream by state.
Connections = Callable[[], Mapping[str, int]]
# What is under way, and schemas taken up and refused.
Watched = tuple[list[Exchange], dict[str, int]]


class Observer:
    """The counts of this process, its access log, and what the other processes on the address counted."""

    def __init__(
        self, connections: Mapping[str, Callable[[], Mapping[str, int]]], log: AccessLog | None, shared: Shared | None
    ) -> None:
        self._counts = Counts()
        self._connections = connections
        self._log = log
        self._shared = shared
        self._before: Snapshot = {}
        if shared is not None:
            before = shared.before()
            self._before = {key: before[key] for key in _LASTING if key in before}
        self._watched: Callable[[], Watched] = lambda: ([], {})

    @classmethod
    @asynccontextmanager
    async def open(
        cls, connections: Mapping[str, Connections], access_log: str, shared: Shared | None
    ) -> AsyncIterator[Observer]:
        """An observer whose access log ends with the context. Raises Failure(INVALID_FIELD) for a bad log file."""
        log = AccessLog(access_log) if access_log else None
        try:
            yield cls(connections, log, shared)
        finally:
            if log is not None:
                log.close()

    def watch(self, watched: Callable[[], Watched]) -> None:
        """Look there for what is under way."""
        self._watched = watched

    def finished(self, exchange: Exchange, duration_s: float) -> None:
        """A request has ended, well or not."""
        self._counts.finished(exchange, duration_s)
        if self._log is not None:
            self._log.finished(exchange, duration_s)

    def reopen(self) -> None:
        """Open the access log anew."""
        if self._log is not None:
            self._log.reopen()

    async def keep(self) -> None:
        """Let the other processes see the counts, until cancelled."""
        while self._shared is not None:
            self._share(self._shared, self._snapshot())
            await asyncio.sleep(WRITE_EVERY_S)

    def page(self) -> tuple[str, bytes]:
        """Content-Type and body of /metrics: the sum of all processes."""
        # Here, since many gateways are never asked.
        from answermesh.gateway.telemetry.exposition import CONTENT_TYPE, exposed

        total = self._snapshot()
        if self._shared is not None:
            self._share(self._shared, total)
            for other in self._shared.others():
                total = add(total, other) if other else total
        return CONTENT_TYPE, exposed(total)

    def _share(self, shared: Shared, snapshot: Snapshot) -> None:
        try:
            shared.write(snapshot)
        except OSError as error:
            # A full disk costs the sum of all its freshness, and no request.
            _log.warning("the counts cannot be shared: %s", error)

    def _snapshot(self) -> Snapshot:
        running, reloads = self._watched()
        now: Snapshot = {
            "series": self._counts.snapshot(running),
            "schema_reloads": reloads,
            "cpu_s": processes.cpu_s(),
            "log_lines_dropped": self._log.dropped if self._log else 0,
            "in_flight": len(running),
            "streams_open": sum(exchange.streams for exchange in running),
            "tasks": len(asyncio.all_tasks()),
            "workers": 1,
            "upstreams": {target: dict(connections()) for target, connections in self._connections.items()},
            "resident_bytes": processes.resident_bytes(),
            "open_files": processes.open_files(),
        }
        return now | add({key: now[key] for key in _LASTING}, self._before) if self._before else now
