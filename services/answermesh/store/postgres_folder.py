"""The cluster's folder: whose it is, that it is ours alone, its password, and what still lives in it after a crash.

    <data_dir>/postgres.lock     held by the one supervisor; says its process id
    <data_dir>/postgres.log      what the server says
    <data_dir>/postgres/         0700, of the user that Postgres runs as
        data/                    the cluster
        password                 0600
    <run_dir>/postgres/          0700, of the same user: the socket

No folder that was there before has its permissions changed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from answermesh.errors import Failure, Reason, invalid_field
from answermesh.store.postgres_binaries import Owner

PORT = 5432
# sun_path of sockaddr_un holds 108 bytes with its end mark (Linux); 104 on macOS.
_MAX_SOCKET_BYTES = 103
# Beyond this the log of former runs is kept as postgres.log.1, and what was there is dropped.
_MAX_LOG_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Folder:
    """The places of one cluster."""

    data_dir: Path
    socket_dir: Path
    owner: Owner

    @property
    def root(self) -> Path:
        """The folder that belongs to Postgres's user."""
        return self.data_dir / "postgres"

    @property
    def data(self) -> Path:
        """The cluster itself."""
        return self.root / "data"

    @property
    def log(self) -> Path:
        """What the server and initdb say."""
        return self.data_dir / "postgres.log"

    def dsn(self, user: str, database: str) -> str:
        """The address of a database for one of the cluster's users, with its password."""
        password = (self.root / "password").read_text(encoding="ascii")
        query = urlencode({"host": str(self.socket_dir), "port": PORT})
        return f"postgresql://{user}:{password}@/{database}?{query}"


def claim(data_dir: Path, run_dir: Path, owner: Owner, held: ExitStack) -> Folder:
    """Make the folders and take the lock, which `held` gives back.

    Raises Failure(INVALID_FIELD) for a folder that cannot be used, Failure(WRONG_STATE) for one in use,
    Failure(STORAGE_FULL).
    """
    folder = Folder(data_dir.absolute(), run_dir.absolute() / "postgres", owner)
    socket = f"{folder.socket_dir}/.s.PGSQL.{PORT}"
    if len(os.fsencode(socket)) > _MAX_SOCKET_BYTES:
        raise invalid_field(
            "run_dir", f"{run_dir} is too long for a socket ({_MAX_SOCKET_BYTES} bytes); choose a shorter one."
        )
    if "," in socket:
        raise invalid_field(
            "run_dir", f"{run_dir} has a comma, which database addresses cannot hold; choose another one."
        )
    try:
        folder.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _lock(folder, held)
        _own(folder.root, owner, "data_dir")
        if folder.log.exists() and folder.log.stat().st_size > _MAX_LOG_BYTES:
            folder.log.rename(folder.log.with_suffix(".log.1"))
    except OSError as error:
        raise unusable(data_dir, error) from error
    try:
        _own(folder.socket_dir, owner, "run_dir")
    except OSError as error:
        raise unusable(run_dir, error, "run_dir") from error
    return folder


def check(folder: Folder, major: int) -> None:
    """Raises Failure(WRONG_STATE) for a cluster of another major version of Postgres, or without its password."""
    if not (folder.root / "password").exists():
        message = (
            f"{folder.root / 'password'} is missing, without which nobody gets into the database; restore that file."
        )
        raise Failure(Reason.WRONG_STATE, message)
    try:
        found = (folder.data / "PG_VERSION").read_text(encoding="ascii").strip()
    except OSError as error:
        raise unusable(folder.data_dir, error) from error
    if found != str(major):
        message = (
            f"the database in {folder.data} was made by PostgreSQL {found}, this program brings {major}; "
            "start the answermesh that made it, or choose another data folder and import the documents again."
        )
        raise Failure(Reason.WRONG_STATE, message)


def unusable(folder: Path, error: OSError, field: str = "data_dir") -> Failure:
    """What it means that a file of the cluster could not be made, read or written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure(Reason.STORAGE_FULL, f"the disk of {folder} is full; free space or choose another data folder.")
    return invalid_field(field, f"{error.filename or folder} cannot be used: {error.strerror}; choose another folder.")


def _lock(folder: Folder, held: ExitStack) -> None:
    # Not inherited by Postgres (descriptors of Python are not), so it is free as soon as the supervisor is gone.
    file = held.enter_context((folder.data_dir / "postgres.lock").open("a+", encoding="ascii"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        process = file.read().strip() or "unknown"
        message = (
            f"the data folder {folder.data_dir} is in use by another answermesh (process {process}); "
            "stop that one, or choose another folder."
        )
        raise Failure(Reason.WRONG_STATE, message) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()


def _own(place: Path, owner: Owner, field: str) -> None:
    """Make a private folder of `owner`, or see that it is one."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        place.mkdir(mode=0o700)
    except FileExistsError:
        status = place.lstat()
        # Root's own empty folder is one whose making was interrupted before it was given away.
        if not stat.S_ISDIR(status.st_mode) or not (owner.matches(status) or _is_unfinished(place, status)):
            raise invalid_field(
                field, f"{place} belongs to another user; run answermesh as that user, or choose another folder."
            ) from None
    if owner.uid is not None and owner.gid is not None:
        os.chown(place, owner.uid, owner.gid, follow_symlinks=False)


def _is_unfinished(place: Path, status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not any(place.iterdir())


def write_password(folder: Folder) -> None:
    """Make the cluster's password anew: 256 random bits."""
    path, owner = folder.root / "password", folder.owner
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32))
        file.flush()
        os.fsync(descriptor)
        if owner.uid is not None and owner.gid is not None:
            os.fchown(descriptor, owner.uid, owner.gid)
    new.rename(path)
