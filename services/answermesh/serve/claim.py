"""The data folder held by one mesh at a time, and the private folder of its sockets."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from answermesh.errors import Failure, Reason, invalid_field

# A Unix socket's path may hold 107 bytes; this leaves room for the longest name below the folder.
_MAX_TEMP_DIR_BYTES = 60
_RUN_DIR_PREFIX = "answermesh-"


@contextmanager
def claimed(data_dir: Path) -> Iterator[Path]:
    """Hold the data folder; a private folder for sockets, removed at the end.

    Raises Failure(INVALID_FIELD) for a folder that cannot be used, Failure(WRONG_STATE) where another mesh holds it.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (data_dir / "mesh.lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise invalid_field(
            "data_dir", f"{data_dir} cannot be used: {error.strerror}; choose another with --data."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"A mesh runs on {data_dir} already; stop it, or choose another folder with --data."
            raise Failure(Reason.WRONG_STATE, message) from error
        # Of a supervisor that was killed; the lock says that nobody uses it any more.
        lock.seek(0)
        if (left_over := lock.read().strip()) and Path(left_over).name.startswith(_RUN_DIR_PREFIX):
            shutil.rmtree(left_over, ignore_errors=True)
        run_dir = _private_folder()
        try:
            lock.truncate(0)
            lock.write(str(run_dir))
            lock.flush()
            yield run_dir
        finally:
            shutil.rmtree(run_dir, ignore_errors=True)


def _private_folder() -> Path:
    path = Path(tempfile.gettempdir())
    if len(os.fsencode(path)) > _MAX_TEMP_DIR_BYTES:
        path = Path("/tmp")  # noqa: S108 - mkdtemp makes a private folder in it
    return Path(tempfile.mkdtemp(prefix=_RUN_DIR_PREFIX, dir=path))
