"""The embedded Postgres: a server of our own in the data folder, a direct child, reached by a private socket only.

Facts and reasons: docs/adr/0002-embedded-postgres.md.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg

from answermesh.errors import Failure, Reason
from answermesh.store import postgres_orphans, postgres_setup
from answermesh.store.faults import translated
from answermesh.store.postgres_binaries import choose_owner, find_binaries
from answermesh.store.postgres_folder import PORT, check, claim
from answermesh.store.postgres_setup import DATABASE, OWNER, said_since, size, spawn, start_failure

# After a crash Postgres replays its log first: up to max_wal_size, which takes seconds, on a slow disk some more.
_START_WAIT_S = 120.0
# How long a start is tried again that finds traces of the dead server: its processes and shared memory go within
# seconds.
_TRACES_WAIT_S = 10.0
_TRACES = ("lock file", "shared memory block")
_POLL_S = 0.05
# Fast shutdown writes a checkpoint; then the immediate one, which leaves that to the next start; then the kernel's.
_STOP = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))

# A machine shared with models and agents: small, durable, few processes. The rest is Postgres's default, or what the
# user writes into postgresql.conf of the cluster (these lines win over it).
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    "max_connections": "60",
    "shared_buffers": "96MB",
    "effective_cache_size": "512MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "512MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "jit": "off",
    # Two cores and other work to do; and containers give 64 MB of /dev/shm, too little for parallel index builds.
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "max_logical_replication_workers": "0",
    # Three worker processes less than the default of PostgreSQL 18.
    "io_method": "sync",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_checkpoints": "off",
    # Values of a failed statement may be a user's text.
    "log_parameter_max_length_on_error": "0",
}


class EmbeddedPostgres:
    """A running server while its `async with` is open; the database in `data_dir` stays.

    `data_dir` holds the cluster (made at the first start), `run_dir` the socket; both are made where they are missing,
    and none that exists is loosened. As root, Postgres runs as the user postgres or nobody. Should this process be
    killed, the server stops by itself (Linux).

    Entering raises Failure(INVALID_FIELD) for folders that cannot be used, Failure(WRONG_STATE) for a data folder in
    use or of another major version, Failure(STORAGE_FULL), and Failure(DATABASE_UNAVAILABLE) for a server that does
    not start.
    """

    def __init__(self, data_dir: Path, run_dir: Path) -> None:
        self._data_dir = data_dir
        self._run_dir = run_dir
        self._held = ExitStack()
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        owner = choose_owner()
        self._binaries = await asyncio.to_thread(find_binaries, owner)
        with ExitStack() as held:
            self._folder = claim(self._data_dir, self._run_dir, owner, held)
            if not (self._folder.data / "PG_VERSION").exists():
                await postgres_setup.create_cluster(self._folder, self._binaries)
            check(self._folder, self._binaries.major)
            try:
                await self._start()
            except BaseException:
                await self._stop()
                raise
            self._held = held.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            await self._stop()

    @property
    def dsn(self) -> str:
        """Address of the database for its owner, with the password; stays the same over restarts."""
        return self._folder.dsn(OWNER, DATABASE)

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self._process is not None, "started"
        return self._process.pid

    async def wait(self) -> int:
        """Wait until the server dies; its exit code, negative for a signal. Cancelling it harms nothing."""
        assert self._process is not None, "started"
        return await self._process.wait()

    async def restart(self) -> None:
        """Start the server again, dead or alive; what was committed is there again. Raises as entering does."""
        await self._stop()
        await self._start()

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _TRACES_WAIT_S
        while True:
            await postgres_orphans.end(self._folder.data)
            before = size(self._folder.log)
            if await self._answers():
                with translated():
                    await postgres_setup.ensure_database(self._folder)
                return
            said = said_since(self._folder.log, before)
            if loop.time() >= give_up or not any(trace in said for trace in _TRACES):
                raise start_failure(self._folder, said)
            await asyncio.sleep(_POLL_S)

    async def _answers(self) -> bool:
        """Start the server; whether it lets us in (or else has ended)."""
        settings = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        argv = [self._binaries.path("postgres"), "-D", "{folder}", *settings, "-k", "{socket_dir}"]
        self._process = process = await spawn(self._folder, self._folder.data, argv)
        dsn = self._folder.dsn(postgres_setup.ADMINISTRATOR, "postgres")
        try:
            async with asyncio.timeout(_START_WAIT_S):
                while process.returncode is None:
                    try:
                        connection = await asyncpg.connect(dsn, timeout=_START_WAIT_S)
                    except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
                        await asyncio.sleep(_POLL_S)
                    else:
                        await connection.close(timeout=_START_WAIT_S)
                        return True
        except TimeoutError:
            message = f"the embedded Postgres was not ready within {_START_WAIT_S:g} s (log: {self._folder.log})."
            raise Failure(Reason.DATABASE_UNAVAILABLE, message) from None
        return False

    async def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        for number, wait_s in _STOP:
            if process.returncode is not None:
                return
            try:
                with suppress(ProcessLookupError):
                    process.send_signal(number)
                async with asyncio.timeout(wait_s):
                    await process.wait()
            except TimeoutError:
                continue
            except BaseException:
                # Cancelled while stopping: no time for niceties; what was committed is safe.
                process.kill()
                raise
