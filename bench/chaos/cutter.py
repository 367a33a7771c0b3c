"""A proxy whose connections can be cut, as a network does it: both ends see the connection break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

_CHUNK = 64 * 1024


class Cutter:
    """Passes bytes on between its own address and another."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._writers: set[asyncio.StreamWriter] = set()
        self.address = ""

    @classmethod
    @asynccontextmanager
    async def before(cls, target: str) -> AsyncIterator[Self]:
        """A proxy before `target`, HOST:PORT."""
        cutter = cls(target)
        server = await asyncio.start_server(cutter._pass_on, "127.0.0.1", 0)
        cutter.address = "127.0.0.1:{1}".format(*server.sockets[0].getsockname())
        try:
            yield cutter
        finally:
            server.close()
            cutter.cut()

    def cut(self) -> int:
        """Break all connections; how many there were."""
        for writer in self._writers:
            writer.transport.abort()
        return len(self._writers) // 2

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        there = None
        try:
            with suppress(OSError):
                back, there = await asyncio.open_connection(self._host, self._port)
                self._writers.add(there)
                async with asyncio.TaskGroup() as group:
                    group.create_task(_copy(reader, there))
                    group.create_task(_copy(back, writer))
        finally:
            for one in (writer, there):
                if one is not None:
                    self._writers.discard(one)
                    one.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    # One end closed or broke: the other shall see it.
    writer.transport.abort()
