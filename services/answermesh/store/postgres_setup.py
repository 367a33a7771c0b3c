"""Makes a cluster that is all there or not at all, and the role, extensions and database that services start from."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import asyncpg

from answermesh.errors import Failure, Reason
from answermesh.store import postgres_orphans
from answermesh.store.postgres_binaries import Binaries
from answermesh.store.postgres_folder import Folder, unusable, write_password
from answermesh.store.prerequisites import EXTENSIONS

ADMINISTRATOR = "postgres"
# Owner of the database: no superuser, so that row-level security binds even it.
OWNER = "answermesh"
DATABASE = "answermesh"
# About half a second on an idle machine, several on a loaded one with a slow disk.
_INITDB_WAIT_S = 120.0
_CONNECT_TIMEOUT_S = 5.0
# How Postgres says so; the last two are those of a write that got through in part.
_DISK_FULL = ("No space left on device", "Disk quota exceeded", "Check free disk space", "wrote only")
_CHILD = Path(__file__).with_name("postgres_child.py")


async def spawn(folder: Folder, data: Path, argv: list[str]) -> asyncio.subprocess.Process:
    """Start a program of Postgres as the cluster's owner in the folder `data`; what it says goes to the log."""
    order = {
        "parent": os.getpid(),
        "folder": str(data),
        "socket_dir": str(folder.socket_dir),
        "uid": folder.owner.uid,
        "gid": folder.owner.gid,
        "argv": argv,
    }
    # No secret of ours is in the server's environment. Python itself may need the library path to start.
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    environment |= {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    descriptor = os.open(folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_CHILD), json.dumps(order)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env=environment,
            # Ctrl-C on the terminal is for the supervisor, which stops the server last.
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


async def create_cluster(folder: Folder, binaries: Binaries) -> None:
    """Run initdb into a new folder, which becomes the cluster's only when it is complete and on disk.

    Raises Failure(STORAGE_FULL | INVALID_FIELD | INTERNAL); cancelled or killed, the next start begins anew.
    """
    new = folder.root / "data.new"
    # The user's locale may be gone tomorrow; the built-in one is part of Postgres. Where the machine has C.UTF-8,
    # text search also knows letters from dashes beyond ASCII.
    for ctype in ("C.UTF-8", "C"):
        try:
            await postgres_orphans.end(new)
            shutil.rmtree(new, ignore_errors=True)
            write_password(folder)
            new.mkdir(mode=0o700)
            if folder.owner.uid is not None and folder.owner.gid is not None:
                os.chown(new, folder.owner.uid, folder.owner.gid)
            before = size(folder.log)
            if await _initdb(folder, binaries, new, ctype) == 0:
                new.rename(folder.data)
                return
        except OSError as error:
            raise unusable(folder.data_dir, error) from error
        said = said_since(folder.log, before)
        if "invalid locale name" not in said:
            raise start_failure(folder, said)
    raise start_failure(folder, said)


async def ensure_database(folder: Folder) -> None:
    """Make the owner, the extensions and the database where they are missing, and bring the extensions up to date."""
    administrator = folder.dsn(ADMINISTRATOR, "postgres")
    connection = await asyncpg.connect(administrator, timeout=_CONNECT_TIMEOUT_S)
    try:
        exists = await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE)
        if not exists:
            # Also in the template, so that a database made later (a test's, a restored one) has them.
            await _ensure_extensions(folder, "template1")
            await _ensure_owner(connection, folder)
            await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    finally:
        await connection.close(timeout=_CONNECT_TIMEOUT_S)
    if exists:
        await _ensure_extensions(folder, DATABASE)


def size(log: Path) -> int:
    """Bytes of the log so far."""
    return log.stat().st_size if log.exists() else 0


def said_since(log: Path, offset: int) -> str:
    """What the log has got since, at most its last 16 KiB."""
    with log.open("rb") as file:
        file.seek(max(offset, size(log) - 16_384))
        return file.read().decode(errors="replace")


def start_failure(folder: Folder, said: str) -> Failure:
    """Why Postgres did not start, from its last words."""
    if any(sign in said for sign in _DISK_FULL):
        return Failure(Reason.STORAGE_FULL, f"the disk of {folder.data_dir} is full; free space, then start again.")
    fatal = [line for line in said.splitlines() if "FATAL" in line or "error:" in line] or said.splitlines()[-1:]
    reason = fatal[-1].strip() if fatal else "it said nothing"
    return Failure(Reason.DATABASE_UNAVAILABLE, f"the embedded Postgres did not start: {reason} (log: {folder.log})")


async def _initdb(folder: Folder, binaries: Binaries, new: Path, ctype: str) -> int:
    argv = [
        binaries.path("initdb"),
        "{folder}",
        f"--username={ADMINISTRATOR}",
        "--pwfile=../password",
        # The socket's folder is private; the password is asked for all the same, also of root.
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        f"--lc-ctype={ctype}",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
    ]
    process = await spawn(folder, new, argv)
    try:
        async with asyncio.timeout(_INITDB_WAIT_S):
            return await process.wait()
    except TimeoutError:
        message = f"initdb did not end within {_INITDB_WAIT_S:g} s; is the disk of {folder.data_dir} slow or remote?"
        raise Failure(Reason.DATABASE_UNAVAILABLE, message) from None
    finally:
        if process.returncode is None:
            # Its children too: it runs a server of its own, and began a process group with itself.
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _ensure_extensions(folder: Folder, database: str) -> None:
    connection = await asyncpg.connect(folder.dsn(ADMINISTRATOR, database), timeout=_CONNECT_TIMEOUT_S)
    try:
        for extension in EXTENSIONS:
            # Made by the administrator, since pgvector is not one that an owner may install; so updated by it as well.
            await connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
            await connection.execute(f"ALTER EXTENSION {extension} UPDATE")
    finally:
        await connection.close(timeout=_CONNECT_TIMEOUT_S)


async def _ensure_owner(connection: asyncpg.Connection[asyncpg.Record], folder: Folder) -> None:
    if await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", OWNER):
        return
    password = (folder.root / "password").read_text(encoding="ascii")
    # The password's alphabet (token_urlsafe) needs no quoting. CREATEROLE: the first migration makes the services'
    # role.
    await connection.execute(f"CREATE ROLE {OWNER} LOGIN CREATEDB CREATEROLE PASSWORD '{password}'")
