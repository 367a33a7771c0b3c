"""Processes that a crash left behind in the cluster's folder: a new server cannot start beside them.

Whoever holds the folder's lock may end them: nobody else is in charge of them. Found by their working directory, which
for every process of a Postgres server is the cluster's folder. Linux only (/proc); elsewhere Postgres's own refusal
has to do.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

# A server whose supervisor died was told to stop by the kernel, and writes a checkpoint; processes whose server is gone
# can do nothing useful and end by themselves at once, but for one that is stopped or deep in a computation.
_LEAVE_S = 5.0
_LEAVE_WITHOUT_SERVER_S = 0.5
# Then they are told by SIGQUIT (Postgres: end at once), and after this time by SIGKILL.
_QUIT_S = 1.0
_POLL_S = 0.05
_LOCK_FILE = "postmaster.pid"


async def end(data: Path) -> None:
    """End what lives in the folder, waiting seven seconds at most; then forget a process id that lies.

    Only for the holder of the folder's lock while its own server is not running.
    """
    if sys.platform != "linux":
        return
    leave_s = _LEAVE_S if _server(data) in living_in(data) else _LEAVE_WITHOUT_SERVER_S
    for wait_s, then in ((leave_s, signal.SIGQUIT), (_QUIT_S, signal.SIGKILL), (_QUIT_S, None)):
        if await _gone(data, wait_s) or then is None:
            break
        for process in living_in(data):
            with suppress(ProcessLookupError):
                os.kill(process, then)
    if not living_in(data):
        _forget_recycled_id(data)


def living_in(data: Path) -> list[int]:
    """Postgres's processes whose working directory is the folder; an administrator's shell there is none."""
    try:
        folder = data.stat()
    except FileNotFoundError:
        return []
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or another user's
            status = (entry / "cwd").stat()
            here = (status.st_dev, status.st_ino) == (folder.st_dev, folder.st_ino)
            if here and (entry / "comm").read_text(encoding="ascii").strip() in ("postgres", "initdb"):
                found.append(int(entry.name))
    return found


async def _gone(data: Path, wait_s: float) -> bool:
    try:
        async with asyncio.timeout(wait_s):
            while living_in(data):  # noqa: ASYNC110 - the kernel sends no event for processes that are not our children
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        return False
    return True


def _forget_recycled_id(data: Path) -> None:
    """Remove the lock file of a dead server whose process id now belongs to something else.

    Postgres only asks whether a process of that id and of its user lives, and would refuse to start: after a restart
    of a container the same small ids come again. While the id is free the file stays: Postgres then uses it to check
    that no shared memory of the dead server is in use.
    """
    process = _server(data)
    if process is not None:
        with suppress(OSError):
            os.kill(process, 0)
            (data / _LOCK_FILE).unlink()


def _server(data: Path) -> int | None:
    """The process id in the folder's lock file."""
    try:
        return int((data / _LOCK_FILE).read_text(encoding="ascii").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None
