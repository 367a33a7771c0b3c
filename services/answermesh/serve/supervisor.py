"""The supervisor: keeps every service running, and stops all in order. What to do about a death: serve.restarts."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from answermesh.errors import Failure, Reason
from answermesh.serve import layout
from answermesh.serve.process import Process, how_it_ended, last_lines
from answermesh.serve.restarts import GiveUp, History, after_death, after_ready
from answermesh.store import EmbeddedPostgres

# A service that is not ready by then is stuck; it is started again as if it had died.
READY_WAIT_S = 60.0

Say = Callable[[str], None]


class Supervisor:
    """Runs services until its tasks are cancelled; `say` gets a sentence for a person about each thing that happens."""

    def __init__(self, run_dir: Path, log_dir: Path, env: Mapping[str, str], say: Say) -> None:
        self._run_dir = run_dir
        self._log_dir = log_dir
        self._env = {**os.environ, **env}
        self._say = say
        self._known: dict[str, asyncio.Future[str]] = {}
        # Process ids by service, for those who want to look.
        self.pids: dict[str, int] = {}

    def know(self, name: str, value: str) -> None:
        """Tell what services wait for: the address of the database, or of a service."""
        future = self._knowledge(name)
        if not future.done():
            future.set_result(value)

    async def address(self, service: str) -> str:
        """Wait until a service is ready for the first time; its address."""
        return await asyncio.shield(self._knowledge(service))

    async def keep(self, service: layout.Service) -> None:
        """Run a service, again whenever it dies; cancelling stops it and waits for that.

        Raises Failure(SERVICE_UNAVAILABLE) if it never becomes ready.
        """
        known = {name: await self.address(name) for name in service.needs}
        env = {**self._env, **layout.environ(self._run_dir, known)}
        log = self._log_dir / f"{service.name}.log"
        history, listen = History(), service.listen
        while True:
            started_s = time.monotonic()
            process = await Process.start(service.kind or service.name, listen, service.options, env, log)
            self.pids[service.name] = process.pid
            try:
                if address := await _ready(process):
                    # A port that the kernel chose stays the service's own: clients know it by now.
                    listen, history = address, after_ready(history)
                    self.know(service.name, address)
                    ended = how_it_ended(await process.wait())
                else:
                    ended = await _why_not_ready(process)
            finally:
                await process.stop()
            history, decision = after_death(history, time.monotonic() - started_s)
            if isinstance(decision, GiveUp):
                raise _does_not_start(service.name, decision, ended, log)
            self._say(f"{service.name} died ({ended}); it is started again in {decision.wait_s:g} s. Log: {log}")
            await asyncio.sleep(decision.wait_s)

    async def keep_database(self, postgres: EmbeddedPostgres) -> None:
        """Start Postgres again whenever it dies; the services reconnect by themselves."""
        history = after_ready(History())
        while True:
            started_s = time.monotonic()
            ended = how_it_ended(await postgres.wait())
            history = await self._restart(postgres, history, time.monotonic() - started_s, ended)

    async def _restart(self, postgres: EmbeddedPostgres, history: History, lived_s: float, ended: str) -> History:
        while True:
            history, decision = after_death(history, lived_s)
            # It was ready before: it is never given up.
            assert not isinstance(decision, GiveUp)
            self._say(f"Postgres died ({ended}); it is started again in {decision.wait_s:g} s.")
            await asyncio.sleep(decision.wait_s)
            try:
                await postgres.restart()
            except Failure as failure:
                lived_s, ended = 0.0, failure.message
            else:
                return history

    def _knowledge(self, name: str) -> asyncio.Future[str]:
        if name not in self._known:
            self._known[name] = asyncio.get_running_loop().create_future()
        return self._known[name]


async def _ready(process: Process) -> str | None:
    try:
        async with asyncio.timeout(READY_WAIT_S):
            return await process.ready()
    except TimeoutError:
        return None


async def _why_not_ready(process: Process) -> str:
    """How a process ended that closed its pipe without a word; it may take a moment to go."""
    ended: Awaitable[int] = process.wait()
    try:
        async with asyncio.timeout(1.0):
            return how_it_ended(await ended)
    except TimeoutError:
        return f"not ready within {READY_WAIT_S:g} s"


def _does_not_start(service: str, decision: GiveUp, ended: str, log: Path) -> Failure:
    return Failure(
        Reason.SERVICE_UNAVAILABLE,
        f"{service} does not start: it died {decision.deaths} times ({ended}). "
        f"`answermesh doctor` may tell why; the end of {log}:\n{last_lines(log)}",
    )
