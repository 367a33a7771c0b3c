"""Addresses to listen on: `HOST:PORT`, or `unix:PATH` with its socket file, even one left by a killed process."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

from answermesh.errors import invalid_field

# sockaddr_un on Linux holds 108 bytes with the NUL (unix(7)); macOS holds 104.
_MAX_PATH_BYTES = 103
# A listener on this machine answers at once, or its backlog is full.
_PROBE_S = 1.0


def socket_path(address: str) -> Path | None:
    """The socket file of `unix:PATH` or `unix:///PATH`; None for all else."""
    if not address.startswith("unix:"):
        return None
    return Path(address.removeprefix("unix:").removeprefix("//"))


def claim(address: str) -> None:
    """Make `address` free to listen on: removes the socket file of a process that is gone.

    gRPC would remove that of a living one as well, and take its callers away unseen. Raises Failure(INVALID_FIELD)
    where another process listens, the path is not a socket, is too long, or its folder is missing.
    """
    path = socket_path(address)
    if path is None:
        return
    if len(bytes(path)) > _MAX_PATH_BYTES:
        raise invalid_field(
            "listen",
            f"{path} has {len(bytes(path))} bytes; a socket may have {_MAX_PATH_BYTES}. Use a shorter folder.",
        )
    if not path.parent.is_dir():
        raise invalid_field("listen", f"the folder {path.parent} does not exist; make it.")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise invalid_field("listen", f"{path} exists and is not a socket; move it away.")
    if _answers(path):
        raise invalid_field("listen", f"another process listens on {path}; stop it, or choose another path.")
    path.unlink(missing_ok=True)


def bound(address: str, port: int) -> str:
    """What to call a server that listens on `address`: with the port that the kernel chose, if it was 0."""
    if ":" not in address or socket_path(address) is not None:
        return address
    return f"{address.rpartition(':')[0]}:{port}"


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except TimeoutError:
            return True
        return True
