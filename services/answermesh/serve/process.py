"""A service as a child process: started, heard to be ready, waited for, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

# A service drains for up to 5 s when it is told to stop, an orchestrator with answers that are not stored for up to
# 25 s (desk.DRAIN_UNSTORED_S); after this it hangs.
STOP_WAIT_S = 32.0
_MAX_LOG_BYTES = 16 << 20


class Process:
    """One run of one service. Its output goes to the log file; it dies with this process."""

    def __init__(
        self, child: asyncio.subprocess.Process, ready: asyncio.StreamReader, pipe: asyncio.ReadTransport
    ) -> None:
        self._child = child
        self._ready = ready
        self._pipe = pipe

    @classmethod
    async def start(
        cls,
        service: str,
        listen: str,
        options: Sequence[str],
        environ: Mapping[str, str],
        log: Path,
        held: socket.socket | None = None,
    ) -> Process:
        """Start `answermesh serve SERVICE`, on a socket that this process holds if there is one.

        Raises OSError where the system has no room for a process.
        """
        inherited = [] if held is None else [held.fileno()]
        place = [word for descriptor in inherited for word in ("--listen-fd", str(descriptor))]
        with _opened(log) as output:
            return await cls.run(["serve", service, "--listen", listen, *place, *options], environ, output, inherited)

    @classmethod
    async def run(
        cls,
        command: Sequence[str],
        environ: Mapping[str, str] | None = None,
        output: BinaryIO | None = None,
        inherited: Sequence[int] = (),
    ) -> Process:
        """Start `answermesh COMMAND`, which must take --ready-fd and --with-parent.

        Without `output` it writes where this process writes; `inherited` are descriptors that it gets as they are.
        Raises OSError where the system has no room for a process.
        """
        read_fd, write_fd = os.pipe()
        argv = [*command, "--ready-fd", str(write_fd), "--with-parent", str(os.getpid())]
        try:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "answermesh.cli.main",
                *argv,
                env=environ,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[write_fd, *inherited],
                # Ctrl-C is for the supervisor, which stops the services in order.
                start_new_session=True,
            )
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_fd, "rb", buffering=0)
        )
        return cls(child, reader, transport)

    @property
    def pid(self) -> int:
        return self._child.pid

    async def ready(self) -> str | None:
        """Wait until the service serves; its address, or None if it died before. Bounded by the caller."""
        try:
            return (await self._ready.readline()).decode().strip() or None
        finally:
            self._pipe.close()

    async def wait(self) -> int:
        """Wait until it dies; its exit code, negative for a signal."""
        return await self._child.wait()

    async def stop(self) -> None:
        """Let it drain, then make sure that it is gone. Cancelled, it kills at once."""
        self._pipe.close()
        try:
            self._signal(signal.SIGTERM)
            async with asyncio.timeout(STOP_WAIT_S):
                await self._child.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._child.wait()
        except BaseException:
            self._signal(signal.SIGKILL)
            raise

    def reload(self) -> None:
        """Let it read its files anew."""
        self._signal(signal.SIGHUP)

    def _signal(self, number: signal.Signals) -> None:
        if self._child.returncode is None:
            with suppress(ProcessLookupError):
                self._child.send_signal(number)


def how_it_ended(code: int) -> str:
    """An exit code in words: "exit code 1", "signal SIGKILL"."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log, for a person who has to find out why a service does not start."""
    try:
        with log.open("rb") as opened:
            opened.seek(max(log.stat().st_size - 16_384, 0))
            return "\n".join(opened.read().decode(errors="replace").splitlines()[-count:])
    except OSError:
        return ""


def _opened(log: Path) -> BinaryIO:
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _MAX_LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    return log.open("ab")
