"""The embedded server: whose files they are, what it survives, when it refuses to start."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from answermesh.errors import Failure, Reason
from answermesh.store import EmbeddedPostgres, Store
from answermesh.store.postgres_orphans import living_in

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc and parent-death signals are Linux's")

# Stands for a supervisor that is killed: starts the server, says so, and waits.
SUPERVISOR = """
import asyncio, pathlib, sys
from answermesh.store import EmbeddedPostgres
async def main():
    async with EmbeddedPostgres(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])) as postgres:
        print(postgres.pid, flush=True)
        await postgres.wait()
asyncio.run(main())
"""


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "data", tmp_path / "run"


@pytest.fixture
async def postgres(folders: tuple[Path, Path]) -> AsyncIterator[EmbeddedPostgres]:
    async with EmbeddedPostgres(*folders) as started:
        yield started


async def value(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def gone(pid: int) -> None:
    """Wait for the end of a process that is not our child."""
    descriptor = os.pidfd_open(pid)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, ended.set)
    try:
        async with asyncio.timeout(15):
            await ended.wait()
    finally:
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


async def test_it_is_durable_and_reached_by_its_socket_only(postgres: EmbeddedPostgres) -> None:
    for setting, expected in {
        "fsync": "on",
        "synchronous_commit": "on",
        "listen_addresses": "",
        "autovacuum": "on",
        "jit": "off",
        "data_checksums": "on",
        "server_encoding": "UTF8",
    }.items():
        assert await value(postgres.dsn, f"SHOW {setting}") == expected
    assert await value(
        postgres.dsn, "SELECT NOT rolsuper AND NOT rolbypassrls FROM pg_roles WHERE rolname = current_user"
    )


async def test_nobody_gets_in_without_the_password(postgres: EmbeddedPostgres) -> None:
    user, _, place = postgres.dsn.removeprefix("postgresql://").partition("@")
    for name in (user.partition(":")[0], "postgres"):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(f"postgresql://{name}:guess@{place}")


async def test_a_database_survives_a_clean_stop(folders: tuple[Path, Path]) -> None:
    async with EmbeddedPostgres(*folders) as postgres:
        dsn = postgres.dsn
        await value(dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    async with EmbeddedPostgres(*folders) as postgres:
        assert postgres.dsn == dsn
        assert await value(dsn, "SELECT answer FROM kept") == 42


async def test_wait_tells_of_its_death_and_restart_brings_all_back(postgres: EmbeddedPostgres) -> None:
    await value(postgres.dsn, "CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(postgres.pid, signal.SIGKILL)
    assert await postgres.wait() == -signal.SIGKILL
    await postgres.restart()
    assert await value(postgres.dsn, "SELECT answer FROM kept") == 42


async def test_a_store_works_again_by_itself_after_the_server_was_killed(postgres: EmbeddedPostgres) -> None:
    async with Store.open(postgres.dsn) as store, store.listen("news") as wakeups:
        async with store.transaction("one") as first, store.transaction("one") as second:
            assert await first.fetchval("SELECT 1") == await second.fetchval("SELECT 1")
        assert await wakeups.wait(20) == []
        os.kill(postgres.pid, signal.SIGKILL)
        await postgres.wait()
        with pytest.raises(Failure) as caught:
            async with store.transaction("one") as transaction:
                await transaction.fetchval("SELECT 1")
        assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
        await postgres.restart()
        async with store.transaction("one") as transaction:
            assert await transaction.fetchval("SELECT 1") == 1
        assert await wakeups.wait(20) == []
        async with store.transaction("one") as transaction:
            await transaction.execute("SELECT pg_notify('news', 'again')")
        assert await wakeups.wait(20) == ["again"]


@on_linux
async def test_processes_that_a_killed_server_left_behind_do_not_stop_the_next(
    postgres: EmbeddedPostgres, folders: tuple[Path, Path]
) -> None:
    data = folders[0] / "postgres" / "data"
    connection = await asyncpg.connect(postgres.dsn)
    backend = connection.get_server_pid()
    # Stopped, it does not notice that its server is gone, as one deep in a computation does not.
    os.kill(backend, signal.SIGSTOP)
    os.kill(postgres.pid, signal.SIGKILL)
    await postgres.wait()
    assert backend in living_in(data)
    await postgres.restart()
    assert backend not in living_in(data)
    connection.terminate()
    assert await value(postgres.dsn, "SELECT 1") == 1


@on_linux
async def test_a_server_whose_supervisor_was_killed_stops_and_the_next_supervisor_starts(
    folders: tuple[Path, Path],
) -> None:
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SUPERVISOR, *map(str, folders), stdout=asyncio.subprocess.PIPE
    )
    assert supervisor.stdout is not None
    server = int(await supervisor.stdout.readline())
    with pytest.raises(Failure, match=f"in use by another answermesh \\(process {supervisor.pid}\\)") as caught:
        async with EmbeddedPostgres(*folders):
            pass
    assert caught.value.reason is Reason.WRONG_STATE
    supervisor.kill()
    await supervisor.wait()
    await gone(server)
    async with EmbeddedPostgres(*folders) as postgres:
        assert await value(postgres.dsn, "SELECT 1") == 1


@on_linux
async def test_a_recycled_process_id_in_the_lock_file_is_no_obstacle(folders: tuple[Path, Path]) -> None:
    async with EmbeddedPostgres(*folders) as postgres:
        os.kill(postgres.pid, signal.SIGKILL)
        await postgres.wait()
    lock = folders[0] / "postgres" / "data" / "postmaster.pid"
    lines = lock.read_text().split("\n")
    lock.write_text("\n".join(["1", *lines[1:]]))
    async with EmbeddedPostgres(*folders) as postgres:
        assert await value(postgres.dsn, "SELECT 1") == 1


async def test_an_interrupted_first_start_is_made_good_by_the_next(folders: tuple[Path, Path]) -> None:
    starting = asyncio.ensure_future(EmbeddedPostgres(*folders).__aenter__())
    new = folders[0] / "postgres" / "data.new"
    while not (new / "PG_VERSION").exists():
        assert not starting.done()
        await asyncio.sleep(0.001)
    starting.cancel()
    await asyncio.wait([starting])
    assert starting.cancelled()
    assert living_in(new) == []
    async with EmbeddedPostgres(*folders) as postgres:
        assert await value(postgres.dsn, "SELECT 1") == 1


async def test_a_start_cancelled_at_any_time_leaves_no_process_and_no_lock(folders: tuple[Path, Path]) -> None:
    async with EmbeddedPostgres(*folders):
        pass
    for wait_s in (0.0, 0.01, 0.05, 0.1, 0.15):
        starting = asyncio.ensure_future(EmbeddedPostgres(*folders).__aenter__())
        await asyncio.wait([starting], timeout=wait_s)
        if starting.done():
            await starting.result().__aexit__(None, None, None)
            continue
        starting.cancel()
        await asyncio.wait([starting])
        assert starting.cancelled()
        assert living_in(folders[0] / "postgres" / "data") == []
    async with EmbeddedPostgres(*folders) as postgres:
        assert await value(postgres.dsn, "SELECT 1") == 1


async def test_a_cluster_of_another_major_version_is_refused(folders: tuple[Path, Path]) -> None:
    async with EmbeddedPostgres(*folders):
        pass
    (folders[0] / "postgres" / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(Failure, match="made by PostgreSQL 17, this program brings 18") as caught:
        async with EmbeddedPostgres(*folders):
            pass
    assert caught.value.reason is Reason.WRONG_STATE


async def test_a_cluster_that_cannot_start_says_why(folders: tuple[Path, Path]) -> None:
    async with EmbeddedPostgres(*folders):
        pass
    (folders[0] / "postgres" / "data" / "global" / "pg_control").write_bytes(b"")
    with pytest.raises(Failure, match=r"did not start: .*(PANIC|FATAL).*postgres\.log") as caught:
        async with EmbeddedPostgres(*folders):
            pass
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE


async def test_folders_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for data_dir, run_dir, field in (
        (tmp_path / "file" / "data", tmp_path / "run", "data_dir"),
        (tmp_path / "data", tmp_path / ("long" * 30), "run_dir"),
        (tmp_path / "data", tmp_path / "run,ning", "run_dir"),
        (tmp_path / "data", tmp_path / "file", "run_dir"),
    ):
        with pytest.raises(Failure) as caught:
            async with EmbeddedPostgres(data_dir, run_dir):
                pass
        assert caught.value.reason is Reason.INVALID_FIELD
        assert [field.path for field in caught.value.fields] == [field]
