"""`answermesh up`: a whole mesh on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from answermesh.cli import exits
from answermesh.cli.connect import tell
from answermesh.errors import Failure, invalid_field

if TYPE_CHECKING:
    from answermesh.serve.up import Plan


@click.command()
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Folder of the database and the logs.")
@click.option("--http", default="127.0.0.1:8080", show_default=True, metavar="ADDR", help="HTTP address; port 0: any.")
@click.option("--grpc", default="127.0.0.1:50051", show_default=True, metavar="ADDR", help="gRPC address; port 0: any.")
@click.option(
    "--orchestrators",
    default=1,
    show_default=True,
    type=click.IntRange(1, 16),
    help="How many share the queries; one goes on when another dies. --grpc may name an address for each.",
)
@click.option(
    "--replicas",
    multiple=True,
    metavar="AGENT=N",
    help="Run several processes of an agent, which share its runs; repeatable, up to 16 each.",
)
@click.option(
    "--pack",
    multiple=True,
    metavar="AGENT,AGENT…",
    help="Run these agents in one process, or with `all` every one: less memory, but one core for them; repeatable.",
)
@click.option(
    "--ready-file", type=click.Path(path_type=Path, dir_okay=False), help='Gets {"http": …, "grpc": …} when ready.'
)
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="TOML file of settings.")
@click.option("--local-llm", is_flag=True, help="Run a small language model beside the mesh (extra local-llm).")
@click.option("--gguf", type=click.Path(path_type=Path, dir_okay=False), help="Run this GGUF model instead.")
@click.option("--with-parent", type=int, hidden=True)
def up(
    data: Path | None,
    http: str,
    grpc: str,
    orchestrators: int,
    replicas: tuple[str, ...],
    pack: tuple[str, ...],
    ready_file: Path | None,
    config: Path | None,
    local_llm: bool,
    gguf: Path | None,
    with_parent: int | None,
) -> None:
    """Run a whole mesh on this machine, until Ctrl-C.

    Fetches the embedded models at the first start, runs Postgres in the data folder (or uses DATABASE_URL), and one
    process per service; what dies is started again. A second Ctrl-C does not wait for a clean stop.

    \b
    Examples:
      answermesh up
      answermesh up --orchestrators 2 --replicas synthesis=2
      answermesh up --pack entities,retrieval,graph --pack citation,factcheck
      answermesh up --data ./mesh --http 127.0.0.1:0 --grpc 127.0.0.1:0 --ready-file mesh.json
    """
    import asyncio
    from dataclasses import replace

    from answermesh.cli.up_listener import Console
    from answermesh.serve.local_llm import model_of
    from answermesh.serve.stopping import die_with_parent
    from answermesh.serve.up import up as run_up

    try:
        if with_parent is not None:
            die_with_parent(with_parent)
        plan = replace(
            plan_of(data, http, grpc, ready_file, config, orchestrators), replicas=dict(map(_replicas, replicas))
        )
        plan = replace(plan, packs=_packs(pack, plan.replicas))
        if local_llm or gguf:
            plan = replace(plan, gguf=model_of(plan.settings, gguf))
        with Console() as listener:
            asyncio.run(run_up(plan, listener))
    except Failure as failure:
        tell(failure)
        raise SystemExit(exits.FAILED) from None


def plan_of(
    data: Path | None,
    http: str,
    grpc: str,
    ready_file: Path | None,
    config: Path | None,
    orchestrators: int = 1,
) -> Plan:
    """The options with the settings that they overlay."""
    from dataclasses import replace

    from answermesh.config import load
    from answermesh.serve.addresses import several
    from answermesh.serve.up import Plan

    if config is None and (path := os.environ.get("ANSWERMESH_CONFIG")):
        config = Path(path)
    settings = load(config)
    if data:
        settings = replace(settings, data_dir=data.absolute())
    return Plan(settings, http, several(grpc, orchestrators), ready_file, config.absolute() if config else None)


def _replicas(text: str) -> tuple[str, int]:
    """An agent and the number of its processes. Raises Failure(INVALID_FIELD)."""
    from answermesh.config import AGENTS

    agent, _, count = text.partition("=")
    if agent not in AGENTS:
        raise invalid_field("--replicas", f"{text!r} names none of {', '.join(AGENTS)}; write for example synthesis=2.")
    if not count.isdecimal() or not 1 <= int(count) <= 16:
        raise invalid_field("--replicas", f"{text!r} must end with a number, 1 to 16; write for example {agent}=2.")
    return agent, int(count)


def _packs(texts: tuple[str, ...], replicas: Mapping[str, int]) -> tuple[tuple[str, ...], ...]:
    """Which agents share a process. Raises Failure(INVALID_FIELD)."""
    from answermesh.config import AGENTS

    packs = tuple(AGENTS if text == "all" else tuple(text.split(",")) for text in texts)
    named = [agent for pack in packs for agent in pack]
    for agent in named:
        if agent not in AGENTS:
            raise invalid_field(
                "--pack", f"{agent!r} is none of {', '.join(AGENTS)}; write for example entities,graph."
            )
        if named.count(agent) > 1:
            raise invalid_field("--pack", f"names {agent} twice; an agent runs in one place, or has --replicas.")
        if agent in replicas:
            raise invalid_field("--pack", f"{agent} has --replicas, which are processes of their own; leave one out.")
    return packs
