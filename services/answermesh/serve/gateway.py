"""A gateway in this process: alone on its address, or as one of several workers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from answermesh.errors import invalid_field
from answermesh.gateway.http.listener import bind
from answermesh.gateway.service import serve_setup
from answermesh.gateway.setup import Setup
from answermesh.gateway.telemetry.sharing import Shared
from answermesh.serve.stopping import reload_signal, stop_signals


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place: the descriptor of its listening socket, its number, and the folder of all counts."""

    descriptor: int
    number: int
    folder: Path

    @classmethod
    def parse(cls, text: str) -> Place:
        """What `str` made of one. Raises Failure(INVALID_FIELD)."""
        descriptor, _, rest = text.partition(":")
        number, _, folder = rest.partition(":")
        if not (descriptor.isdecimal() and number.isdecimal() and folder):
            raise invalid_field("--place", f"is {text!r}; it is given by the parent of workers alone.")
        return cls(int(descriptor), int(number), Path(folder))

    def __str__(self) -> str:
        return f"{self.descriptor}:{self.number}:{self.folder}"


async def serve_alone(setup: Setup, listen: str, ready: Callable[[str], None], descriptor: int | None = None) -> None:
    """Serve on an address of its own until SIGTERM or SIGINT; `ready` gets the address. SIGHUP reloads.

    With a `descriptor`, the address is that of a socket which the parent bound and holds.
    """
    bound, address = bind(listen) if descriptor is None else (_inherited(descriptor), listen)
    await _serve(setup, bound, lambda: ready(address), None)


async def serve_worker(setup: Setup, place: Place, listen: str, ready: Callable[[str], None]) -> None:
    """Serve on a socket that the parent bound and holds."""
    shared = Shared(place.folder, place.number)
    await _serve(setup, _inherited(place.descriptor), lambda: ready(listen), shared)


def _inherited(descriptor: int) -> socket.socket:
    bound = socket.socket(fileno=descriptor)
    bound.setblocking(False)
    return bound


async def _serve(setup: Setup, bound: socket.socket, ready: Callable[[], None], shared: Shared | None) -> None:
    # The server's own signal handlers are off; ours stop it by cancelling, and drain is its clean-up.
    with stop_signals() as stop, reload_signal() as reload:
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(serve_setup(setup, bound, ready, reload=reload, shared=shared))
            stopping = group.create_task(stop.wait())
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            serving.cancel()
            stopping.cancel()
