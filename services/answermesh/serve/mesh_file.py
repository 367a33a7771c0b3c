"""Where a running mesh says how it is reached: the ready file, and the files by which client commands find it.

    <data_dir>/mesh.json                          {"http", "grpc", "pid", "run_dir"} of the mesh on that data folder
    $XDG_RUNTIME_DIR/answermesh/mesh.json         the same, of the mesh started last on this machine by this user
      (~/.local/state/answermesh/mesh.json where there is no runtime dir)

A file of a mesh that died without removing it is recognised by its process, which is gone.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from answermesh.errors import invalid_field

FILE_NAME = "mesh.json"


@dataclass(frozen=True, slots=True)
class RunningMesh:
    """A mesh of this machine."""

    http: str
    grpc: str
    # Process of its supervisor.
    pid: int
    run_dir: str


def announce(mesh: RunningMesh, data_dir: Path) -> None:
    """Write both files."""
    for path in (data_dir / FILE_NAME, _user_file()):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(path, asdict(mesh))


def withdraw(mesh: RunningMesh, data_dir: Path) -> None:
    """Remove the files, as far as they speak of this mesh."""
    for path in (data_dir / FILE_NAME, _user_file()):
        if _read(path) == mesh:
            path.unlink(missing_ok=True)


def find(data_dir: Path) -> RunningMesh | None:
    """The running mesh: the one on `data_dir`, or else the one started last."""
    for path in (data_dir / FILE_NAME, _user_file()):
        mesh = _read(path)
        if mesh is not None and _is_alive(mesh.pid):
            return mesh
    return None


def write_json(path: Path, value: object) -> None:
    """Write a file in one step: a reader sees all of it or nothing.

    Raises Failure(INVALID_FIELD) where it cannot be written.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                json.dump(value, opened)
                opened.write("\n")
            Path(temporary).replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()
            raise
    except OSError as error:
        raise invalid_field("ready_file", f"{path} cannot be written: {error.strerror}.") from error


def _user_file() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "answermesh" / FILE_NAME
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "answermesh" / FILE_NAME


def _read(path: Path) -> RunningMesh | None:
    try:
        return RunningMesh(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # Somebody else's, but there.
        return True
    return True
