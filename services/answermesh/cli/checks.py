"""What the doctor looks at without a mesh: settings, data folder, model files, database. Each check changes nothing."""

from __future__ import annotations

import enum
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from answermesh.config import Settings
from answermesh.errors import Failure

# A first start fetches about 75 MB of models, twice on the disk for a moment, and makes a database of 40 MB.
_WANTED_FREE_BYTES = 1 << 30
_CONNECT_TIMEOUT_S = 3.0
_POSTGRES_PORT = 5432


class Outcome(enum.Enum):
    """How a check came out."""

    GOOD = enum.auto()
    # It works, or will be mended by itself.
    REMARK = enum.auto()
    BAD = enum.auto()


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and what to do about it."""

    what: str
    outcome: Outcome
    detail: str
    mend: str = ""


def local_checks(settings: Settings) -> Iterator[Finding]:
    """All checks that need no mesh, in the order in which a start would meet them."""
    yield _data_folder(settings.data_dir)
    yield from _models(settings.cache_dir)
    yield _database(settings)
    yield _providers(settings)


def _data_folder(data_dir: Path) -> Finding:
    place = data_dir
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        mend = "Choose another with `answermesh up --data DIR`, or set data_dir."
        return Finding("data folder", Outcome.BAD, f"{place} cannot be written.", mend)
    free_bytes = shutil.disk_usage(place).free
    detail = f"{data_dir}, {free_bytes >> 20} MiB free"
    if free_bytes < _WANTED_FREE_BYTES:
        return Finding(
            "data folder", Outcome.BAD, detail, f"Free {_WANTED_FREE_BYTES >> 20} MiB, or choose another disk."
        )
    return Finding("data folder", Outcome.GOOD, detail)


def _models(cache_dir: Path) -> Iterator[Finding]:
    from answermesh.models.fetch import is_intact, is_present
    from answermesh.models.manifest import EMBEDDED, model_file

    for name in EMBEDDED:
        file = model_file(name)
        path = file.path_in(cache_dir)
        if not path.exists():
            detail = f"is not fetched yet ({file.size_bytes >> 20} MiB)."
            yield Finding(f"model {name}", Outcome.REMARK, detail, "`answermesh up` fetches it.")
        elif not is_intact(cache_dir, file):
            mend = f"Delete {path}; `answermesh up` fetches it again."
            yield Finding(f"model {name}", Outcome.BAD, "is not the file of the manifest (SHA-256 differs).", mend)
        elif not is_present(cache_dir, file):
            yield Finding(f"model {name}", Outcome.GOOD, "is intact, and is marked as checked at the next start.")
        else:
            yield Finding(f"model {name}", Outcome.GOOD, f"SHA-256 {file.sha256[:12]}…, {file.licence}")


def _database(settings: Settings) -> Finding:
    if settings.database_url:
        return _external_database(settings.database_url)
    from answermesh.store.postgres_binaries import choose_owner, find_binaries

    try:
        binaries = find_binaries(choose_owner())
    except Failure as failure:
        return Finding("database", Outcome.BAD, failure.message, "Install answermesh again, or set DATABASE_URL.")
    return Finding("database", Outcome.GOOD, f"embedded PostgreSQL {binaries.major}")


def _external_database(url: str) -> Finding:
    """Only whether something listens there: what it is, the services check when they start."""
    parts = urlsplit(url)
    host = parse_qs(parts.query).get("host", [parts.hostname or "localhost"])[0]
    mend = "Start that Postgres, or correct DATABASE_URL."
    try:
        port = parts.port or int(parse_qs(parts.query).get("port", [str(_POSTGRES_PORT)])[0])
        # Never the whole address: it may hold a password.
        where = f"{host}:{port}"
        if host.startswith("/"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(_CONNECT_TIMEOUT_S)
                probe.connect(f"{host}/.s.PGSQL.{port}")
        else:
            socket.create_connection((host, port), _CONNECT_TIMEOUT_S).close()
    except ValueError:
        return Finding("database", Outcome.BAD, "DATABASE_URL is no address of a database.", mend)
    except OSError as error:
        return Finding("database", Outcome.BAD, f"{where} does not answer: {error.strerror or error}.", mend)
    return Finding("database", Outcome.GOOD, f"something listens at {where}")


def _providers(settings: Settings) -> Finding:
    from answermesh.llm import LanguageModels

    try:
        models = LanguageModels.from_settings(settings)
    except Failure as failure:
        return Finding("language models", Outcome.BAD, failure.message, "Correct [[providers]] of the settings file.")
    if models is None:
        detail = "none configured: answers are composed from source sentences, and say so."
        return Finding(
            "language models", Outcome.REMARK, detail, "Add [[providers]] to the settings file if you want one."
        )
    names = ", ".join(str(provider.get("name", "?")) for provider in settings.providers)
    return Finding("language models", Outcome.GOOD, names)
