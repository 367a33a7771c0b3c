"""How a command finds its mesh, runs against it, and ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click

from answermesh.cli import exits
from answermesh.cli.printable import printable
from answermesh.errors import Failure, Reason

F = TypeVar("F", bound=Callable[..., object])


def address_option(command: F) -> F:
    """The option --address of every command that calls a mesh."""
    return click.option(
        "--address",
        metavar="HOST:PORT",
        envvar="ANSWERMESH_ADDRESS",
        show_envvar=True,
        help="gRPC address of the mesh, or several with commas between; without it, the mesh of this machine.",
    )(command)


def find_address(address: str | None) -> str:
    """The address to call: the one given, or that of the running local mesh.

    Raises Failure(SERVICE_UNAVAILABLE) where there is none.
    """
    if address:
        return address
    from answermesh.config import load
    from answermesh.serve.mesh_file import find

    mesh = find(load().data_dir)
    if mesh is None:
        message = "No mesh runs here. Start one with `answermesh up`, or name one with --address HOST:PORT."
        raise Failure(Reason.SERVICE_UNAVAILABLE, message)
    return mesh.grpc


def run(work: Callable[[], Awaitable[int | None]]) -> None:
    """Run a command's coroutine and end the command with the exit code it returns (None = 0).

    A Failure is told on stderr, and ends it with that failure's code. Ctrl-C cancels the coroutine: 130.
    """

    async def main() -> int | None:
        return await work()

    try:
        code = asyncio.run(main())
    except Failure as failure:
        tell(failure)
        code = exits.exit_code(failure)
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        code = exits.INTERRUPTED
    if code:
        raise SystemExit(code)


def tell(failure: Failure) -> None:
    """Say on stderr what went wrong."""
    click.echo(f"{click.style('Error', fg='red', bold=True)}: {printable(failure.message)}", err=True)
    if failure.retry_after_s:
        click.echo(f"Try again in {failure.retry_after_s:g} s.", err=True)
