"""Settings: the defaults, overlaid by one TOML file, overlaid by the environment.

The file is named by `--config` or `ANSWERMESH_CONFIG`. Every key of the file's top level is also an environment
variable `ANSWERMESH_` + the key in capitals; `DATABASE_URL` is read too. Providers, agents and plans are tables of
the file.

    database_url = "postgresql://…"        # an external Postgres with pgvector; empty = embedded
    data_dir = "~/.local/share/answermesh"
    [targets]                              # where services are reached, as gRPC targets
    knowledge = "dns:///knowledge:50051"
    [agents.glossary]                      # an agent of your own
    targets = ["dns:///glossary:50051"]
    [[providers]]                          # see answermesh.llm
    name = "openai"
    [plans.quick]                          # see answermesh.orchestrator.answering.plan
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from answermesh.errors import invalid_field

# Services beside the agents; `up` starts each in a process of its own.
SERVICES = ("models", "knowledge", "orchestrator", "gateway")
AGENTS = ("entities", "retrieval", "graph", "synthesis", "citation", "factcheck")


def _default_data_dir() -> Path:
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "answermesh"


def _default_cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "answermesh"


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a service is told at its start."""

    # Folder of the embedded database and its logs; made if it is not there.
    data_dir: Path = field(default_factory=_default_data_dir)
    # Folder that model files are fetched into once.
    cache_dir: Path = field(default_factory=_default_cache_dir)
    # Postgres with pgvector; empty means the embedded one.
    database_url: str = ""
    # Tenant that calls belong to until authentication names another.
    tenant: str = "default"
    # Log level: debug, info, warning, error.
    log_level: str = "info"
    # gRPC target of each service, and of each agent of ours: {"models": "unix:/run/…/models.sock"}.
    targets: Mapping[str, str] = field(default_factory=dict)
    # Tables of the file, checked by those who read them.
    agents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    plans: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    # The plan for each kind of question: see answermesh.orchestrator.routing.
    routes: Mapping[str, Any] = field(default_factory=dict)
    providers: tuple[Mapping[str, Any], ...] = ()
    embedding: Mapping[str, Any] = field(default_factory=dict)

    def target(self, service: str) -> str:
        """The gRPC target of a service.

        Raises Failure(INVALID_FIELD) where nobody configured one.
        """
        if service not in self.targets:
            name = f"ANSWERMESH_TARGET_{service.upper()}"
            raise invalid_field(f"targets.{service}", f"is not configured; set it in [targets] or as {name}.")
        return self.targets[service]


_PATHS = {"data_dir", "cache_dir"}
_TABLES = {"targets", "agents", "plans", "routes", "embedding"}


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings.

    Raises Failure(INVALID_FIELD) naming the key, for a file that cannot be read, an unknown key or a value of the
    wrong type.
    """
    if path is None and environ.get("ANSWERMESH_CONFIG"):
        path = Path(environ["ANSWERMESH_CONFIG"])
    table: dict[str, Any] = _read(path) if path else {}
    known = {f.name for f in fields(Settings)}
    for key in table:
        if key not in known:
            raise invalid_field(key, f"is no setting of answermesh; known are {', '.join(sorted(known))}.")
    for key in known - _TABLES - {"providers"}:
        if value := environ.get(f"ANSWERMESH_{key.upper()}"):
            table[key] = value
    if url := environ.get("DATABASE_URL"):
        table.setdefault("database_url", url)
    targets = dict(_checked("targets", table.get("targets", {}), dict))
    prefix = "ANSWERMESH_TARGET_"
    targets |= {k.removeprefix(prefix).lower(): v for k, v in environ.items() if k.startswith(prefix)}
    table["targets"] = targets
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key in _TABLES:
            values[key] = _checked(key, value, dict)
        elif key == "providers":
            values[key] = tuple(_checked(key, value, list))
        else:
            text = _checked(key, value, str)
            values[key] = Path(text).expanduser() if key in _PATHS else text
    return replace(Settings(), **values)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise invalid_field("config", f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise invalid_field("config", f"{path} is not TOML: {error}.") from error


def _checked(key: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise invalid_field(key, f"must be a {kind.__name__}, not {type(value).__name__}.")
    return value
