"""The supervisor: keeps every service running, and stops all in order. What to do about a death: serve.restarts."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from answermesh.errors import Failure, Reason
from answermesh.gateway.http.listener import bind
from answermesh.serve import layout
from answermesh.serve.process import Process, how_it_ended, last_lines
from answermesh.serve.restarts import GiveUp, History, after_death, after_ready
from answermesh.store import EmbeddedPostgres

# A service that is not ready by then is stuck; it is started again as if it had died.
READY_WAIT_S = 60.0

# Within this, all who call a service have found its new address: they try every 2 s at the latest (rpc.options).
FOUND_S = 2.5
# How a process ended that had to, for its successor to start.
REPLACED = "replaced"

Say = Callable[[str], None]


@dataclass
class _Kept:
    """A service as it is kept."""

    service: layout.Service
    env: Mapping[str, str]
    log: Path
    # Where it listens now.
    listen: str
    socket: socket.socket | None = None
    process: Process | None = None
    # Set by who wishes it replaced, and when that is done.
    wished: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Runs services until its tasks are cancelled; `say` gets a sentence for a person about each thing that happens."""

    def __init__(
        self,
        run_dir: Path,
        log_dir: Path,
        env: Mapping[str, str],
        say: Say,
        replicas: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self._run_dir = run_dir
        self._replicas = replicas
        self._log_dir = log_dir
        self._env = {**os.environ, **env}
        self._say = say
        self._known: dict[str, asyncio.Future[str]] = {}
        self._kept: dict[str, _Kept] = {}
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
        env = {**self._env, **layout.environ(self._run_dir, known, self._replicas)}
        with ExitStack() as held:
            kept = _Kept(service, env, self._log_dir / f"{service.name}.log", service.listen)
            if service.held:
                kept.socket, kept.listen = bind(service.listen)
                held.enter_context(kept.socket)
            self._kept[service.name] = kept
            await self._keep(kept)

    async def roll(self, groups: Iterable[Sequence[layout.Service]]) -> None:
        """Replace all services, group by group, and each that cannot run beside its successor by itself."""
        for group in groups:
            beside = [service for service in group if service.runs_beside]
            async with asyncio.TaskGroup() as together:
                for service in beside:
                    together.create_task(self._roll(service))
            for service in group:
                if service not in beside:
                    await self._roll(service)

    async def _roll(self, service: layout.Service) -> None:
        kept = self._kept[service.name]
        self._say(f"{service.name} is replaced.")
        kept.done.clear()
        kept.wished.set()
        await kept.done.wait()

    async def _keep(self, kept: _Kept) -> None:
        history, name = History(), kept.service.name
        while True:
            started_s = time.monotonic()
            kept.process = await self._start(kept)
            try:
                if address := await _ready(kept.process):
                    # A port that the kernel chose stays the service's own: clients know it by now.
                    kept.listen, history = address, after_ready(history)
                    self.know(name, address)
                    kept.done.set()
                    ended = await self._until_ended(kept)
                else:
                    ended = await _why_not_ready(kept.process)
            finally:
                await kept.process.stop()
            if ended == REPLACED:
                continue
            history, decision = after_death(history, time.monotonic() - started_s)
            if isinstance(decision, GiveUp):
                raise _does_not_start(name, decision, ended, kept.log)
            self._say(f"{name} died ({ended}); it is started again in {decision.wait_s:g} s. Log: {kept.log}")
            await asyncio.sleep(decision.wait_s)

    async def _start(self, kept: _Kept) -> Process:
        service = kept.service
        process = await Process.start(
            service.kind or service.name, kept.listen, service.options, kept.env, kept.log, kept.socket
        )
        self.pids[service.name] = process.pid
        return process

    async def _until_ended(self, kept: _Kept) -> str:
        """Wait until the process ends, or has to for its successor to start; the latter is replaced here if it can."""
        while True:
            assert kept.process is not None
            async with asyncio.TaskGroup() as group:
                dying = group.create_task(kept.process.wait())
                wished = group.create_task(kept.wished.wait())
                await asyncio.wait([dying, wished], return_when=asyncio.FIRST_COMPLETED)
                wished.cancel()
                dying.cancel()
            kept.wished.clear()
            if not dying.cancelled():
                return how_it_ended(dying.result())
            if not kept.service.runs_beside:
                return REPLACED
            await self._replace(kept)
            kept.done.set()

    async def _replace(self, kept: _Kept) -> None:
        """Let a successor serve beside the process, and then stop that; where it does not start, nothing changes."""
        before, listen = kept.process, kept.listen
        assert before is not None
        if kept.service.other:
            kept.listen = kept.service.other if listen == kept.service.listen else kept.service.listen
        successor = await self._start(kept)
        try:
            if await _ready(successor) is None:
                raise TimeoutError
            # Those who call find the new address by trying it again and again.
            await asyncio.sleep(FOUND_S if kept.service.other else 0.0)
        except TimeoutError:
            self._say(f"{kept.service.name} does not start anew; the old one goes on. Log: {kept.log}")
            kept.listen, self.pids[kept.service.name] = listen, before.pid
            await successor.stop()
        except BaseException:
            await successor.stop()
            raise
        else:
            kept.process = successor
            await before.stop()

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
