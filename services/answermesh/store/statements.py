"""SQL lives in .sql files: named statements, each with its sentence, loaded once.

-- name: get_query
-- The query of that name.
SELECT … FROM queries WHERE query_id = $1;

sql = statements(__package__, "queries")
await transaction.fetchrow(sql.get_query, query_id)
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (.*)$", re.MULTILINE)
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")


class Statements:
    """The statements of one file, as attributes."""

    __slots__ = ("_by_name", "_source")

    def __init__(self, source: str, by_name: dict[str, str]) -> None:
        self._source = source
        self._by_name = by_name

    def __getattr__(self, name: str) -> str:
        try:
            return self._by_name[name]
        except KeyError:
            raise AttributeError(f"{self._source} has no statement {name!r}") from None

    def __dir__(self) -> list[str]:
        return sorted(self._by_name)


@cache
def statements(package: str, name: str) -> Statements:
    """The statements of `<name>.sql` in the folder of `package`.

    Raises ValueError for a file that does not keep the form: text before the first name, a name that is no
    identifier or comes twice, a statement without a sentence or without SQL.
    """
    source = f"{package}/{name}.sql"
    return Statements(source, parse(source, files(package).joinpath(f"{name}.sql").read_text(encoding="utf-8")))


def parse(source: str, text: str) -> dict[str, str]:
    """The statements of a file's text by name; each keeps its comment, which then shows in the server's logs."""
    before, *blocks = _NAME.split(text)
    if any(line and not line.startswith("--") for line in before.splitlines()):
        raise ValueError(f"{source}: SQL before the first '-- name:' line")
    by_name: dict[str, str] = {}
    for name, block in zip(blocks[::2], blocks[1::2], strict=True):
        if not _IDENTIFIER.fullmatch(name):
            raise ValueError(f"{source}: {name!r} is no name; use lower-case letters, digits and underscores")
        if name in by_name:
            raise ValueError(f"{source}: {name} comes twice")
        by_name[name] = _checked(f"{source}: {name}", block.strip())
    return by_name


def _checked(place: str, block: str) -> str:
    lines = [line.strip() for line in block.splitlines()]
    if not lines or not lines[0].startswith("--") or not lines[0].strip("- "):
        raise ValueError(f"{place} lacks its sentence: a comment below the name that says what one gets")
    if all(not line or line.startswith("--") for line in lines):
        raise ValueError(f"{place} has no SQL")
    return block.removesuffix(";")
