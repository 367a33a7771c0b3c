"""Several processes on one address: each has a listening socket of its own, which the parent holds for all their lives.

So connections that wait for a worker that died are neither refused nor lost: they wait for its successor.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from answermesh.errors import Failure, Reason
from answermesh.gateway.http.listener import bind
from answermesh.serve.gateway import Place
from answermesh.serve.process import Process, how_it_ended
from answermesh.serve.restarts import GiveUp, History, after_death, after_ready
from answermesh.serve.stopping import reload_signal, stop_signals

_log = logging.getLogger("answermesh.gateway")

# The kernel goes on to give a dead worker its share of the connections, so they must not wait longer.
_LONGEST_WAIT_S = 2.0


class Workers:
    """The worker processes of one address. `command` is what each runs, but for its place."""

    def __init__(self, command: Sequence[str], sockets: Sequence[socket.socket], folder: Path) -> None:
        self._command = command
        self._sockets = sockets
        self._folder = folder
        # Those that have been ready: one that starts has not yet a handler for SIGHUP, and reads its files anyway.
        self._serving: dict[int, Process] = {}
        self._unready = set(range(len(sockets)))
        self._all_ready = asyncio.Event()

    async def ready(self) -> None:
        """Wait until each worker has been ready once."""
        await self._all_ready.wait()

    def reload(self) -> None:
        """Let all workers read their files anew."""
        for process in self._serving.values():
            process.reload()

    async def keep(self, number: int) -> None:
        """Run one worker, again whenever it dies; cancelling stops it. Raises Failure if it never becomes ready."""
        descriptor = self._sockets[number].fileno()
        place = Place(descriptor, number, self._folder)
        history = History()
        while True:
            started_s = time.monotonic()
            process = await Process.run([*self._command, "--place", str(place)], inherited=[descriptor])
            try:
                if await process.ready():
                    history = after_ready(history)
                    self._serving[number] = process
                    self._is_ready(number)
                ended = how_it_ended(await process.wait())
            finally:
                self._serving.pop(number, None)
                await process.stop()
            history, decision = after_death(history, time.monotonic() - started_s)
            if isinstance(decision, GiveUp):
                raise Failure(
                    Reason.SERVICE_UNAVAILABLE,
                    f"the gateway does not start: worker {number} died {decision.deaths} times ({ended}).",
                )
            wait_s = min(decision.wait_s, _LONGEST_WAIT_S)
            _log.warning("worker %d died (%s); it is started again in %g s", number, ended, wait_s)
            await asyncio.sleep(wait_s)

    def _is_ready(self, number: int) -> None:
        self._unready.discard(number)
        if not self._unready:
            self._all_ready.set()


async def serve_workers(command: Sequence[str], listen: str, count: int, ready: Callable[[str], None]) -> None:
    """Run `count` workers on the address until SIGTERM or SIGINT, which drains them all; SIGHUP reloads them all.

    `ready` gets the address when all serve. Raises Failure where the address cannot be had, or no worker starts.
    """
    with ExitStack() as stack:
        sockets, address = bind_all(listen, count)
        for bound in sockets:
            stack.enter_context(bound)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="answermesh-gateway-"))
        stop = stack.enter_context(stop_signals())
        reload = stack.enter_context(reload_signal())
        workers = Workers(command, sockets, Path(folder))
        async with asyncio.TaskGroup() as group:
            beside = [
                *(group.create_task(workers.keep(number)) for number in range(count)),
                group.create_task(_tell(workers, address, ready)),
                group.create_task(_reload(workers, reload)),
            ]
            await stop.wait()
            # First, so that no new connection waits at a worker that is going.
            for bound in sockets:
                bound.close()
            for task in beside:
                task.cancel()


async def _tell(workers: Workers, address: str, ready: Callable[[str], None]) -> None:
    await workers.ready()
    ready(address)


async def _reload(workers: Workers, asked: asyncio.Event) -> None:
    while True:
        await asked.wait()
        asked.clear()
        workers.reload()


def bind_all(listen: str, count: int) -> tuple[list[socket.socket], str]:
    """As many listening sockets on the address, and the address with its port. Raises Failure if it is not free.

    A Unix socket has one queue, from which all take.
    """
    first, address = bind(listen)
    if listen.startswith("unix:") or count == 1:
        return [first, *(first.dup() for _ in range(count - 1))], address
    # Bound without sharing only to find out whether another server has the address: with sharing, it could be joined.
    first.close()
    return [bind(address, shared=True)[0] for _ in range(count)], address
