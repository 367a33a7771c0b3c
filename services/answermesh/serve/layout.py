"""What a mesh of one machine consists of: its services, where each listens, what each must know before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from answermesh.config import AGENTS
from answermesh.rpc.channel import join_targets

# What a service may wait for: the address of the database or of the orchestrator, or a settings file made for it.
DATABASE = "database"
ORCHESTRATOR = "orchestrator"
SETTINGS = "settings"


@dataclass(frozen=True, slots=True)
class Service:
    """One process."""

    name: str
    # Where it listens: a Unix socket of the run folder, or HOST:PORT for those that the world may reach.
    listen: str
    # What must be known before it starts.
    needs: tuple[str, ...] = ()
    # Options of `answermesh serve` for this service alone.
    options: tuple[str, ...] = ()
    # What it is, where there are several of a kind: what `answermesh serve` runs.
    kind: str = ""
    # Where a successor listens while its predecessor still serves; those who call know both addresses. Where there is
    # none, the one is stopped before the other starts.
    other: str = ""
    # Whether the supervisor holds the listening socket, which a successor then shares.
    held: bool = False


def orchestrators(count: int) -> tuple[str, ...]:
    """The names of so many orchestrators."""
    return (ORCHESTRATOR, *(f"{ORCHESTRATOR}-{number}" for number in range(2, count + 1)))


def services(
    run_dir: Path, http: str, grpc: Sequence[str], agents_need: tuple[str, ...] = ()
) -> tuple[tuple[Service, ...], ...]:
    """All services, in the order of their start; those of one group are stopped together, the last group first.

    There is one orchestrator for each address in `grpc`.
    """
    named = dict(zip(orchestrators(len(grpc)), grpc, strict=True))
    return (
        # The slowest to start comes first.
        (_private(run_dir, "models"),),
        (_private(run_dir, "knowledge", (DATABASE,)),),
        tuple(_private(run_dir, agent, agents_need) for agent in AGENTS),
        tuple(Service(name, listen, (DATABASE,), kind=ORCHESTRATOR) for name, listen in named.items()),
        (Service("gateway", http, tuple(named), held=True),),
    )


def environ(run_dir: Path, known: Mapping[str, str]) -> dict[str, str]:
    """Settings that tell a service where the others are; `known` holds what it needed."""
    private = ("models", "knowledge", *AGENTS)
    variables = {f"ANSWERMESH_TARGET_{name.upper()}": join_targets(_sockets(run_dir, name)) for name in private}
    if addresses := [address for name, address in known.items() if name.startswith(ORCHESTRATOR)]:
        variables["ANSWERMESH_TARGET_ORCHESTRATOR"] = join_targets(addresses)
    if SETTINGS in known:
        variables["ANSWERMESH_CONFIG"] = known[SETTINGS]
    if DATABASE in known:
        variables["ANSWERMESH_DATABASE_URL"] = known[DATABASE]
    return variables


def _private(run_dir: Path, name: str, needs: tuple[str, ...] = ()) -> Service:
    first, other = _sockets(run_dir, name)
    return Service(name, first, needs, other=other)


def _sockets(run_dir: Path, name: str) -> tuple[str, str]:
    return f"unix:{run_dir}/{name}.a.sock", f"unix:{run_dir}/{name}.b.sock"
