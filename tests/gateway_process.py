"""The gateway as a process, and the services that tests put behind it, each a process of its own.

gwconf    the service of the transcoding cases (tests/conformance)
mesh      answermesh's own protos, answered from a script (tests/wire/fake_mesh.py)

Everything listens on a loopback port of the kernel's choice, and is ended by its own process.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CONFORMANCE = Path(__file__).parent / "conformance"

# How the gateway is started: its upstream is the argument, its address the first line that it prints.
_GATEWAY = """
import asyncio, sys
from answermesh.config import Settings
from answermesh.gateway.service import serve_http
asyncio.run(serve_http(Settings(), "127.0.0.1:0", sys.argv[1], lambda address: print(address, flush=True)))
"""
_MESH = """
import asyncio
from tests.wire.fake_mesh import fake_mesh
async def main():
    async with fake_mesh() as mesh:
        print(mesh.address, flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A process that serves at `address` ("HOST:PORT") and writes its log to a file."""

    address: str
    process: subprocess.Popen[str]
    log: Path

    @property
    def url(self) -> str:
        """Its HTTP address."""
        return f"http://{self.address}"

    def assert_unharmed(self) -> None:
        """It still runs, and has logged no exception."""
        assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.log.read_text()[-2000:]}"
        told = self.log.read_text(encoding="utf-8", errors="replace")
        assert "Traceback" not in told, told[-4000:]


@contextlib.contextmanager
def started(log: Path, *arguments: str) -> Iterator[Running]:
    """Python with these arguments, once it has printed the address that it listens on; ended after use."""
    command = [sys.executable, *arguments]
    with log.open("w") as err, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address, f"the process ended before it listened: {log.read_text()[-2000:]}"
            yield Running(address, process, log)
        finally:
            process.kill()


def gwconf_stubs(folder: Path) -> Path:
    """Makes stubs of the transcoding cases' protos in `folder`, and their descriptor set, whose path is returned."""
    import google.api
    import grpc_tools

    include = Path(next(iter(google.api.__path__))).parent.parent
    own = Path(grpc_tools.__path__[0]) / "_proto"
    protos = [str(path) for path in sorted(CONFORMANCE.glob("proto/gwconf/v1/*.proto"))]
    descriptor_set = folder / "gwconf.binpb"
    common = [sys.executable, "-m", "grpc_tools.protoc", f"-I{CONFORMANCE / 'proto'}", f"-I{include}", f"-I{own}"]
    subprocess.run([*common, f"--python_out={folder}", f"--grpc_python_out={folder}", *protos], check=True)
    subprocess.run(
        [*common, "--include_imports", "--include_source_info", f"--descriptor_set_out={descriptor_set}", *protos],
        check=True,
    )
    return descriptor_set


def gwconf(folder: Path) -> contextlib.AbstractContextManager[Running]:
    """The service of the transcoding cases; its stubs must be in `folder`."""
    return started(folder / "gwconf.log", str(CONFORMANCE / "backend.py"), str(folder))


def mesh(folder: Path) -> contextlib.AbstractContextManager[Running]:
    """answermesh's own services, scripted."""
    return started(folder / "mesh.log", "-c", _MESH)


def gateway(folder: Path, upstream: str) -> contextlib.AbstractContextManager[Running]:
    """The gateway before `upstream`, learning its schema by reflection."""
    return started(folder / "gateway.log", "-c", _GATEWAY, upstream)
