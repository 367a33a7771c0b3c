"""`answermesh serve`: one service in this process."""

from __future__ import annotations

from pathlib import Path

import click

from answermesh.cli import exits
from answermesh.cli.connect import tell
from answermesh.config import AGENTS, SERVICES
from answermesh.errors import Failure, invalid_field

# What has a process of its own; agents may share one.
_ALONE = (*SERVICES, "llm")


@click.command()
@click.argument("service", metavar=f"[{'|'.join(_ALONE)}|AGENT[,AGENT…]]")
@click.option(
    "--listen",
    required=True,
    metavar="ADDR",
    help="HOST:PORT (port 0: the system chooses), or unix:/path/to.sock; for several agents as many, commas between.",
)
@click.option("--ready-file", type=click.Path(path_type=Path, dir_okay=False), help='Gets {"address": …} when ready.')
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="TOML file of settings.")
@click.option(
    "--gguf", type=click.Path(path_type=Path, dir_okay=False), help="Model of the service llm; without it, a small one."
)
@click.option("--listen-fd", type=int, hidden=True)
@click.option("--share-port", is_flag=True, hidden=True)
@click.option("--ready-fd", type=int, hidden=True)
@click.option("--with-parent", type=int, hidden=True)
def serve(
    service: str,
    listen: str,
    ready_file: Path | None,
    config: Path | None,
    gguf: Path | None,
    listen_fd: int | None,
    share_port: bool,
    ready_fd: int | None,
    with_parent: int | None,
) -> None:
    """Run one service of a mesh until SIGTERM, then drain it; or several agents in this one process.

    Where it finds the others is told by the table [targets] of the file, or by ANSWERMESH_TARGET_MODELS=… and so on;
    the database by DATABASE_URL. Logs go to stderr, one JSON object a line.

    \b
    Example:
      ANSWERMESH_TARGET_KNOWLEDGE=dns:///knowledge:50051 \\
        answermesh serve retrieval --listen 0.0.0.0:50051
      answermesh serve entities,graph --listen 0.0.0.0:50051,0.0.0.0:50052
    """
    from answermesh.config import load
    from answermesh.serve.logs import log_to_stderr
    from answermesh.serve.one import serve_one
    from answermesh.serve.stopping import die_with_parent

    try:
        if with_parent is not None:
            die_with_parent(with_parent)
        _check(service, listen)
        settings = load(config)
        log_to_stderr(service, settings.log_level)
        serve_one(
            service,
            listen,
            settings,
            ready_file=ready_file,
            ready_fd=ready_fd,
            gguf=gguf,
            listen_fd=listen_fd,
            shares_port=share_port,
        )
    except Failure as failure:
        tell(failure)
        # Not the code of a mesh that cannot be reached: this is a part of one.
        raise SystemExit(exits.FAILED) from None


def _check(service: str, listen: str) -> None:
    """Raises Failure(INVALID_FIELD)."""
    names = service.split(",")
    if service in _ALONE:
        return
    for name in names:
        if name not in AGENTS:
            others = f"; {name} runs alone" if name in _ALONE else f", {', '.join(_ALONE)}"
            raise invalid_field("SERVICE", f"{name!r} is none of {', '.join(AGENTS)}{others}.")
    if len(set(names)) < len(names):
        raise invalid_field("SERVICE", f"{service!r} names an agent twice; replicas are processes of their own.")
    if len(listen.split(",")) != len(names):
        raise invalid_field("--listen", f"{listen!r} must give {len(names)} addresses, one for each of {service}.")
