"""`answermesh serve`: one service in this process."""

from __future__ import annotations

from pathlib import Path

import click

from answermesh.cli import exits
from answermesh.cli.connect import tell
from answermesh.config import AGENTS, SERVICES
from answermesh.errors import Failure


@click.command()
@click.argument("service", type=click.Choice([*SERVICES, *AGENTS, "llm"]))
@click.option(
    "--listen", required=True, metavar="ADDR", help="HOST:PORT (port 0: the system chooses), or unix:/path/to.sock."
)
@click.option("--ready-file", type=click.Path(path_type=Path, dir_okay=False), help='Gets {"address": …} when ready.')
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="TOML file of settings.")
@click.option(
    "--gguf", type=click.Path(path_type=Path, dir_okay=False), help="Model of the service llm; without it, a small one."
)
@click.option("--listen-fd", type=int, hidden=True)
@click.option("--ready-fd", type=int, hidden=True)
@click.option("--with-parent", type=int, hidden=True)
def serve(
    service: str,
    listen: str,
    ready_file: Path | None,
    config: Path | None,
    gguf: Path | None,
    listen_fd: int | None,
    ready_fd: int | None,
    with_parent: int | None,
) -> None:
    """Run one SERVICE of a mesh until SIGTERM, then drain it.

    Where it finds the others is told by the table [targets] of the file, or by ANSWERMESH_TARGET_MODELS=… and so on;
    the database by DATABASE_URL. Logs go to stderr, one JSON object a line.

    \b
    Example:
      ANSWERMESH_TARGET_KNOWLEDGE=dns:///knowledge:50051 \\
        answermesh serve retrieval --listen 0.0.0.0:50051
    """
    from answermesh.config import load
    from answermesh.serve.logs import log_to_stderr
    from answermesh.serve.one import serve_one
    from answermesh.serve.stopping import die_with_parent

    try:
        if with_parent is not None:
            die_with_parent(with_parent)
        settings = load(config)
        log_to_stderr(service, settings.log_level)
        serve_one(service, listen, settings, ready_file=ready_file, ready_fd=ready_fd, gguf=gguf, listen_fd=listen_fd)
    except Failure as failure:
        tell(failure)
        # Not the code of a mesh that cannot be reached: this is a part of one.
        raise SystemExit(exits.FAILED) from None
