"""What a mesh of one machine consists of: its services, where each listens, what each must know before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

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
    # Where it listens: a Unix socket of the run folder, or HOST:PORT for those that the world may reach. Agents that
    # share a process listen at an address each, with commas between.
    listen: str
    # What must be known before it starts.
    needs: tuple[str, ...] = ()
    # Options of `answermesh serve` for this service alone.
    options: tuple[str, ...] = ()
    # What it is, where there are several of a kind: what `answermesh serve` runs.
    kind: str = ""
    # Where a successor listens while its predecessor still serves; those who call know both addresses.
    other: str = ""
    # Whether the supervisor holds the listening socket, which a successor then shares.
    held: bool = False
    # Whether a successor may listen on the same port meanwhile.
    shares_port: bool = False

    @property
    def runs_beside(self) -> bool:
        """Whether a successor can serve while its predecessor still does."""
        return bool(self.other or self.held or self.shares_port)


def several(kind: str, count: int) -> tuple[str, ...]:
    """The names of so many services of a kind."""
    return (kind, *(f"{kind}-{number}" for number in range(2, count + 1)))


def _packs(count: int) -> tuple[str, ...]:
    return several("pack", count)[:count]


def orchestrators(count: int) -> tuple[str, ...]:
    """The names of so many orchestrators."""
    return several(ORCHESTRATOR, count)


def services(
    run_dir: Path,
    http: str,
    grpc: Sequence[str],
    agents_need: tuple[str, ...] = (),
    replicas: Mapping[str, int] = MappingProxyType({}),
    packs: Sequence[Sequence[str]] = (),
) -> tuple[tuple[Service, ...], ...]:
    """All services, in the order of their start; those of one group are stopped together, the last group first.

    There is one orchestrator for each address in `grpc`, and one process of an agent but for those in `replicas`. The
    agents of a pack share one process.
    """
    named = dict(zip(orchestrators(len(grpc)), grpc, strict=True))
    return (
        # The slowest to start comes first.
        (_private(run_dir, "models"),),
        (_private(run_dir, "knowledge", (DATABASE,)),),
        (
            *(
                _private(run_dir, name, agents_need, agent)
                for agent in AGENTS
                if not any(agent in pack for pack in packs)
                for name in several(agent, replicas.get(agent, 1))
            ),
            *(_packed(run_dir, name, agents_need, pack) for name, pack in zip(_packs(len(packs)), packs, strict=True)),
        ),
        tuple(
            # Of several, the others answer meanwhile; a call that comes as a port changes hands may be cut off.
            _alone(name, listen) if len(named) == 1 else Service(name, listen, (DATABASE,), kind=ORCHESTRATOR)
            for name, listen in named.items()
        ),
        (Service("gateway", http, tuple(named), held=True),),
    )


def environ(
    run_dir: Path, known: Mapping[str, str], replicas: Mapping[str, int] = MappingProxyType({})
) -> dict[str, str]:
    """Settings that tell a service where the others are; `known` holds what it needed."""
    variables = {}
    for kind in ("models", "knowledge", *AGENTS):
        names = several(kind, replicas.get(kind, 1))
        sockets = [socket for name in names for socket in _sockets(run_dir, name)]
        variables[f"ANSWERMESH_TARGET_{kind.upper()}"] = join_targets(sockets)
    if addresses := [address for name, address in known.items() if name.startswith(ORCHESTRATOR)]:
        variables["ANSWERMESH_TARGET_ORCHESTRATOR"] = join_targets(addresses)
    if SETTINGS in known:
        variables["ANSWERMESH_CONFIG"] = known[SETTINGS]
    if DATABASE in known:
        variables["ANSWERMESH_DATABASE_URL"] = known[DATABASE]
    return variables


def _alone(name: str, listen: str) -> Service:
    return Service(name, listen, (DATABASE,), ("--share-port",), ORCHESTRATOR, shares_port=True)


def _private(run_dir: Path, name: str, needs: tuple[str, ...] = (), kind: str = "") -> Service:
    first, other = _sockets(run_dir, name)
    return Service(name, first, needs, kind=kind, other=other)


def _packed(run_dir: Path, name: str, needs: tuple[str, ...], agents: Sequence[str]) -> Service:
    """Agents in one process, each with the addresses that it would have alone: who calls sees no difference."""
    first, other = (",".join(sockets) for sockets in zip(*(_sockets(run_dir, agent) for agent in agents), strict=True))
    return Service(name, first, needs, kind=",".join(agents), other=other)


def _sockets(run_dir: Path, name: str) -> tuple[str, str]:
    return f"unix:{run_dir}/{name}.a.sock", f"unix:{run_dir}/{name}.b.sock"
