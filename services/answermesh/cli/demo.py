"""`answermesh demo`: a whole mesh, real documents, two questions, a clean stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from answermesh.cli import exits
from answermesh.cli.connect import run

if TYPE_CHECKING:
    import asyncio

    from answermesh.serve.mesh_file import RunningMesh

# Of the documents that come with the source: the operations guide and the learning pages of etcd, CC BY 4.0.
DOCUMENTS = Path("examples/documents")
QUESTIONS = ("How does etcd elect a leader?", "How do I restore a cluster from a snapshot?")
# The import of the sample is most of it.
_LIMIT_S = 240.0


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path), default=DOCUMENTS)
@click.option("--question", "questions", multiple=True, help="Ask this instead; repeatable.")
def demo(folder: Path, questions: tuple[str, ...]) -> None:
    """Show a mesh at work: start one in a temporary folder, import FOLDER, ask two questions, stop it.

    Nothing stays but the model files in the cache.
    """

    async def work() -> int:
        import asyncio
        import tempfile
        from contextlib import suppress

        from answermesh.errors import Failure, Reason

        loop = asyncio.get_running_loop()
        give_up = loop.time() + _LIMIT_S
        with tempfile.TemporaryDirectory(prefix="answermesh-demo-", ignore_cleanup_errors=True) as data:
            try:
                async with asyncio.timeout_at(give_up):
                    return await _show(Path(data), folder, questions or QUESTIONS)
            except TimeoutError:
                with suppress(OSError):
                    click.echo(f"Gave up after {_LIMIT_S:g} s.", err=True)
                raise Failure(Reason.DEADLINE_EXCEEDED, "The demo took too long; is the machine busy?") from None

    run(work)


async def _show(data: Path, folder: Path, questions: tuple[str, ...]) -> int:
    """Run the mesh in a task of its own beside the visitor; the exit code of the worst step."""
    import asyncio

    from answermesh.cli.up import plan_of
    from answermesh.cli.up_listener import Console
    from answermesh.serve.up import up

    started: asyncio.Future[RunningMesh] = asyncio.get_running_loop().create_future()

    class Waiting(Console):
        """Tells the visitor when the mesh is ready."""

        def ready(self, mesh: RunningMesh, took_s: float) -> None:
            super().ready(mesh, took_s)
            started.set_result(mesh)

    stop = asyncio.Event()
    plan = plan_of(data, "127.0.0.1:0", "127.0.0.1:0", None, None)
    with Waiting() as listener:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(up(plan, listener, stop=stop))
            visiting = group.create_task(_visit(started, folder, questions))
            # The mesh ends first if it cannot be started, or is told to stop by Ctrl-C.
            await asyncio.wait([running, visiting], return_when=asyncio.FIRST_COMPLETED)
            visiting.cancel()
            stop.set()
    return exits.INTERRUPTED if visiting.cancelled() else visiting.result()


async def _visit(started: asyncio.Future[RunningMesh], folder: Path, questions: tuple[str, ...]) -> int:
    from rich.text import Text

    from answermesh.cli.follow import Style, follow
    from answermesh.cli.importing import import_paths
    from answermesh.cli.output import output
    from answermesh.client import Client

    console = output()
    async with Client((await started).grpc) as mesh:
        console.print(Text(f"\n$ answermesh import {folder}", style="bold green"))
        worst = await import_paths(mesh, (folder,))
        for question in questions:
            console.print(Text(f'\n$ answermesh ask "{question}"', style="bold green"))
            worst = max(worst, await follow(mesh.ask(question), Style.ANSWER, console))
    console.print()
    return worst
